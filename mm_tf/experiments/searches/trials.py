"""What a search found: its trials as a table, a picture and a flagfile.

It reads what the search keeps, and needs neither KerasTuner nor Keras.
"""

import dataclasses
import os
import pathlib
from types import MappingProxyType
from typing import Any

import pydantic

from mm_tf import _files
from mm_tf.experiments.config.flags import to_flagfile
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs.images import EVALUATED_ON

TABLE = "trials.md"
CSV = "trials.csv"
PICTURE = "trials.png"
FLAGS = "best.flags"
BEST = "best"

_DOTS_PER_INCH = 150

# KerasTuner's words for the states of a trial, and ours.
_STATES = MappingProxyType(
    {"COMPLETED": "finished", "FAILED": "failed", "INVALID": "failed"}
)
_UNFINISHED = "unfinished"

# What a trial reports, and the head of its column.
_ERRORS = MappingProxyType(
    {
        "balanced_error": "balanced",
        "top1_error": "top-1",
        "many_shot_error": "many",
        "medium_shot_error": "medium",
        "few_shot_error": "few",
    }
)
_SECONDS = "training_seconds"


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial of a search.

    Attributes:
        trial_id: Its id, and the name of its run's folder.
        state: `"finished"`, `"failed"` or `"unfinished"`.
        values: What it was run with, {flag: value}.
        errors: What it reported, in %, {name: error}; empty unless it is finished.
        seconds: Of its training steps, or None.
        reason: Why it failed, or "".
    """

    trial_id: str
    state: str
    values: dict[str, float]
    errors: dict[str, float]
    seconds: float | None = None
    reason: str = ""

    @property
    def error(self):
        """The balanced error in %, by which trials are chosen; None without one."""
        return self.errors.get("balanced_error")


# What is read of KerasTuner's own account of a trial.
@dataclasses.dataclass(frozen=True)
class _Hyperparameters:
    values: dict[str, float | int | str]


@dataclasses.dataclass(frozen=True)
class _Observation:
    value: list[float]


@dataclasses.dataclass(frozen=True)
class _Metric:
    observations: list[_Observation]


@dataclasses.dataclass(frozen=True)
class _Metrics:
    metrics: dict[str, _Metric]


@dataclasses.dataclass(frozen=True)
class _State:
    trial_id: str
    status: str
    hyperparameters: _Hyperparameters
    metrics: _Metrics


@dataclasses.dataclass(frozen=True)
class _Kept:
    trials: list[_State]


def read(search):
    """Returns the `Trial`s of a search, in the order in which they were begun."""
    nothing = (
        "`output_dir` holds no trial of a search. "
        f"Received: output_dir={str(search.folder)!r}"
    )
    try:
        text = _files.read_text(search.state, _files.MOST_BYTES_OF_TEXT)
        kept = pydantic.TypeAdapter(_Kept).validate_json(text)
        trials = [_trial(search, state) for state in kept.trials]
    except FileNotFoundError:
        raise ValueError(nothing) from None
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"`output_dir` has a damaged {search.state.name} ({reason}). "
            f"Received: output_dir={str(search.folder)!r}"
        ) from None
    if not trials:
        raise ValueError(nothing)
    return trials


def _trial(search, kept):
    state = _STATES.get(kept.status, _UNFINISHED)
    values = search.trial_values(kept.hyperparameters.values)
    if state != "finished":
        reason = _reason(search, kept.trial_id) if state == "failed" else ""
        return Trial(kept.trial_id, state, values, {}, reason=reason)
    reported = {
        name: metric.observations[-1].value[-1]
        for name, metric in kept.metrics.metrics.items()
        if metric.observations and metric.observations[-1].value
    }
    errors = {name: reported[name] for name in _ERRORS if name in reported}
    return Trial(kept.trial_id, state, values, errors, reported.get(_SECONDS))


def _reason(search, trial_id):
    try:
        path = search.failure(trial_id)
        lines = _files.read_text(path, _files.MOST_BYTES_OF_FLAGS).splitlines()
    except (OSError, ValueError):
        return "on another machine"
    return lines[0] if lines else ""


def ranked(trials):
    """Returns the finished trials, the smallest error first."""
    finished = [trial for trial in trials if trial.error is not None]
    return sorted(finished, key=lambda trial: (trial.error, trial.trial_id))


def best(search, trials):
    """Returns the finished trial with the smallest error, or None without one.

    Of Hyperband's trials those of all epochs alone count: the others are short.
    """
    found = ranked(trials)
    if search.tuner == "hyperband":
        found = [t for t in found if t.values["epochs"] == search.config.epochs]
    return found[0] if found else None


def best_config(search, trials):
    """Returns the `RunConfig` to run with what was found, or None.

    It trains on all images, the hold-out among them, and is measured on the test
    images.
    """
    found = best(search, trials)
    if found is None:
        return None
    return dataclasses.replace(
        search.config, **found.values, holdout=0.0, output_dir=str(search.folder / BEST)
    )


def how_chosen(search):
    """Says on which images trials were compared, and what that means."""
    if not search.is_honest:
        return (
            "Chosen on the TEST images (--select_on=test), as in the paper: the "
            "smallest of several errors flatters, and no error here says how the "
            "choice does on new images."
        )
    if not search.config.knows_counts:
        return (
            f"Chosen on a hold-out, {search.config.holdout:.3g} of each class's "
            "training images, on which no trial was trained; the test images chose "
            "nothing. Where a class has few images, small differences say nothing. The "
            "smallest of several errors flatters all the same: the number to report is "
            f"the test error of a run with {FLAGS}."
        )
    held_out = search.config.drawn_class_counts - search.config.class_counts
    return (
        f"Chosen on a hold-out of {held_out.sum():,} training images "
        f"({held_out.max():,} to {held_out.min():,} a class), on which no trial was "
        "trained; the test images chose nothing. One image of the rarest class is "
        f"{100 / len(held_out) / held_out.min():.2g} points of the balanced error: "
        "smaller differences say nothing. The smallest of several errors flatters all "
        f"the same: the number to report is the test error of a run with {FLAGS}."
    )


def title(search):
    """Returns what was searched, in a line."""
    config = search.config
    number = f"{config.epochs} epoch{'' if config.epochs == 1 else 's'}, "
    epochs = "" if _varies(search, "epochs") else number
    return (
        f"{METHODS[config.method].title} on {config.setting}, {config.model}, {epochs}"
        f"seed {config.seed}; {search.tuner} search of "
        f"{', '.join(map(str, search.dimensions))}"
    )


def _caption(search):
    words = EVALUATED_ON[search.config.evaluated_on]
    return (
        f"Errors on the {words} images in %, last epoch: the mean over classes "
        "(balanced, by which trials are compared), top-1, and the mean over many-, "
        "medium- and few-shot classes."
    )


def _varies(search, name):
    return name in [dimension.name for dimension in search.dimensions]


def frame(search, trials):
    """Returns the trials as a `pandas.DataFrame`, the smallest error first."""
    import pandas as pd

    others = [trial for trial in trials if trial.error is None]
    rows = []
    for trial in [*ranked(trials), *others]:
        row: dict[str, Any] = {"trial": trial.trial_id, **trial.values}
        row["evaluated_on"] = search.config.evaluated_on
        row |= {name: trial.errors.get(name) for name in _ERRORS}
        row |= {_SECONDS: trial.seconds, "state": trial.state, "reason": trial.reason}
        rows.append(row)
    return pd.DataFrame(rows)


def _texts(search, trials):
    """The same as texts to be read."""
    import pandas as pd

    table = frame(search, trials)
    shown = {"trial": table["trial"]}
    for name in trials[0].values:
        shown[name] = table[name].map("{:g}".format)
    for name, head in _ERRORS.items():
        errors = table[name].astype(float)
        if errors.notna().any():
            shown[head] = errors.map("{:.2f}".format).where(errors.notna(), "-")
    found = best(search, trials)
    chosen = found.trial_id if found else None
    shown["state"] = [
        "best" if trial == chosen else ": ".join(filter(None, (state, reason)))
        for trial, state, reason in zip(
            table["trial"], table["state"], table["reason"], strict=True
        )
    ]
    return pd.DataFrame(shown)


def to_markdown(search, trials):
    """Returns the table of trials, with what it is."""
    parts = [
        f"# {title(search)}",
        how_chosen(search),
        _caption(search),
        _texts(search, trials).to_markdown(index=False, disable_numparse=True),
    ]
    return "\n\n".join(parts) + "\n"


def print_trials(search, trials, console=None):
    """Prints the table of trials."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    texts = _texts(search, trials)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    for column in texts.columns:
        is_text = column in ("trial", "state")
        table.add_column(Text(column), justify="left" if is_text else "right")
    for row in texts.itertuples(index=False):
        table.add_row(*map(Text, row))
    console.print(f"\n{title(search)}\n{_caption(search)}", markup=False)
    console.print(table)
    console.print(how_chosen(search), markup=False)


def flagfile(search, trials):
    """Returns the text of a flagfile of the best trial, or None without one."""
    config = best_config(search, trials)
    if config is None:
        return None
    found = best(search, trials)
    words = EVALUATED_ON[search.config.evaluated_on]
    comment = [
        f"{title(search)}.",
        f"Best of {len(ranked(trials))} finished trials: {found.trial_id}, balanced "
        f"error {found.error:.2f} % on the {words} images.",
        how_chosen(search),
        f"python -m mm_tf.experiments.run --flagfile={search.folder / FLAGS}",
    ]
    lines = "".join(f"# {line}\n" for line in comment)
    return f"{lines}{to_flagfile(config)}--output_dir={config.output_dir}\n"


def write(search, trials):
    """Writes the table, the picture and the flagfile into the search's folder."""
    table = frame(search, trials).to_csv(
        index=False, float_format="%.6g", lineterminator="\n"
    )
    texts = {TABLE: to_markdown(search, trials), CSV: table}
    flags = flagfile(search, trials)
    if flags is not None:
        texts[FLAGS] = flags
    paths = []
    for name, text in texts.items():
        _files.write_text(search.folder / name, text)
        paths.append(search.folder / name)
    if flags is not None:
        paths.append(_draw(search, trials, search.folder / PICTURE))
    return paths


def _draw(search, trials, path: pathlib.Path | os.PathLike[str]):
    from mm_tf.experiments.reports import figures

    words = EVALUATED_ON[search.config.evaluated_on]
    finished = ranked(trials)
    names = list(finished[0].values)
    figure = figures.search_figure(
        {name: [trial.values[name] for trial in finished] for name in names},
        [trial.error for trial in finished],
        f"Balanced error on the {words} images"
        + ("" if search.is_honest else ", on which they were chosen: it flatters"),
        log=[each.name for each in search.dimensions if each.is_log],
        chosen=finished.index(best(search, trials) or finished[0]),
    )
    with _files.whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=_DOTS_PER_INCH)
    return path
