"""The runs of a report: which may share a page, and what each left in its folder."""

import dataclasses
import io
import os
import pathlib
import re
from typing import Any

import numpy as np
from absl import flags

from mm_tf import _files
from mm_tf._text import first_line
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs.finished import FLAGS, HISTORY, PREDICTIONS
from mm_tf.experiments.runs.result import RESULT, RunResult

# As many as there are colours that differ clearly.
MOST_RUNS = 6

SHOT_RANGES = {"many": "> 100 images", "medium": "20 to 100", "few": "< 20"}


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder, read: what is not there or broken is None, see `missing`.

    `post_hoc` is the `PostHoc` of the run, why there is none, or None if not asked for.
    """

    folder: pathlib.Path
    result: RunResult
    config: RunConfig | None
    history: Any
    labels: np.ndarray | None
    predictions: np.ndarray | None
    missing: tuple[str, ...]
    post_hoc: Any = None

    def confusion_matrix(self):
        """How often each class (row) is predicted as each class, [K, K]."""
        from sklearn.metrics import confusion_matrix

        classes = range(len(self.result.class_names))
        return confusion_matrix(self.labels, self.predictions, labels=classes)


def check_folders(runs):
    """The folders and the results of runs, if they may share a page."""
    if isinstance(runs, str | os.PathLike):
        raise ValueError(f"`runs` must be a list of folders. Received: runs={runs!r}")
    folders = [
        folder
        for run in runs
        for folder in _runs_at(pathlib.Path(run).expanduser().resolve())
    ]
    results = [finished.read_result(folder) for folder in folders]
    check_comparable(results, folders)
    if len(set(folders)) < len(folders):
        twice = max(folders, key=folders.count)
        raise ValueError(f"`runs` names a folder twice. Received: {twice}")
    return folders, results


def _runs_at(folder):
    """A run's folder, or the finished runs below another folder."""
    is_run = (folder / RESULT).exists()
    return [folder] if is_run else finished.runs_below(folder) or [folder]


def check_comparable(results, sources=None):
    """Raises a ValueError if results may not be shown side by side."""
    if not 1 <= len(results) <= MOST_RUNS:
        raise ValueError(
            f"`runs` must be 1 to {MOST_RUNS} runs. "
            f"Received: {len(results)} {' '.join(map(str, sources or ()))}"
        )
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


def read(folder, result, is_adjusted=False, tau=None):
    """Reads what a run left, as far as it can be read.

    With `is_adjusted` its outputs are adjusted post hoc, with `tau`.
    """
    missing = []

    def attempt(name, read_file, *arguments):
        try:
            return read_file(*arguments)
        except FileNotFoundError:
            missing.append(f"{name} is missing")
        except (OSError, ValueError, KeyError, flags.Error) as error:
            # A page may be passed on: it does not show where the run lies.
            reason = without_places(first_line(error), folder)
            missing.append(f"{name} cannot be read: {reason}")
        return None

    size = sum(result.evaluated_counts), len(result.class_names)
    labels, predictions = attempt(
        PREDICTIONS, finished.read_predictions, folder, *size
    ) or (None, None)
    return Run(
        folder=folder,
        result=result,
        config=attempt(FLAGS, _read_config, folder / FLAGS, result.row),
        history=attempt(HISTORY, _read_history, folder / HISTORY),
        labels=labels,
        predictions=predictions,
        missing=tuple(missing),
        post_hoc=_adjusted(folder, result, tau) if is_adjusted else None,
    )


def _adjusted(folder, result, tau):
    # SciPy takes a second to import, which a wrong folder need not wait for.
    from mm_tf.experiments.runs import post_hoc

    try:
        return post_hoc.adjusted(folder, result, tau)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        return without_places(reason, folder)


def without_places(text, folder, *places):
    """A text without a run's folder and those of other places: a page is passed on."""
    text = text.replace(f"{folder}{os.sep}", "")
    for place in filter(None, (folder, *places)):
        for path in (os.fspath(place), os.path.abspath(os.path.expanduser(place))):
            text = text.replace(path, os.path.basename(path.rstrip(os.sep)))
    text = text.replace(os.path.expanduser("~"), "~")
    # Other places, as far as they have no spaces.
    return re.sub(r"(?<![\w.:/])(?:~|[A-Za-z]:)?[/\\][^\s'\"]*[/\\]", "", text)


def _read_config(path, method):
    text = _files.read_text(path, _files.MOST_BYTES_OF_FLAGS)
    return config_flags.from_lines(text.splitlines(), method)


def _read_history(path):
    # pandas takes a second to import, which a wrong folder need not wait for.
    import pandas as pd

    text = _files.read_text(path, _files.MOST_BYTES_OF_TEXT)
    history = pd.read_csv(io.StringIO(text)).apply(pd.to_numeric, errors="coerce")
    if history.empty or not np.isfinite(history["epoch"]).all():
        raise ValueError("an epoch is not a number")
    return history


def method_title(result):
    """The name of a result's method in tables, as in the paper."""
    return result.row.title


def by_count(result):
    """A result whose classes are ordered by training images, the most first."""
    order = _order(result)
    names = "class_names", "class_counts", "evaluated_counts", "per_class_error"
    return dataclasses.replace(
        result, **{name: [getattr(result, name)[j] for j in order] for name in names}
    )


def run_by_count(run):
    """A run whose classes are ordered by training images, the most first."""
    changes: Any = {"result": by_count(run.result)}
    if run.labels is not None:
        number = np.argsort(_order(run.result))
        changes["labels"] = number[run.labels]
        changes["predictions"] = number[run.predictions]
    return dataclasses.replace(run, **changes)


def _order(result):
    return np.argsort(-np.array(result.class_counts), kind="stable")


def labels(runs):
    """A name for each run, as short as distinguishes them."""
    titles = [method_title(run.result) for run in runs]
    details = [
        [f"seed {run.result.seed}" for run in runs],
        [run.folder.name for run in runs],
        [f"run {number}" for number in range(1, len(runs) + 1)],
    ]
    differing = [each for each in details if len(set(each)) > 1]
    for size in range(len(differing) + 1):
        names = [
            f"{title} ({', '.join(words)})" if words else title
            for title, *words in zip(titles, *differing[:size], strict=True)
        ]
        if len(set(names)) == len(names):
            break
    return names
