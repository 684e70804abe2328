"""Flags as a command parses them, without touching the global ones."""

from absl import flags

from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.machine import command


def parse(*arguments):
    """Returns the `RunConfig` of command-line arguments."""
    values = flags.FlagValues()
    config_flags.define_flags(values)
    config_flags.define_setting(values)
    values(command.flagfiles_first(["run", *arguments], values))
    return config_flags.from_flags(values)


def call_command(module, *arguments):
    """Calls a command in this process, with flags of its own."""
    values = flags.FlagValues()
    module.define_flags(values)
    line = command.flagfiles_first([module.__name__, *arguments], values)
    module.main(values(line), values)
