"""The runs of a report: which go on one page, and what each left in its folder."""

import csv
import dataclasses
import io
import os
import pathlib

import numpy as np
from absl import flags

from mm_tf import _files
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs.folder import FLAGS, HISTORY, PREDICTIONS
from mm_tf.experiments.runs.result import RESULT, RunResult

# As many as there are colours that can be told apart.
MOST_RUNS = 6


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder, read.

    Attributes:
        folder: Its path.
        result: Its `RunResult`.
        flags: The lines of its `flags.txt`, {name: value}.
        config: Its `RunConfig`, or None where this version cannot read it.
        history: Columns of numbers, one an epoch; None where there is none.
        labels: The class of each test (or hold-out) image; None where it was not kept.
        predictions: What each was taken for; None where it was not kept.
        evaluated_counts: Such images of each class, [K]; None where it is not known.
        missing: What could not be read, in words.
    """

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
        """Returns how often each class (row) is taken for each class, [K, K].

        Of a run that kept no predictions it is None.
        """
        if self.labels is None:
            return None
        from sklearn.metrics import confusion_matrix

        classes = np.arange(len(self.result.class_names))
        return confusion_matrix(self.labels, self.predictions, labels=classes)


def check_folders(runs):
    """Returns the folders that are to be on one page."""
    if isinstance(runs, str | os.PathLike):
        raise ValueError(f"`runs` must be a list of folders. Received: runs={runs!r}")
    folders = [pathlib.Path(run).expanduser().resolve() for run in runs]
    if not 1 <= len(folders) <= MOST_RUNS:
        raise ValueError(
            f"`runs` must be 1 to {MOST_RUNS} folders. Received: {len(folders)}"
        )
    for run, folder in zip(runs, folders, strict=True):
        if folders.count(folder) > 1:
            raise ValueError(f"`runs` names a folder twice. Received: {run}")
    return folders


def check_results(folders):
    """Returns the results of the runs that are to be on one page."""
    results = [_check_result(folder) for folder in folders]
    first = results[0]
    for folder, result in zip(folders, results, strict=True):
        if result.setting != first.setting:
            raise ValueError(
                f"`runs` must be of one setting. Received: {first.setting} "
                f"({folders[0]}) and {result.setting} ({folder})"
            )
        if result.evaluated_on != first.evaluated_on:
            raise ValueError(
                "`runs` must be evaluated on the same images. Received: "
                f"{first.evaluated_words} images ({folders[0]}) and "
                f"{result.evaluated_words} images ({folder})"
            )
        for name in ("class_names", "class_counts"):
            if getattr(result, name) != getattr(first, name):
                raise ValueError(
                    f"`runs` must have the same {name}. Received: others in {folder} "
                    f"than in {folders[0]}"
                )
    return results


def _check_result(folder):
    if not (folder / RESULT).is_file():
        problem = "and there is none at"
        if (folder / FLAGS).is_file():
            problem = f"and the one here has not finished (it has no {RESULT}):"
        elif folder.is_dir():
            problem = f"and this folder has no {RESULT}:"
        raise ValueError(f"`runs` must be folders of finished runs, {problem} {folder}")
    return RunResult.read(folder / RESULT)


def read(folder, result):
    """Reads what a run left, as far as it can be read."""
    missing = []

    def attempt(name, read_file):
        try:
            return read_file(folder / name)
        except FileNotFoundError:
            missing.append(f"{name} is missing")
        except (OSError, ValueError, KeyError, flags.Error, csv.Error) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            missing.append(f"{name} cannot be read: {reason}")
        return None

    lines = attempt(FLAGS, _read_lines) or []
    config = None
    if lines:
        config = attempt(FLAGS, lambda _: config_flags.from_lines(lines))
    labels, predictions = attempt(
        PREDICTIONS,
        lambda _: finished.read_predictions(folder, len(result.class_names)),
    ) or (None, None)
    return Run(
        folder=folder,
        result=result,
        flags=dict(_split_flag(line) for line in lines),
        config=config,
        history=attempt(HISTORY, _read_history),
        labels=labels,
        predictions=predictions,
        evaluated_counts=finished.evaluated_counts(folder, result, labels),
        missing=tuple(missing),
    )


def _read_lines(path):
    lines = _files.read_text(path, _files.MOST_BYTES_OF_FLAGS).splitlines()
    return [line.strip() for line in lines if line.strip()]


def _split_flag(line):
    name, _, value = line.lstrip("-").partition("=")
    return name, value


def _read_history(path):
    text = _files.read_text(path, _files.MOST_BYTES_OF_TEXT)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not rows:
        raise ValueError("it has no epochs")
    columns = {
        name: np.array([_number_or_nan(row[name]) for row in rows])
        for name in rows[0]
        if name is not None
    }
    if not np.isfinite(columns["epoch"]).all():
        raise ValueError("an epoch is no number")
    return columns


def _number_or_nan(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan


def _title(method):
    return METHODS[method].title if method in METHODS else method


def labels(runs):
    """Returns a name for each run: as short as tells them apart."""
    names = titles = [_title(run.result.method) for run in runs]
    added: list[list[str]] = [[] for _ in runs]
    for more in (
        lambda run: f"seed {run.result.seed}",
        lambda run: run.folder.name,
        lambda run: f"run {runs.index(run) + 1}",
    ):
        if len(set(names)) == len(names):
            break
        if len({more(run) for run in runs}) > 1:
            added = [
                [*before, more(run)] for before, run in zip(added, runs, strict=True)
            ]
        names = [
            f"{title} ({', '.join(words)})" if words else title
            for title, words in zip(titles, added, strict=True)
        ]
    return names
