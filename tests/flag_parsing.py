"""Flags as a command parses them, without touching the global ones."""

from absl import flags

from mm_tf.experiments.config import flags as config_flags


def parse(*arguments):
    """Returns the `RunConfig` of command-line arguments."""
    values = flags.FlagValues()
    config_flags.define_flags(values)
    values(["run", *arguments])
    return config_flags.from_flags(values)
