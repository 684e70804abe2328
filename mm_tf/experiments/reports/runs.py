"""The runs of a report: which may share a page, and what each left in its folder."""

import csv
import dataclasses
import io
import os
import pathlib

import numpy as np
from absl import flags

from mm_tf import _files
from mm_tf._text import first_line
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs.folder import FLAGS, HISTORY, PREDICTIONS
from mm_tf.experiments.runs.result import RunResult

# As many as there are colours that differ clearly.
MOST_RUNS = 6

SHOT_RANGES = {"many": "> 100 images", "medium": "20 to 100", "few": "< 20"}


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder, read: what is not there or broken is None, see `missing`."""

    folder: pathlib.Path
    result: RunResult
    flags: dict[str, str]
    config: RunConfig | None
    history: dict[str, np.ndarray] | None
    labels: np.ndarray | None
    predictions: np.ndarray | None
    evaluated_counts: list[int] | None
    missing: tuple[str, ...]

    def confusion_matrix(self):
        """How often each class (row) is predicted as each class, [K, K], or None."""
        if self.labels is None or self.predictions is None:
            return None
        size = len(self.result.class_names)
        matrix = np.zeros((size, size), dtype="int64")
        np.add.at(matrix, (self.labels, self.predictions), 1)
        return matrix


def check_folders(runs):
    """The folders and the results of runs, if they may share a page."""
    if isinstance(runs, str | os.PathLike):
        raise ValueError(f"`runs` must be a list of folders. Received: runs={runs!r}")
    folders = [pathlib.Path(run).expanduser().resolve() for run in runs]
    _check_number(folders)
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"`runs` names a folder twice. Received: {folder}")
    results = [finished.read_result(folder) for folder in folders]
    check_comparable(results, folders)
    return folders, results


def check_comparable(results, sources=None):
    """Raises a ValueError if results may not be shown side by side."""
    _check_number(results)
    sources = sources or [result.method for result in results]
    first = results[0]
    for name, what in (
        ("setting", "setting"),
        ("evaluated_words", "images to evaluate on"),
        ("class_names", "class names"),
        ("class_counts", "class counts"),
    ):
        for source, result in zip(sources, results, strict=True):
            values = getattr(first, name), getattr(result, name)
            if values[0] != values[1]:
                # Of many classes a list would be long.
                words = values if isinstance(values[0], str) else ("one", "another")
                raise ValueError(
                    f"`runs` must have the same {what}. Received: "
                    f"{words[0]} ({sources[0]}) and {words[1]} ({source})"
                )


def _check_number(runs):
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ValueError(f"`runs` must be 1 to {MOST_RUNS} runs. Received: {len(runs)}")


def read(folder, result):
    """Reads what a run left, as far as it can be read."""
    missing = []

    def attempt(name, read_file, *arguments):
        try:
            return read_file(*arguments)
        except FileNotFoundError:
            missing.append(f"{name} is missing")
        except (OSError, ValueError, KeyError, flags.Error, csv.Error) as error:
            missing.append(f"{name} cannot be read: {first_line(error)}")
        return None

    lines = attempt(FLAGS, _read_lines, folder / FLAGS) or []
    config = attempt(FLAGS, config_flags.from_lines, lines) if lines else None
    if config is not None:
        # With the defaults of flags that are newer than the run.
        lines = config_flags.to_flagfile(config).splitlines()
    labels, predictions = attempt(
        PREDICTIONS, finished.read_predictions, folder, len(result.class_names)
    ) or (None, None)
    return Run(
        folder=folder,
        result=result,
        flags={
            name: value
            for name, _, value in (line.lstrip("-").partition("=") for line in lines)
        },
        config=config,
        history=attempt(HISTORY, _read_history, folder / HISTORY),
        labels=labels,
        predictions=predictions,
        evaluated_counts=result.evaluated_counts,
        missing=tuple(missing),
    )


def _read_lines(path):
    lines = _files.read_text(path, _files.MOST_BYTES_OF_FLAGS).splitlines()
    return [line.strip() for line in lines if line.strip()]


def _read_history(path):
    text = _files.read_text(path, _files.MOST_BYTES_OF_TEXT)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not rows:
        raise ValueError("it has no epochs")
    history = {
        name: np.array([_number_or_nan(row[name]) for row in rows])
        for name in rows[0]
        if name is not None
    }
    if not np.isfinite(history["epoch"]).all():
        raise ValueError("an epoch is no number")
    return history


def _number_or_nan(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan


def method_title(result):
    """The paper's name of a result's method, or the method itself."""
    return METHODS[result.method].title if result.method in METHODS else result.method


def labels(runs):
    """A name for each run, as short as distinguishes them."""
    titles = [method_title(run.result) for run in runs]
    names, added = titles, [list[str]() for _ in runs]
    for details in (
        [f"seed {run.result.seed}" for run in runs],
        [run.folder.name for run in runs],
        [f"run {number}" for number in range(1, len(runs) + 1)],
    ):
        if len(set(names)) == len(names):
            break
        if len(set(details)) > 1:
            added = [[*words, new] for words, new in zip(added, details, strict=True)]
            names = [
                f"{title} ({', '.join(words)})"
                for title, words in zip(titles, added, strict=True)
            ]
    return names
