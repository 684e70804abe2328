"""A grid of runs: methods x settings x seeds, each trained once and kept.

    from mm_tf.experiments import grid

    configs = grid.grid(["erm", "mm_drw"], ["digits_lt20"], [0, 1, 2], epochs=50)
    results, failures = grid.run_grid(configs)

As a command it is the process that trains: its tasks come in by standard input.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from typing import Any

from mm_tf._checks import nearest
from mm_tf.data import (
    DATASETS,
    DatasetUnavailableError,
    DataWarning,
    ReadOptions,
    load,
)
from mm_tf.experiments import paper
from mm_tf.experiments.config.config import SHORT_IMBALANCE, RunConfig
from mm_tf.experiments.grids.progress import Progress
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs.data import with_digests
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.result import RunResult
from mm_tf.experiments.runs.run import RunDivergedError, RunFailedError, run

ROOT = "saved_models"

_IMBALANCES = {short: name for name, short in SHORT_IMBALANCE.items()}
_SETTING = re.compile(
    rf"(?P<dataset>{'|'.join(map(re.escape, DATASETS))})_"
    rf"(?:(?P<short>{'|'.join(_IMBALANCES)})(?P<ratio>\d+(?:\.\d+)?)|balanced)"
)
_SEEDS = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")
# A range beyond this is a slip of the hand.
_MOST_SEEDS = 1000

_LONGEST_REASON = 400

# TensorFlow keeps the graphs of every run (17 MB of ResNet-8, more of deeper
# networks), whatever is cleared and collected: a long grid would fill the memory.
# A process for each run would begin with TensorFlow's start-up, longer than a run
# on digits. So a process trains this many, then a new one follows.
RUNS_OF_A_PROCESS = 10
# Begins the line that ends a task; nothing else prints this character.
_ANSWER = "\x1e"
# A step, a checkpoint and, at an epoch's end, the test images.
SECONDS_TO_STOP = 60
_SECONDS_TO_TIDY_UP = 2


class RunCrashedError(RunFailedError):
    """A run's process ended by itself, or the run with an error nobody foresaw."""


_FAILURES = {
    kind.__name__: kind for kind in (RunFailedError, RunDivergedError, RunCrashedError)
}


def parse_methods(names):
    """Returns the methods of a list of names."""
    _check_list("methods", names)
    for name in names:
        _check_method("methods", name)
    return tuple(names)


def parse_settings(names):
    """Returns {setting: its arguments of `RunConfig`} of a list of names."""
    _check_list("settings", names)
    return {name: _parse_setting(name) for name in names}


def parse_seeds(parts):
    """Returns the seeds of a list of numbers and ranges."""
    seeds: list[int] = []
    for part in parts:
        match = _SEEDS.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < first + _MOST_SEEDS:
            raise ValueError(
                "`seeds` must be numbers or ranges of at most "
                f"{_MOST_SEEDS}, as 0,1,2 or 0-2. Received: seeds={part!r}"
            )
        seeds += range(first, last + 1)
    _check_list("seeds", seeds)
    return tuple(seeds)


def parse_pairs(texts, methods):
    """Returns the pairs (method, method) of texts such as `"mm_drw,erm"`."""
    pairs = [tuple(name.strip() for name in text.split(",")) for text in texts]
    for text, pair in zip(texts, pairs, strict=True):
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError(
                "`compare` must be two different methods, as mm_drw,erm (repeat the "
                f"flag for more pairs). Received: compare={text!r}"
            )
        for name in pair:
            _check_method("compare", name)
            if name not in methods:
                raise ValueError(
                    f"`compare` must be of the methods of the table "
                    f"({', '.join(methods)}). Received: compare={text!r}"
                )
    return tuple(dict.fromkeys(pairs))


def _check_list(name, values):
    twice = {value for value in values if list(values).count(value) > 1}
    if not values or twice:
        received = ",".join(map(str, values))
        raise ValueError(
            f"`{name}` must be a list without repeats, and not empty. "
            f"Received: {name}={received!r}"
        )


def _check_method(flag, name):
    if name not in METHODS:
        raise ValueError(
            f"`{flag}` must be of {', '.join(METHODS)}.{nearest(name, METHODS)} "
            f"Received: {flag}={name!r}"
        )


def _parse_setting(name):
    match = _SETTING.fullmatch(name)
    if match is None:
        kinds = " or ".join(f"{short}RATIO" for short in _IMBALANCES)
        raise ValueError(
            f"`settings` must be a data set ({', '.join(DATASETS)}), `_`, and {kinds} "
            "or balanced, as cifar10_lt100; for images of your own give --dataset and "
            f"--data_dir instead. Received: settings={name!r}"
        )
    arguments: dict[str, Any] = {"dataset": match["dataset"], "imbalance": "none"}
    if match["short"]:
        arguments["imbalance"] = _IMBALANCES[match["short"]]
        arguments["imbalance_ratio"] = float(match["ratio"])
    try:
        expected = RunConfig(**arguments).setting
    except ValueError as error:
        raise ValueError(f"`settings`: {name} cannot be. {error}") from None
    if name != expected:
        # Two names for one folder would be two columns of the same runs.
        raise ValueError(
            f"`settings` must be written {expected}. Received: settings={name!r}"
        )
    return arguments


def grid(methods, settings, seeds, output_dir=ROOT, **arguments):
    """Returns the runs of all methods on all settings with all seeds.

    Args:
        methods: Names of methods.
        settings: Names of settings, as `"cifar10_lt100"`; or {name: arguments of
            `RunConfig`}, as of images of your own.
        seeds: Numbers.
        output_dir: The folder under which each run has its own.
        **arguments: More arguments of `RunConfig`, for all runs. Without `beta` and
            `delta`, the paper's best pair of the setting is taken, where it has
            one.

    Returns:
        A list of `RunConfig`s, seed by seed: a grid that is stopped has whole
        tables of the first seeds.

    Raises:
        ValueError: A value is not one that `RunConfig` takes.
    """
    parsed = settings if isinstance(settings, dict) else parse_settings(settings)
    root = pathlib.Path(output_dir).expanduser()
    configs = []
    for seed in seeds:
        for setting, of_setting in parsed.items():
            pair = paper.BEST_BETA_DELTA.get(setting, ())
            best = dict(zip(("beta", "delta"), pair, strict=False))
            for method in methods:
                folder = root / setting / method / f"seed{seed}"
                configs.append(
                    RunConfig(
                        **{**best, **arguments, **of_setting},
                        method=method,
                        seed=seed,
                        output_dir=str(folder),
                    )
                )
    return configs


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run of the grid that has no result.

    Attributes:
        config: Its `RunConfig`.
        reason: Why, in one line.
    """

    config: RunConfig
    reason: str

    def __str__(self):
        return f"{name_of(self.config)}: {self.reason}"


def run_grid(configs, console=None, worker=None):
    """Trains the runs that are not there yet, and tells how far it is.

    A run that fails is told and does not stop the others. One that was stopped goes
    on from its last checkpoint. A folder that holds
    another run is left alone and told, unless its config says `overwrite`. Runs
    of the same flags are never trained again.

    Args:
        configs: `RunConfig`s, as of `grid`.
        console: A `rich.console.Console`; standard output by default.
        worker: What trains: by default a `Worker`, one run at a time; a
            `grids.cluster.Cluster` several.

    Returns:
        (the `RunResult`s, old and new; the `Failure`s).

    Raises:
        DatasetUnavailableError: A data set that is needed is not there and cannot
            be downloaded.
    """
    configs = _identified(configs)
    results, failures, left = _look(configs)
    with contextlib.ExitStack() as stack:
        to = stack.enter_context(Progress(len(configs), left, console))
        to.tell(f"{len(configs)} runs: {len(results)} there, {len(left)} to train")
        for failure in failures:
            to.tell(f"Failed: {failure}")
        if not left:
            return results, failures
        worker = stack.enter_context(worker or Worker())
        # All data first: that some are missing must not be found out after days.
        for name, folder, options in dict.fromkeys(
            (c.dataset, c.data_dir, c.read_options) for c in left
        ):
            to.read(name)
            worker.load(name, folder, options)
        for config, outcome in worker.outcomes(left, to):
            if isinstance(outcome, RunFailedError):
                failures.append(Failure(config, str(outcome)))
                to.fail(config, outcome)
            else:
                results.append(outcome)
                to.finish(config, f"{outcome.top1_error:.2f} %")
    return results, failures


class Worker:
    """A process that trains runs, one at a time, and is renewed now and then.

    A process of its own also keeps the grid going where a run is killed, as for
    want of memory. Use it in a `with`, at whose end the process is stopped.
    """

    def __init__(self):
        self._process: Any = None
        self._runs = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None and self._process is not None:
            # As by Ctrl-C: a run writes a checkpoint, and takes its folder away if
            # it has just begun.
            self._process.send_signal(signal.SIGINT)
        self._stop()

    def load(self, name, data_dir, options=None):
        """Makes sure that a data set is there."""
        options = None if options is None else dataclasses.asdict(options)
        try:
            self._do("load", {"name": name, "data_dir": data_dir, "options": options})
        except RunFailedError as error:
            raise DatasetUnavailableError(str(error)) from None

    def outcomes(self, configs, to):
        """Trains runs, one after the other."""
        for config in configs:
            to.begin(config, name_of(config))
            try:
                outcome = self.run(config, functools.partial(to.show, config))
            except RunFailedError as error:
                outcome = error
            yield config, outcome

    def run(self, config, show=lambda line: None):
        """Trains a run."""
        if self._runs == RUNS_OF_A_PROCESS:
            self._stop()
        self._runs += 1
        self._do("run", dataclasses.asdict(config), show)
        return RunResult.read(config.run_folder)

    def _do(self, task, arguments, show=lambda line: None):
        if self._process is None:
            self._start()
        # A process that is gone is found by its answer, which does not come.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps([task, arguments]), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith(_ANSWER):
                failure = json.loads(line.removeprefix(_ANSWER))
                if failure is not None:
                    raise failure_of(*failure)
                return
            if line.strip():
                show(line.strip())
        status = self._process.wait()
        self._process, self._runs = None, 0
        ended = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise RunCrashedError(f"its process ended by itself ({ended})")

    def _start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
        )

    def _stop(self):
        process, self._process, self._runs = self._process, None, 0
        if process is None:
            return
        try:
            process.communicate(timeout=SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            pass
        finally:  # A second Ctrl-C waits no longer.
            process.kill()
            process.wait()


def _load(name, data_dir, options=None):
    with warnings.catch_warnings():
        # Each run tells them.
        warnings.simplefilter("ignore", DataWarning)
        load(name, data_dir, ReadOptions(**options) if options else None)


def _run(**arguments):
    run(RunConfig(**arguments))


_TASKS: dict[str, Callable[..., None]] = {"load": _load, "run": _run}


def do(task, arguments):
    """Does a task in this process."""
    try:
        _TASKS[task](**arguments)
    except Exception as error:  # A run may fail in any way there is.
        return _kind(error).__name__, _reason(error)
    finally:
        if "keras" in sys.modules:
            sys.modules["keras"].backend.clear_session()
    return None


def failure_of(name, reason):
    """Returns the `RunFailedError` of what `do` returned."""
    return _FAILURES[name](reason)


def serve(lines):
    """Does the tasks of lines of JSON: what a `Worker`'s process does."""
    for line in lines:
        print(f"\n{_ANSWER}{json.dumps(do(*json.loads(line)))}", flush=True)


def _identified(configs):
    """The configs with the digests of one's own files, which are looked at once."""
    of_files = {_files_of(config): config for config in configs}
    found = {files: with_digests(config) for files, config in of_files.items()}
    return [
        dataclasses.replace(
            config,
            data_digest=found[_files_of(config)].data_digest,
            weights_digest=found[_files_of(config)].weights_digest,
        )
        for config in configs
    ]


def _files_of(config):
    return config.dataset, config.data_dir, config.weights


def _look(configs):
    """What is there: (results, failures, the configs that are left to train)."""
    results, failures, left = [], [], []
    for config in configs:
        try:
            kept = dataclasses.replace(config, overwrite=False)
            result = RunFolder(kept).finished_result()
        except ValueError as error:
            if config.overwrite:
                left.append(config)
            else:
                failures.append(Failure(config, _reason(error)))
        else:
            if result is None:
                left.append(config)
            else:
                results.append(result)
    return results, failures, left


def name_of(config):
    """Returns a run's name in a line of progress."""
    return f"{METHODS[config.method].title}, {config.setting}, seed {config.seed}"


def _kind(error):
    if isinstance(error, RunDivergedError):
        return RunDivergedError
    return RunFailedError if _is_ours(error) else RunCrashedError


def _is_ours(error):
    return isinstance(error, ValueError | DatasetUnavailableError | RunFailedError)


def _reason(error):
    lines = str(error).strip().splitlines() or [""]
    kind = "" if _is_ours(error) else f"{type(error).__name__}: "
    return textwrap.shorten(f"{kind}{lines[0]}", _LONGEST_REASON, placeholder=" ...")


def read_results(configs):
    """Returns the `RunResult`s that are in the folders of `RunConfig`s.

    Whatever other flags they were run with; folders without a result are passed
    over.
    """
    results = []
    for config in configs:
        with contextlib.suppress(ValueError):
            results.append(RunResult.read(config.run_folder))
    return results


def _interrupt_once(*_):
    # Ctrl-C comes from the terminal and again from the grid's process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _lines(descriptor):
    """Yields the lines of a file, and interrupts the task under way when it ends.

    It ends when whoever writes the tasks wants no more, or is gone: killed, say. A
    run that is on would else go on for hours, and hold its folder.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    is_idle = threading.Event()
    caller = threading.get_ident()

    def read():
        # Not by `sys.stdin`: a thread that reads it stops the process from ending.
        rest = b""
        while more := os.read(descriptor, 2**16):
            *whole, rest = (rest + more).split(b"\n")
            for line in whole:
                lines.put(line.decode())
        lines.put(None)
        # A task that has just answered still tidies up.
        if not is_idle.wait(_SECONDS_TO_TIDY_UP):
            signal.pthread_kill(caller, signal.SIGINT)

    threading.Thread(target=read, daemon=True).start()
    while (line := lines.get()) is not None:
        is_idle.clear()
        yield line
        is_idle.set()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupt_once)
    # Without a parent there is nobody to tell.
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(_lines(sys.stdin.fileno()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
