"""Figures of runs: errors of classes, training curves, confusion matrices."""

import contextlib
import itertools
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from mm_tf.class_errors import SHOT_GROUPS, shot_group
from mm_tf.experiments.reports.runs import SHOT_RANGES, check_comparable, method_title
from mm_tf.experiments.runs.result import EVALUATED_ON

# Okabe and Ito's colours, which colour-blind people can tell apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

# Legible on a light and on a dark ground.
GREY = "#8a8f98"

# The names of more classes would not fit side by side.
_MOST_NAMED_CLASSES = 20
_LONGEST_NAME = 20

# With too many classes for a bar each, lines show means over so many neighbours.
_CLASSES_IN_MEAN = 10

# Ground, ink, and the colour of a share of 100 %.
_THEMES = {
    "light": ("#ffffff", "#1b1f24", "#08519c"),
    "dark": ("#14171c", "#e6e8eb", "#9ecbf5"),
}
THEMES = tuple(_THEMES)


@contextlib.contextmanager
def theme(name):
    """Draws the figures that are made and saved inside it for a ground."""
    ground, ink, _ = _THEMES[name]
    settings: Any = {
        "figure.facecolor": ground,
        "savefig.facecolor": ground,
        "axes.facecolor": ground,
        "axes.titlesize": "medium",
        # A class may be called "$": that is its name, and no formula.
        "text.parse_math": False,
    }
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor")
    settings |= dict.fromkeys((*inked, "xtick.color", "ytick.color"), ink)
    with matplotlib.rc_context(settings):
        yield


def per_class_error_figure(results, labels=None):
    """Draws each class's error below its number of training images.

    With more than 20 classes an error is a dot, and a line is the mean of 10
    neighbouring classes.
    """
    check_comparable(results)
    labels = labels or [method_title(result) for result in results]
    first = results[0]
    names, counts = first.class_names, first.class_counts
    figure = Figure(figsize=(5.8, 5.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    bars = top.bar(np.arange(len(names)), counts, color=GREY, width=0.8)
    if len(names) <= _MOST_NAMED_CLASSES:
        top.bar_label(bars, [f"{count:,}" for count in counts], fontsize="small")
    top.set_yscale("log")
    # The shortest bar would have no height, and the longest no room for its number.
    top.set_ylim(min(counts) / 2, 1.6 * max(counts))
    # The default would be formulas, which a theme writes as they are.
    top.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    top.yaxis.set_minor_formatter(NullFormatter())
    top.set_ylabel("training images")
    _show_shot_groups(top, counts)
    draw = _draw_bars if len(names) <= _MOST_NAMED_CLASSES else _draw_dots
    for number, (result, label) in enumerate(zip(results, labels, strict=True)):
        draw(
            bottom,
            np.array(result.per_class_error, "float64"),
            color=COLORS[number],
            label=f"{label} (mean {result.balanced_error:.1f} %)",
            place=(number, len(results)),
        )
    bottom.set_ylim(0, 100)
    bottom.set_ylabel(f"{first.evaluated_words} error in %")
    if len(names) <= _MOST_NAMED_CLASSES:
        is_long = max(map(len, names)) > 3
        turned = {"rotation": 30, "ha": "right"} if is_long else {}
        bottom.set_xticks(np.arange(len(names)), _short(names), **turned)
    else:
        bottom.set_xlabel("class, by number of training images")
    for axes in (top, bottom):
        remove_frame(axes)
    _add_legend(figure, len(results))
    epochs = ", ".join(sorted({f"{result.epochs} epochs" for result in results}))
    seeds = ", ".join(sorted({f"seed {result.seed}" for result in results}))
    figure.suptitle(f"{first.setting}, {epochs}, {seeds}", fontsize="medium")
    return figure


def training_curves_figure(histories, labels, marks=()):
    """Draws the loss and the top-1 error of every epoch.

    Marks are triples (epoch, label, whether it is deferred re-weighting, or a drop of
    the rate). A mark is half an epoch before its epoch's point: what is new acts during
    that epoch, and the point is what the epoch ended with. A run whose history is None
    keeps its place, so that others keep their colours.
    """
    figure = Figure(figsize=(5.8, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    lines, evaluated = [], {}
    for history, label, color in zip(histories, labels, COLORS, strict=False):
        lines += top.plot([], [], color=color, linewidth=3, label=label)
        if history is None:
            continue
        epochs = history["epoch"]
        # One epoch would be a line without length.
        marker = "o" if len(epochs) <= 20 else None
        style = {"color": color, "marker": marker, "markersize": 3, "linewidth": 1.6}
        if "loss" in history:
            top.plot(epochs, history["loss"], **style)
        for name, words in EVALUATED_ON.items():
            if f"{name}_top1_error" in history:
                bottom.plot(epochs, history[f"{name}_top1_error"], **style)
                evaluated[words] = True
        if "accuracy" in history:
            bottom.plot(epochs, 100 * (1 - history["accuracy"]), ls="--", **style)
    label = " and ".join(evaluated) or EVALUATED_ON["test"]
    lines += bottom.plot([], [], color=GREY, label=f"{label} error")
    lines += bottom.plot([], [], color=GREY, ls="--", label="training error")
    last = max(each["epoch"].max() for each in histories if each is not None)
    for axes in (top, bottom):
        axes.set_ylim(bottom=0)
        axes.set_xlim(right=last + 0.5)
        remove_frame(axes)
    lines += _draw_marks((top, bottom), marks, last)
    bottom.set_ylim(0, 100)
    top.set_ylabel("training loss")
    bottom.set_ylabel("top-1 error in %")
    bottom.set_xlabel("epoch, counted from 0")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    _add_legend(figure, 2, handles=lines)
    return figure


def shot_error_figure(results, labels):
    """Draws the mean error of the many-, medium- and few-shot classes.

    A group without classes has no bar.
    """
    counts = results[0].class_counts
    figure = Figure(figsize=(5.8, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (result, label) in enumerate(zip(results, labels, strict=True)):
        errors = [getattr(result, f"{group}_shot_error") for group in SHOT_RANGES]
        bars = _draw_bars(
            axes,
            np.array(errors, "float64"),
            COLORS[number],
            label,
            (number, len(results)),
        )
        numbers = ["" if error is None else f"{error:.1f}" for error in errors]
        axes.bar_label(bars, numbers, fontsize="small")
    ticks = []
    for group, words in SHOT_RANGES.items():
        size = np.count_nonzero(shot_group(counts, group))
        ticks.append(f"{group}-shot\n{words}\n{size} class{'' if size == 1 else 'es'}")
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.55, len(ticks) - 0.45)
    axes.set_ylim(0, 109)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(f"mean {results[0].evaluated_words} error in %")
    remove_frame(axes)
    _add_legend(figure, len(results))
    return figure


def confusion_figure(matrix, class_names, evaluated="test"):
    """Draws what share of each class's images is predicted as each class.

    With more than 20 classes they have no names, and the colour grows with the
    square root of the share, so that rare confusions show.
    """
    matrix = np.asarray(matrix, dtype="float64")
    images = matrix.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(
        matrix, images, out=np.full_like(matrix, np.nan), where=images > 0
    )
    is_named = len(class_names) <= _MOST_NAMED_CLASSES
    figure = Figure(figsize=(5.8, 5), layout="constrained")
    axes = figure.subplots()
    ground, ink = (matplotlib.rcParams[x] for x in ("axes.facecolor", "text.color"))
    full = _THEMES["dark" if ground == _THEMES["dark"][0] else "light"][2]
    picture = axes.imshow(
        shares,
        cmap=LinearSegmentedColormap.from_list("share", [ground, full]),
        norm=PowerNorm(gamma=1.0 if is_named else 0.5, vmin=0, vmax=100),
        interpolation="nearest",
    )
    order = "" if is_named else ", by number of training images"
    axes.set_xlabel(f"predicted class{order}")
    axes.set_ylabel(f"true class{order}")
    if is_named:
        names, positions = _short(class_names), range(len(class_names))
        axes.set_xticks(positions, names, rotation=45, ha="right")
        axes.set_yticks(positions, names)
        # Zeros would hide the pattern.
        for row, column in zip(*np.nonzero(shares > 0.5), strict=True):
            share = shares[row, column]
            style = {"color": ground if share > 55 else ink, "fontsize": 8}
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", **style)
    axes.spines[:].set_color(GREY)
    add_colorbar(figure, axes, picture, f"% of the true class's {evaluated} images")
    return figure


def add_colorbar(figure, axes, colored, label):
    """Adds what the colours mean."""
    bar = figure.colorbar(colored, ax=axes, shrink=0.8)
    bar.set_label(label)
    bar.outline.set_edgecolor(GREY)


def remove_frame(axes):
    """Leaves only the axes of x and y."""
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bars(axes, values, color, label, place):
    number, size = place
    width = 0.8 / size
    positions = np.arange(len(values)) + (number - (size - 1) / 2) * width
    return axes.bar(positions, values, width=width, color=color, label=label)


def _draw_dots(axes, values, color, label, place):
    positions = np.arange(len(values))
    axes.plot(positions, values, "o", color=color, markersize=2.5, alpha=0.55)
    # Means over fewer classes at both ends would swing.
    windows = np.lib.stride_tricks.sliding_window_view(values, _CLASSES_IN_MEAN)
    centers = positions[: len(windows)] + (_CLASSES_IN_MEAN - 1) / 2
    seen = np.count_nonzero(~np.isnan(windows), axis=1)
    means = np.nansum(windows, axis=1) / np.where(seen, seen, np.nan)
    axes.plot(centers, means, color=color, linewidth=2, label=label)


def _draw_marks(panels, marks, last_epoch):
    """Draws the marks into both panels; returns what the legend shows."""
    handles = []
    drop_styles = itertools.cycle([(0, (1, 1.5)), (0, (5, 2)), (0, (5, 2, 1, 2))])
    for epoch, label, is_deferred in marks:
        if epoch > last_epoch:
            continue
        start, style = epoch - 0.5, {"color": GREY, "label": label}
        if is_deferred:
            style |= {"alpha": 0.22, "linewidth": 0}
            drawn = [axes.axvspan(start, last_epoch + 0.5, **style) for axes in panels]
        else:
            style |= {"linewidth": 1.4, "linestyle": next(drop_styles)}
            drawn = [axes.axvline(start, **style) for axes in panels]
        handles.append(drawn[0])
    return handles


def _show_shot_groups(axes, class_counts):
    """Shades every second stretch of classes of one group, and names long ones."""
    groups = [shot_group(class_counts, group) for group in SHOT_GROUPS]
    of_class = np.select(groups, list(SHOT_GROUPS), default="")
    first = 0
    for number, (name, members) in enumerate(itertools.groupby(of_class)):
        size = len(list(members))
        if number % 2:
            span = first - 0.5, first + size - 0.5
            axes.axvspan(*span, color=GREY, alpha=0.18, linewidth=0, zorder=0)
        if size >= 0.08 * len(class_counts):
            middle, across = first + (size - 1) / 2, axes.get_xaxis_transform()
            style = {"ha": "center", "fontsize": "small", "transform": across}
            axes.text(middle, 1.04, f"{name}-shot", **style)
        first += size


def _short(names):
    return [
        name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        for name in names
    ]


def _add_legend(figure, columns, **options):
    style = {"frameon": False, "fontsize": "small", "ncols": min(2, columns)}
    figure.legend(loc="outside lower center", **style, **options)
