"""Trains one method on one imbalanced data set and reports its errors.

    python -m mm_tf.experiments.run --flagfile=experiments/cifar100_lt10.flags
    python -m mm_tf.experiments.run --dataset=digits --method=mm_drw --epochs=20
    python -m mm_tf.experiments.run PHOTOS --image_size=64

A flag on the command line overrides the flag file. The exit status is 0 when the run is
finished, 1 when it failed, 2 when flags, data or the folder are refused, 3 when it
diverged, and 128 plus the signal's number when it was stopped. The same from Python:

    from mm_tf.experiments.run import RunConfig, run
    result = run(RunConfig(dataset="digits", method="mm_drw", epochs=20))
"""

import os
import signal
import sys

from absl import app, flags

from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.machine import command
from mm_tf.experiments.machine.stopping import StoppedError, leave, stop_with_parent
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.run import RunDivergedError, RunFailedError, run

__all__ = ["RunConfig", "RunDivergedError", "RunFailedError", "run"]


def main(argv):
    """The command."""
    try:
        command.take_path(argv)
        config = config_flags.from_flags()
        command.set_up(config.backend)
        stop_with_parent()
        result = run(config)
    except (ValueError, DatasetUnavailableError) as error:
        command.fail(error)
    except RunFailedError as error:
        command.fail(error, status=3 if isinstance(error, RunDivergedError) else 1)
    except (KeyboardInterrupt, BrokenPipeError) as stopped:
        if isinstance(stopped, BrokenPipeError):
            # The reader has closed the pipe, as `head` does: there is nowhere to print.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            stopped = StoppedError(signal.SIGPIPE)
        is_saved = RunFolder(config).has_checkpoint
        what = "A checkpoint is saved." if is_saved else "Nothing is saved yet."
        leave(stopped, "mm_tf.experiments.run", what)
    from mm_tf.experiments.runs import summary

    summary.print_result(result, config.run_folder)


if __name__ == "__main__":
    config_flags.define_flags()
    config_flags.define_setting()
    flags.adopt_module_key_flags(config_flags)
    app.run(main, flags_parser=command.parse_flags)
