"""What a search found: its trials as a table, a picture and a flagfile.

It reads the folders of the trials, and needs neither KerasTuner nor Keras.
"""

import dataclasses
import math
import shlex
from types import MappingProxyType

from mm_tf import _files
from mm_tf._text import counted, percent, printable
from mm_tf.experiments.config.flags import to_flagfile
from mm_tf.experiments.grids.sections import Section
from mm_tf.experiments.runs.result import EVALUATED_ON, RESULT, RunResult
from mm_tf.experiments.searches.search import TRIALS, read_json, trial_name

TABLE = "trials.md"
CSV = "trials.csv"
PICTURE = "trials.png"
FLAGS = "best.flags"
BEST = "best"

_FAILURE = ".failed.json"

# The errors of a `RunResult` that are shown, and the heads of their columns.
_ERRORS = MappingProxyType(
    {
        "balanced_error": "balanced",
        "top1_error": "top-1",
        "many_shot_error": "many",
        "medium_shot_error": "medium",
        "few_shot_error": "few",
    }
)


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
        name: The name of its run's folder.
        values: Its flags that vary, {flag: value}.
        result: Its `RunResult`, or None if it failed.
        reason: Why it failed, or "".
    """

    name: str
    values: dict[str, float]
    result: RunResult | None
    reason: str = ""

    @property
    def error(self):
        """The balanced error in %, by which trials are compared; infinite if failed."""
        return self.result.balanced_error if self.result else math.inf


def _failure_file(run_folder):
    return run_folder.with_name(run_folder.name + _FAILURE)


def write_failure(run_folder, values, reason):
    """Writes why a trial failed, beside its run's folder."""
    run_folder.parent.mkdir(parents=True, exist_ok=True)
    text = _files.json_text({"values": values, "reason": reason}, indent=2)
    _files.write_text(_failure_file(run_folder), text)


def read_failure(run_folder):
    """Returns the failed `Trial` of a run's folder, or None if it has not failed."""
    path = _failure_file(run_folder)
    if not path.exists():
        return None
    failure = read_json(path)
    values, reason = failure.get("values"), failure.get("reason")
    _check_named(path, run_folder.name, values if isinstance(values, dict) else {})
    return Trial(run_folder.name, values, None, printable(str(reason)))


def _check_named(path, name, values):
    """Refuses a stranger's file whose values do not name it: names get into flags."""
    is_trial = all(isinstance(value, int | float) for value in values.values())
    if not is_trial or trial_name(values) != name:
        raise ValueError(
            "`output_dir` holds a trial whose values do not name its folder. "
            f"Received: {path}"
        )


def read(search):
    """Returns the `Trial`s that have ended, the smallest balanced error first."""
    folder = search.folder / TRIALS
    found = []
    for path in sorted(folder.glob(f"*/{RESULT}")):
        result = RunResult.read(path)
        values = {name: result.flags.get(name) for name in search.varied}
        _check_named(path, path.parent.name, values)
        found.append(Trial(path.parent.name, values, result))
    for path in sorted(folder.glob(f"*{_FAILURE}")):
        found.append(read_failure(path.with_name(path.name.removesuffix(_FAILURE))))
    if not found:
        raise ValueError(
            "`output_dir` holds no trial of a search that has ended. "
            f"Received: output_dir={str(search.folder)!r}"
        )
    return sorted(found, key=lambda trial: trial.error)


def best(search, trials):
    """Returns the finished trial with the smallest error, or None without one.

    Only Hyperband trials that ran all epochs count: the others are short.
    """
    finished = [trial for trial in trials if trial.result]
    if search.tuner == "hyperband":
        finished = [t for t in finished if t.values["epochs"] == search.config.epochs]
    return finished[0] if finished else None


def how_chosen(search):
    """Says on which images trials were compared, and what that means."""
    if not search.config.holdout:
        return (
            "Chosen on the TEST images (--select_on=test), as in the paper: the "
            "smallest of several errors flatters, and no error here says how the "
            "choice does on new images."
        )
    config = search.config
    images = f"hold-out, {config.holdout:.3g} of each class's training images,"
    smallest = "Where a class has few images, small differences say nothing."
    if config.has_class_counts:
        counts = config.drawn_class_counts - config.class_counts
        points = 100 / len(counts) / counts.min()
        images = (
            f"hold-out of {counts.sum():,} training images "
            f"({counts.max():,} to {counts.min():,} a class),"
        )
        smallest = (
            f"One image of the rarest class is {points:.2g} points of the balanced "
            "error: smaller differences say nothing."
        )
    return (
        f"Chosen on a {images} on which no trial was trained; the test images chose "
        f"nothing. {smallest} The smallest of several errors flatters all the same: "
        f"the number to report is the test error of a run with {FLAGS}."
    )


def title(search):
    """Returns what was searched, in a line."""
    config = search.config
    epochs = "" if "epochs" in search.names else counted(config.epochs, "epoch") + ", "
    return (
        f"{config.row.title} on {config.setting}, {config.model}, {epochs}"
        f"seed {config.seed}; {search.tuner} search of "
        f"{', '.join(map(str, search.dimensions))}"
    )


def _images(search):
    return EVALUATED_ON[search.config.evaluated_on]


def _frame(search, trials):
    """The trials as a `pandas.DataFrame` of numbers, for a file."""
    import pandas as pd

    rows = [
        {
            "trial": trial.name,
            **trial.values,
            "evaluated_on": search.config.evaluated_on,
            **{name: getattr(trial.result, name, None) for name in _ERRORS},
            "training_seconds": getattr(trial.result, "training_seconds", None),
            "state": "finished" if trial.result else "failed",
            "reason": trial.reason,
        }
        for trial in trials
    ]
    return pd.DataFrame(rows)


def _texts(search, trials):
    """The trials as a `pandas.DataFrame` of texts, to be read."""
    frame, chosen = _frame(search, trials), best(search, trials)
    texts = frame[search.varied].map("{:g}".format)
    for name, head in _ERRORS.items():
        texts[head] = [percent(getattr(trial.result, name, None)) for trial in trials]
    is_best = [trial is chosen for trial in trials]
    texts["state"] = frame["state"].mask(is_best, "best")
    reasons = frame["reason"]
    texts["state"] += (": " + reasons).where(reasons != "", "")
    # There may be no class of many images, say.
    return texts.loc[:, (texts != "-").any()]


def section(search, trials):
    """Returns the table of trials, with what it is."""
    texts = _texts(search, trials)
    caption = (
        f"Errors on the {_images(search)} images in %, last epoch: the mean over "
        "classes (balanced, by which trials are compared), top-1, and the mean over "
        "many-, medium- and few-shot classes."
    )
    return Section(
        title(search),
        f"{how_chosen(search)}\n\n{caption}",
        texts,
        left=(texts.shape[1] - 1,),
    )


def command(search):
    """Returns the command that trains with the best trial's flags, to be copied."""
    flag = f"--flagfile={search.folder / FLAGS}"
    return f"python -m mm_tf.experiments.run {shlex.quote(flag)}"


def flagfile(search, trials):
    """Returns a flagfile of the best trial as text, or None without one.

    The run trains on all images, the hold-out among them, and is measured on the test
    images.
    """
    chosen = best(search, trials)
    if chosen is None:
        return None
    folder = search.folder / BEST
    config = search.config.with_values({**chosen.values, "holdout": 0.0})
    finished = sum(trial.result is not None for trial in trials)
    comment = [
        f"{title(search)}.",
        f"Best of {finished} finished trials: {chosen.name}, balanced error "
        f"{chosen.error:.2f} % on the {_images(search)} images.",
        how_chosen(search),
        command(search),
    ]
    lines = "".join(f"# {line}\n" for line in comment)
    return f"{lines}{to_flagfile(config)}--output_dir={folder}\n"


def write(search, trials):
    """Writes the table, the picture and the flagfile into the search's folder."""
    csv = _frame(search, trials).to_csv(
        index=False, float_format="%.6g", lineterminator="\n"
    )
    texts = {
        TABLE: section(search, trials).to_markdown(),
        CSV: csv,
        FLAGS: flagfile(search, trials),
    }
    paths = []
    for name, text in texts.items():
        if text is not None:
            paths.append(search.folder / name)
            _files.write_text(paths[-1], text)
    if texts[FLAGS] is not None:
        paths.append(search.folder / PICTURE)
        _draw(search, trials, paths[-1])
    return paths


def _draw(search, trials, path):
    from mm_tf.experiments.reports.search_figures import search_figure

    finished = [trial for trial in trials if trial.result]
    figure = search_figure(
        {name: [trial.values[name] for trial in finished] for name in search.varied},
        [trial.error for trial in finished],
        f"Balanced error on the {_images(search)} images"
        + ("" if search.config.holdout else ", on which they were chosen: it flatters"),
        log=[each.name for each in search.dimensions if each.is_log],
        chosen=finished.index(best(search, trials)),
    )
    with _files.whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
