"""The tables of a report, and the words beside them."""

import collections
import pathlib

from mm_tf._text import percent
from mm_tf.experiments import paper
from mm_tf.experiments.config.config import SHORT_IMBALANCE
from mm_tf.experiments.config.fields import AS_IS
from mm_tf.experiments.paper.methods import is_used
from mm_tf.experiments.reports.runs import SHOT_RANGES

# Flags that other flags can leave without effect, and whether they have one.
_HAS_EFFECT = {
    "imbalance_ratio": lambda config: config.imbalance in SHORT_IMBALANCE,
    # Where all images are used, only a hold-out is drawn.
    "subset_seed": lambda config: config.imbalance != AS_IS or config.holdout > 0,
    "effective_number_beta": (
        lambda config: config.class_weighting == "effective_number"
    ),
}


def _has_published(runs):
    return any(run.result.published_top1_error is not None for run in runs)


def published(runs, labels):
    """Pairs (labels, how their runs compare with the published numbers)."""
    if not (_has_published(runs) or any(paper.is_fast(run.result) for run in runs)):
        return []
    labels_of_words = collections.defaultdict(list)
    for run, label in zip(runs, labels, strict=True):
        labels_of_words[paper.published_words(run.result)].append(label)
    return [(", ".join(whose), words) for words, whose in labels_of_words.items()]


def summary(runs):
    """The rows of the table of errors."""
    results = [run.result for run in runs]
    best = (
        f"Top-1, best epoch (chosen on the {results[0].evaluated_words} images, so it "
        "flatters)"
    )
    rows = {"Top-1, last epoch": [percent(each.top1_error) for each in results]}
    if any(each.top1_error_one_view is not None for each in results):
        errors = [result.top1_error_one_view for result in results]
        rows["Top-1, last epoch, one view"] = [
            "as above" if error is None else percent(error) for error in errors
        ]
    if _has_published(runs):
        errors = [result.published_top1_error for result in results]
        rows["Published, top-1 (Table 1)"] = [
            "none" if error is None else percent(error) for error in errors
        ]
    rows[best] = [
        f"{percent(each.best_top1_error)} (epoch\N{NO-BREAK SPACE}{each.best_epoch})"
        for each in results
    ]
    rows["Mean over classes"] = [percent(each.balanced_error) for each in results]
    for group, words in SHOT_RANGES.items():
        errors = [getattr(result, f"{group}_shot_error") for result in results]
        rows[f"{group.capitalize()}-shot classes ({words})"] = [
            "no such class" if error is None else percent(error) for error in errors
        ]
    if any(run.post_hoc is not None for run in runs):
        after = "after post-hoc logit adjustment (nothing trained)"
        rows[f"Top-1 {after}"] = [_adjusted(run, "after") for run in runs]
        rows[f"Mean over classes {after}"] = [
            _adjusted(run, "balanced_after") for run in runs
        ]
    return list(rows.items())


def _adjusted(run, name):
    """An error after the post-hoc adjustment, or why there is none."""
    found = run.post_hoc
    if isinstance(found, str):
        return f"- ({found})"
    chosen = ", chosen on these images" if found.is_chosen else ""
    return (
        f"{percent(getattr(found, name))} (tau\N{NO-BREAK SPACE}{found.tau:g}{chosen})"
    )


def classes(runs, labels):
    """The columns of the table of all classes, behind that of their names."""
    result = runs[0].result
    columns = [("Training images", [f"{count:,}" for count in result.class_counts])]
    # They differ only if the images changed in between.
    counts = zip(*(run.result.evaluated_counts for run in runs), strict=True)
    cells = [" or ".join(dict.fromkeys(f"{count:,}" for count in x)) for x in counts]
    columns.append((f"{result.evaluated_words.capitalize()} images", cells))
    for run, label in zip(runs, labels, strict=True):
        errors = [percent(error, 1) for error in run.result.per_class_error]
        columns.append((f"{label}, error in %", errors))
    return columns


def flags(runs):
    """The rows of the table of flags, only those that have an effect."""
    flags_of_runs = [_flags_with_effect(run.config) for run in runs]
    rows = []
    for name in dict.fromkeys(name for flags in flags_of_runs for name in flags):
        values = {flags[name] for flags in flags_of_runs if name in flags}
        cells = [flags.get(name, "-") for flags in flags_of_runs]
        rows.append((name, cells, len(values) > 1))
    return rows


def _flags_with_effect(config):
    if config is None:
        return {}
    # A page may be passed on: it does not show where things lie on this machine.
    places = {
        name: pathlib.PurePath(place).name
        for name in ("weights", "data_dir")
        if (place := getattr(config, name)) is not None
    }
    flags = config.identity() | places
    return {
        name: ("no", "yes")[value] if isinstance(value, bool) else str(value)
        for name, value in flags.items()
        if value is not None
        and is_used(name, config.row)
        and _HAS_EFFECT.get(name, lambda config: True)(config)
    }


def environment(runs):
    """The rows of the table of environment and speed."""
    results = [run.result for run in runs]
    rows = {
        "backend": [result.backend for result in results],
        "device": [result.device for result in results],
        "training images a second": [f"{x.images_per_second:,.1f}" for x in results],
        "training time": [f"{x.training_seconds:,.0f} s" for x in results],
    }
    for name in dict.fromkeys(name for result in results for name in result.versions):
        rows[name] = [str(result.versions.get(name, "-")) for result in results]
    # Times always differ.
    return [
        (name, cells, len(set(cells)) > 1 and not name.startswith("training"))
        for name, cells in rows.items()
    ]
