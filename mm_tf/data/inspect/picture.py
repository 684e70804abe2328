"""A picture of a data set: its class counts and the sizes of its images."""

import os
import warnings

import numpy as np

from mm_tf._text import printable
from mm_tf.data.inspect.scan import Inspection

# Okabe and Ito's colours, which colour-blind people can tell apart.
_TRAIN, _TEST = "#0072B2", "#E69F00"

# With more classes than this their names would not fit side by side.
_MOST_NAMED_CLASSES = 20
_LONGEST_NAME = 20

# Above this ratio the bars of rare classes would not be seen on a linear axis.
_LARGEST_LINEAR_RATIO = 10

_MOST_POINTS = 20_000


def draw(found: Inspection, path: str | os.PathLike[str]) -> None:
    """Draws the class counts, largest class first, and the sizes of the images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    counts, sizes = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_counts(counts, found)
    _draw_sizes(sizes, found.sizes)
    with warnings.catch_warnings():
        # Names in scripts that the font does not have are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(path, dpi=120, format="png")


def _draw_counts(axes, found: Inspection) -> None:
    order = np.argsort(-found.train_counts, kind="stable")
    places = np.arange(len(order))
    train, test = found.train_counts[order], found.test_counts[order]
    axes.bar(places - 0.2, train, 0.4, color=_TRAIN, label="training")
    axes.bar(places + 0.2, test, 0.4, color=_TEST, label="test")
    if train.any() and found.imbalance_ratio > _LARGEST_LINEAR_RATIO:
        axes.set_yscale("log")
    if len(order) <= _MOST_NAMED_CLASSES:
        names = [found.class_names[j][:_LONGEST_NAME] for j in order]
        shown = [printable(name) for name in names]
        # A name may have a $, which would begin a formula.
        axes.set_xticks(places, shown, rotation=45, ha="right", parse_math=False)
    else:
        axes.set_xlabel(f"{len(order)} classes, largest first")
    axes.set_ylabel("images")
    axes.set_title(f"Imbalance ratio {found.imbalance_ratio:.3g}")
    axes.legend(frameon=False)


def _draw_sizes(axes, sizes: np.ndarray) -> None:
    step = -(-len(sizes) // _MOST_POINTS) or 1
    axes.plot(*sizes[::step].T, "o", ms=4, alpha=0.3, mew=0, color=_TRAIN)
    if len(sizes) and (sizes.max(0) > _LARGEST_LINEAR_RATIO * sizes.min(0)).any():
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="width, pixels", ylabel="height, pixels", title="Image sizes")
