"""Flags as a command parses them, without touching the global ones."""

from absl import flags

from mm_tf.experiments import config


def parse(*arguments):
    """Returns the `RunConfig` of command-line arguments."""
    values = flags.FlagValues()
    config.define_flags(values)
    values(["run", *arguments])
    return config.from_flags(values)
