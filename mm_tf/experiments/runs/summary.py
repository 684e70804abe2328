"""What a run prints before and after its training."""

import itertools
import math

from rich.cells import cell_len
from rich.console import Console

from mm_tf._text import counted, percent, printable, table
from mm_tf.experiments import paper
from mm_tf.experiments.config import recipes

# Rows of the table of classes; with more classes it gets more columns.
_CLASSES_A_COLUMN = 25

# With a smaller share of a batch, batch normalization has next to no statistics. On
# long-tailed digits, a last step of 1 image of 32 doubled ERM's error.
_SMALL_SHARE = 0.25

# Between two columns of a table, and what is left and right of all.
_SEPARATOR = 3
_EDGES = 1


def print_plan(config, notes=(), console=None):
    """Prints what is about to be trained, and notes on how the data were read."""
    console = console or Console(highlight=False)
    # Names of a user's files may hold anything.
    for line in _plan(config):
        console.print(printable(line), markup=False)
    for note in notes:
        console.print(f"  data: {printable(note)}", markup=False, soft_wrap=True)


def _plan(config):
    method, counts = config.row, config.class_counts
    yield (
        f"{method.title} on {config.setting}, seed {config.seed}: "
        f"{counts.sum():,} training images, {counts.max():,} to {counts.min():,} a "
        f"class; {config.model}, {counted(config.epochs, 'epoch')}, counted from 0"
    )
    if config.holdout:
        held_out = config.drawn_class_counts - counts
        yield (
            f"  errors are on a hold-out of {held_out.sum():,} more training images, "
            f"{held_out.max():,} to {held_out.min():,} a class, not on the test images"
        )
    if config.hyperparameters:
        values = (
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in config.hyperparameters.items()
        )
        yield f"  {', '.join(values)}"
    if config.row.second_stage != "none":
        first = config.first_stage or f"ERM, {counted(config.epochs, 'epoch')}"
        last = config.last_stage_epochs
        trained = f", trained for {counted(last, 'epoch')}"
        is_trained = config.row.second_stage != "normalized"
        yield f"  first stage: {first}; then its head{trained if is_trained else ''}"
    if config.weights is not None:
        frozen = f", its backbone frozen for {counted(config.frozen_epochs, 'epoch')}"
        yield (
            f"  begins with the weights {config.weights}"
            f"{frozen if config.frozen_epochs else ''}"
        )
    falls = "then linearly to 0"
    if config.schedule == "steps":
        falls = ", ".join(_drops(config))
    yield (
        f"  learning rate {config.learning_rate:g}: warm-up "
        f"{counted(config.warmup_epochs, 'epoch')}, {falls}"
    )
    if config.recipe != "paper":
        flags = (f"--{name}={getattr(config, name)}" for name in recipes.PAPER)
        yield f"  the recipe {config.recipe}: {' '.join(flags)}"
    total, size = int(counts.sum()), config.batch_size
    if _has_small_step(total, size):
        smaller = range(size - 1, 0, -1)
        better = next(each for each in smaller if not _has_small_step(total, each))
        yield (
            f"  the last step of an epoch has {total % size} of {size} images, too few "
            "for batch normalization: it can spoil the errors. Another batch size "
            f"leaves more: --batch_size={better}"
        )
    for what, when in (
        ("re-weighted", method.weighting),
        ("re-sampled", method.sampling),
    ):
        start = config.first_reweighted_epoch if when == "deferred" else 0
        if when != "none" and start < config.epochs:
            yield f"  classes {what} from epoch {start}"
        elif when != "none":
            yield f"  classes never {what} (that would be from epoch {start})"


def _has_small_step(total, batch_size):
    return 0 < total % batch_size < batch_size * _SMALL_SHARE


def _drops(config):
    """Says from which epochs the learning rate is lower, as it will be."""
    for epoch, factor in config.drops:
        # A drop inside the warm-up acts when that has ended.
        begins = max(epoch, config.warmup_epochs)
        if begins < config.epochs:
            yield f"x {factor:g} from epoch {begins}"
        else:
            yield f"never x {factor:g} (that would be from epoch {begins})"


def print_result(result, folder, console=None):
    """Prints a result, beside the published number if there is one, class by class."""
    console = console or Console(highlight=False)
    console.print(_errors_table(result))
    if result.published_top1_error is not None or paper.is_fast(result):
        console.print(paper.published_words(result))
    console.print(_classes_table(result, console.width))
    console.print(
        f"{result.images_per_second:,.0f} training images a second on {result.device}, "
        f"Keras on {result.backend}",
        markup=False,
    )
    console.print(printable(f"Saved in {folder}"), markup=False, soft_wrap=True)


def _errors_table(result):
    on = result.evaluated_words
    last = result.hyperparameters.get("second_stage_epochs", result.epochs) - 1
    rows = [
        (f"top-1, last epoch ({last}, counted from 0)", result.top1_error),
        (
            f"top-1, best epoch ({result.best_epoch}; chosen on {on}, so it flatters)",
            result.best_top1_error,
        ),
        ("mean over classes", result.balanced_error),
        ("many-shot classes (> 100 images)", result.many_shot_error),
        ("medium-shot classes (20 to 100)", result.medium_shot_error),
        ("few-shot classes (< 20)", result.few_shot_error),
    ]
    if result.top1_error_one_view is not None:
        rows.insert(1, ("top-1, last epoch, one view", result.top1_error_one_view))
    if result.published_top1_error is not None:
        rows.append(("published, top-1 (Table 1)", result.published_top1_error))
    return table(
        [f"Error on the {on} images", "%"],
        [(name, percent(error)) for name, error in rows],
        f"{result.row.title}, {result.setting}, seed {result.seed}",
    )


def _classes_table(result, width):
    """Classes below each other, and in several columns if that fits the width."""
    heads = [
        *("Class", "Training\nimages"),
        f"{result.evaluated_words.capitalize()}\nimages",
        "Error %",
    ]
    classes = list(
        zip(
            result.class_names,
            result.class_counts,
            result.evaluated_counts,
            (percent(error, 1) for error in result.per_class_error),
            strict=True,
        )
    )
    widths = [max(map(len, head.splitlines())) for head in heads]
    widths[0] = max(cell_len(printable(name)) for name, *_ in classes)
    fitting = (width - _EDGES) // sum(_SEPARATOR + each for each in widths)
    columns = max(1, min(fitting, math.ceil(len(classes) / _CLASSES_A_COLUMN)))
    rows = math.ceil(len(classes) / columns)
    return table(
        heads * columns,
        [itertools.chain(*classes[row::rows]) for row in range(rows)],
        left=range(0, len(heads) * columns, len(heads)),
    )
