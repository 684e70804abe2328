"""Trains a run in a process of its own, `python -m mm_tf.experiments.run`.

A run that is killed, as for want of memory, then ends nothing but itself. Its exit
status and its folder say how it went.
"""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import warnings

import mm_tf
from mm_tf.data import DatasetUnavailableError, DataWarning, load
from mm_tf.experiments.config import fields as config_fields
from mm_tf.experiments.machine import stopping
from mm_tf.experiments.paper.methods import for_other_process
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.result import RunResult
from mm_tf.experiments.runs.run import RunDivergedError, RunFailedError

# The exit status of a run that diverged.
DIVERGED = 3

SECONDS_OF_A_LOOK = 1.0
# A step, a checkpoint and, at an epoch's end, the test images.
SECONDS_TO_STOP = 60
# Until a folder is free into which a process writes whose command was killed.
_SECONDS_TO_LET_GO = 120

_LONGEST_REASON = 400
# How a command begins the line that says why it failed.
_REASON = re.compile(r"^mm_tf: (.*)$", re.MULTILINE)


class RunCrashedError(RunFailedError):
    """A run's process ended by itself, or with an error nobody foresaw."""


def check_data(name, data_dir, options=None):
    """Raises a DatasetUnavailableError unless a data set can be read.

    It is read by a process of its own: this one needs no images.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        executor.submit(check_data_here, name, data_dir, options).result()


def check_data_here(name, data_dir, options=None):
    """Raises a DatasetUnavailableError unless this process can read a data set."""
    with warnings.catch_warnings():
        # Each run says them.
        warnings.simplefilter("ignore", DataWarning)
        try:
            load(name, data_dir, options)
        except (ValueError, DatasetUnavailableError) as error:
            raise DatasetUnavailableError(shortened(error)) from None


def outcomes(configs, progress):
    """Trains runs one after the other on this machine.

    Yields each config with its result or its `RunFailedError`.
    """
    for config in configs:
        progress.begin(config)
        try:
            outcome = train(config, functools.partial(progress.look, [config]))
        except RunFailedError as error:
            outcome = error
        yield config, outcome


def train(config, on_look=lambda: None, method=None):
    """Trains a run in a process of its own, and returns its `RunResult`.

    `on_look` is called every second. `method` is the value of `--method`; by default
    the config's, with the file that it was loaded from.

    Raises:
        RunDivergedError: It diverged.
        RunFailedError: It could not begin or be written: another one would fail too.
        RunCrashedError: Its process was killed, or failed in an unforeseen way.
    """
    method = method or for_other_process(config.method)
    arguments = list(_arguments(config, method))
    folder, patience = RunFolder(config), time.monotonic() + _SECONDS_TO_LET_GO
    while folder.is_in_use and time.monotonic() < patience:
        on_look()
        time.sleep(SECONDS_OF_A_LOOK)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mm_tf.experiments.run", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            # Ctrl-C at the terminal comes only from here, once.
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                on_look()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_OF_A_LOOK)
        except BaseException:
            process.terminate()  # The run writes a checkpoint.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_STOP)
            raise
        finally:  # A second Ctrl-C waits no longer.
            process.kill()
            process.wait()
        if process.returncode == 0:
            return RunResult.read(config.run_folder)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    raise _failure(process.returncode, text)


def _arguments(config, method):
    """The flags of `mm_tf.experiments.run` that say what a config says."""
    fields = config_fields.flag_fields()
    values = {field.name: getattr(config, field.name) for field in fields}
    values |= {"method": method, **config.method_arguments}
    for name, value in values.items():
        if isinstance(value, bool):
            yield f"--{'' if value else 'no'}{name}"
        elif value is not None:
            yield f"--{name}={value}"


def _environment():
    """The environment: this very mm_tf from any folder, and who waits for the run."""
    package = str(pathlib.Path(mm_tf.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        stopping.PARENT: str(os.getpid()),
    }


def _failure(status, text):
    reasons = _REASON.findall(text)
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        return RunCrashedError(f"its process ended by itself (signal {number})")
    if not reasons:
        last = (text.strip().splitlines() or [f"exit status {status}"])[-1]
        return RunCrashedError(shortened(last))
    kind = RunDivergedError if status == DIVERGED else RunFailedError
    return kind(shortened(reasons[-1]))


def shortened(reason):
    """The first line of a reason, of a length that can be read, with its end.

    There stand the words to type.
    """
    line = (str(reason).strip().splitlines() or [""])[0]
    if len(line) <= _LONGEST_REASON:
        return line
    half = _LONGEST_REASON // 2
    return f"{line[:half]} ... {line[-half:]}"
