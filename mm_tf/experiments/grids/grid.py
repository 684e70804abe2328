"""A grid of runs: methods x settings x seeds, each trained once.

from mm_tf.experiments.grids import grid

configs = grid.grid(["erm", "mm_drw"], ["digits_lt20"], [0, 1, 2], epochs=50)
results, failures = grid.run_grid(configs)
"""

import contextlib
import dataclasses
import pathlib
import re
from typing import Any

from mm_tf.data import DATASETS
from mm_tf.experiments import paper
from mm_tf.experiments.config.config import SHORT_IMBALANCE, RunConfig
from mm_tf.experiments.grids import worker as this_machine
from mm_tf.experiments.grids.progress import Progress, name_of
from mm_tf.experiments.paper.methods import check_method, for_other_process
from mm_tf.experiments.runs.data import with_digests
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.result import RunResult
from mm_tf.experiments.runs.run import RunFailedError

ROOT = "saved_models"

_IMBALANCES = {short: name for name, short in SHORT_IMBALANCE.items()}
_SETTING = re.compile(
    rf"(?P<dataset>{'|'.join(map(re.escape, DATASETS))})_"
    rf"(?:(?P<short>{'|'.join(_IMBALANCES)})(?P<ratio>\d+(?:\.\d+)?)|balanced)"
)
_SEEDS = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")
# A range beyond this is a slip of the hand.
_MOST_SEEDS = 1000


def parse_methods(names):
    """Returns the methods of a list of names."""
    _check_list("methods", names)
    for name in names:
        check_method(name, "methods")
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
        if not set(pair) <= set(methods):
            raise ValueError(
                f"`compare` must name methods of the table ({', '.join(methods)})."
                f" Received: compare={text!r}"
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


def _parse_setting(name):
    match = _SETTING.fullmatch(name)
    if match is None:
        kinds = " or ".join(f"{short}RATIO" for short in _IMBALANCES)
        raise ValueError(
            f"`settings` must be a data set ({', '.join(DATASETS)}), `_`, and {kinds} "
            "or balanced, as cifar10_lt100; for your images give their path instead. "
            f"Received: settings={name!r}"
        )
    arguments: dict[str, Any] = {"dataset": match["dataset"], "imbalance": "none"}
    if match["short"]:
        arguments["imbalance"] = _IMBALANCES[match["short"]]
        arguments["imbalance_ratio"] = float(match["ratio"])
    try:
        expected = RunConfig(**arguments).setting
    except ValueError as error:
        raise ValueError(f"`settings`: {name} is not possible. {error}") from None
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
            `RunConfig`}, as for your images.
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


def run_grid(configs, console=None, worker=None, root=None):
    """Trains the runs that are not there yet, and reports how far it is.

    A run that fails is reported and does not stop the others. A run that was stopped
    resumes from its last checkpoint. A folder that holds another run stays as it is
    and is reported, unless its config says `overwrite`. Runs of the same flags are
    never trained again.

    Args:
        configs: `RunConfig`s, as `grid` returns them.
        console: A `rich.console.Console`. Defaults to `None`, standard output.
        worker: What trains: a `cluster.Cluster`, several runs at a time. Defaults to
            `None`, this machine, one run at a time.
        root: The folder of all runs. Where a run's folder is taken, a free folder
            beside it is suggested. Defaults to `None`, a folder for each run.

    Returns:
        (the `RunResult`s, old and new; the `Failure`s).

    Raises:
        DatasetUnavailableError: A data set that is needed is not there and cannot
            be downloaded.
        ValueError: A method is registered in this process only.
    """
    for config in configs:
        for_other_process(config.method)
    configs = list(_with_digests(configs))
    results, failures, left = _look(configs, root)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(len(configs), left, console))
        progress.report(
            f"{len(configs)} runs: {len(results)} there, {len(left)} to train"
        )
        for failure in failures:
            progress.report(f"Failed: {failure}")
        if not left:
            return results, failures
        worker = stack.enter_context(worker) if worker else this_machine
        # All data first: that some are missing must not be found out after days.
        for name, folder, options in dict.fromkeys(
            (c.dataset, c.data_dir, c.read_options) for c in left
        ):
            progress.describe(f"{name} is read")
            worker.check_data(name, folder, options)
        for config, outcome in worker.outcomes(left, progress):
            if isinstance(outcome, RunFailedError):
                failures.append(Failure(config, str(outcome)))
                progress.fail(config, outcome)
            else:
                results.append(outcome)
                progress.finish(config, f"{outcome.top1_error:.2f} %")
    return results, failures


def _with_digests(configs):
    """The configs with the digests of custom data, which are read once."""
    found: dict[tuple, dict[str, str | None]] = {}
    for config in configs:
        files = config.dataset, config.data_dir, config.weights
        if files not in found:
            read = with_digests(config)
            names = ("data_digest", "weights_digest")
            found[files] = {name: getattr(read, name) for name in names}
        yield dataclasses.replace(config, **found[files])


def _look(configs, root):
    """What is there: (results, failures, the configs that are left to train)."""
    results, failures, left = [], [], []
    for config in configs:
        try:
            there = dataclasses.replace(config, overwrite=False)
            result = RunFolder(there, root).finished_result()
        except ValueError as error:
            if config.overwrite:
                left.append(config)
            else:
                failures.append(Failure(config, this_machine.shortened(error)))
        else:
            if result is None:
                left.append(config)
            else:
                results.append(result)
    return results, failures, left


def read_results(configs):
    """Returns the `RunResult`s that are in the folders of `RunConfig`s.

    They may have other flags. Folders without a result are left out.
    """
    results = []
    for config in configs:
        with contextlib.suppress(ValueError):
            results.append(RunResult.read(config.run_folder))
    return results
