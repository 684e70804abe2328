"""The tables of a report, and the words beside them."""

import collections

from mm_tf.experiments import paper
from mm_tf.experiments.config.config import SHORT_IMBALANCE
from mm_tf.experiments.config.fields import AS_IS
from mm_tf.experiments.paper.methods import is_used

# What other flags can leave without a part, and whether they do not.
_PLAYS_A_PART = {
    "imbalance_ratio": lambda config: config.imbalance in SHORT_IMBALANCE,
    # Of images that are as many as they are, none is drawn but a hold-out.
    "subset_seed": lambda config: config.imbalance != AS_IS or config.holdout > 0,
    "effective_number_beta": (
        lambda config: config.class_weighting == "effective_number"
    ),
}


def _has_published(results):
    """Whether the paper has a number for one of the results at least."""
    return any(result.published_top1_error is not None for result in results)


def published(runs, labels):
    """Returns how runs stand to their published numbers, if one of them has one."""
    of_words = collections.defaultdict(list)
    if not _has_published([run.result for run in runs]):
        return []
    for run, label in zip(runs, labels, strict=True):
        of_words[paper.published_words(run.result)].append(label)
    return [(", ".join(whose), words) for words, whose in of_words.items()]


def summary(runs):
    """Returns the rows of the table of errors."""
    results = [run.result for run in runs]
    rows = [
        (
            "Top-1, last epoch",
            [f"{result.top1_error:.2f}" for result in results],
        ),
        (
            f"Top-1, best epoch (chosen on the {results[0].evaluated_words} images, "
            "so it flatters)",
            [
                f"{result.best_top1_error:.2f} "
                f"(epoch\N{NO-BREAK SPACE}{result.best_epoch})"
                for result in results
            ],
        ),
        ("Mean over classes", [_percent(result.balanced_error) for result in results]),
    ]
    for group, words in (
        ("many", "> 100 images"),
        ("medium", "20 to 100"),
        ("few", "< 20"),
    ):
        errors = [getattr(result, f"{group}_shot_error") for result in results]
        name = f"{group.capitalize()}-shot classes ({words})"
        rows.append(
            (
                name,
                ["no such class" if e is None else _percent(e) for e in errors],
            )
        )
    if _has_published(results):
        errors = [result.published_top1_error for result in results]
        cells = ["none" if e is None else _percent(e) for e in errors]
        # Beside what it is to be held against.
        rows.insert(1, ("Published, top-1 (Table 1)", cells))
    return rows


def classes(runs, labels):
    """Returns the columns of the table of all classes, behind that of their names."""
    result = runs[0].result
    columns = [("Training images", [f"{count:,}" for count in result.class_counts])]
    known = [run.evaluated_counts for run in runs if run.evaluated_counts is not None]
    if known:
        # One number, but of runs whose images changed in between.
        cells = [
            " or ".join(dict.fromkeys(f"{count:,}" for count in counts))
            for counts in zip(*known, strict=True)
        ]
        columns.append((f"{result.evaluated_words.capitalize()} images", cells))
    for run, label in zip(runs, labels, strict=True):
        errors = [_percent(error, 1) for error in run.result.per_class_error]
        columns.append((f"{label}, error in %", errors))
    return columns


def flags(runs):
    """Returns the rows of the table of flags, of those that play a part."""
    names = dict.fromkeys(name for run in runs for name in run.flags)
    rows = []
    for name in names:
        values = {
            place: run.flags.get(name, "-") or "yes"
            for place, run in enumerate(runs)
            if _plays_a_part(name, run.config)
        }
        if values:
            cells = [values.get(place, "-") for place in range(len(runs))]
            rows.append((name, cells, len(set(values.values())) > 1))
    return rows


def _plays_a_part(flag, config):
    """Whether a flag changes a run; of a run whose flags say too little, any does."""
    if config is None:
        return True
    is_left = _PLAYS_A_PART.get(flag, lambda config: True)
    return is_used(flag, config.method) and is_left(config)


def environment(runs):
    """Returns the rows of the table of on what, and how fast, runs were trained."""
    results = [run.result for run in runs]
    rows = [
        ("backend", [result.backend for result in results]),
        ("device", [result.device for result in results]),
        (
            "training images a second",
            [f"{result.images_per_second:,.1f}" for result in results],
        ),
        (
            "training time",
            [f"{result.training_seconds:,.0f} s" for result in results],
        ),
    ]
    packages = dict.fromkeys(name for result in results for name in result.versions)
    rows += [
        (name, [str(result.versions.get(name, "-")) for result in results])
        for name in packages
    ]
    # Times always differ.
    return [
        (name, cells, len(set(cells)) > 1 and not name.startswith("training"))
        for name, cells in rows
    ]


def _percent(error, digits=2):
    return "-" if error is None else f"{error:.{digits}f}"
