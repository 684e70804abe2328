"""Figures of runs: errors of classes, training curves, confusion matrices."""

import contextlib
import itertools
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from mm_tf.class_errors import SHOT_GROUPS, shot_group
from mm_tf.experiments.reports.runs import (
    SHOT_RANGES,
    by_count,
    check_comparable,
    method_title,
)
from mm_tf.experiments.runs.result import EVALUATED_ON

# Okabe and Ito's colours, which colour-blind people can tell apart. Their blue is
# lighter here: it must show on a dark ground too.
COLORS = ("#1A80C4", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

# Legible on a light and on a dark ground.
GREY = "#8a8f98"

# In inches. A phone shows it without scrolling, and its text in 11 pixels.
_WIDTH = 4.2

# The names of more classes would not fit side by side, nor numbers in their cells.
_MOST_NAMED_CLASSES = 20
_MOST_NUMBERED_CLASSES = 12
_LONGEST_NAME = 20

# Matplotlib's own font has no Chinese, Japanese or Korean. One of these is installed
# with most systems.
_CJK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
)

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
    installed = set(font_manager.get_font_names())
    settings: Any = {
        "font.family": ["DejaVu Sans", *(x for x in _CJK_FONTS if x in installed)],
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

    The class with the most images comes first. With more than 20 classes an error is a
    dot, a line is the mean of 10 neighbouring classes, and 10 classes are named.
    """
    check_comparable(results)
    labels = labels or [method_title(result) for result in results]
    results = [by_count(result) for result in results]
    first = results[0]
    names, counts = first.class_names, first.class_counts
    figure = Figure(figsize=(_WIDTH, 5.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    bars = top.bar(np.arange(len(names)), counts, color=GREY, width=0.8)
    if len(names) <= _MOST_NAMED_CLASSES:
        angle = 90 if len(names) > 5 else 0
        numbers = [f"{count:,}" for count in counts]
        top.bar_label(bars, numbers, padding=2, rotation=angle)
    top.set_yscale("log")
    # The shortest bar would have no height, and the longest no room for its number.
    has_numbers = len(names) <= _MOST_NAMED_CLASSES
    room = 2 * (max(counts) / min(counts)) ** 0.7 if has_numbers else 2
    top.set_ylim(min(counts) / 2, max(counts) * room)
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
    places, shown, turned = _class_ticks(names)
    bottom.set_xticks(places, shown, **turned)
    if len(names) > _MOST_NAMED_CLASSES:
        bottom.set_xlabel("class, by number of training images")
    for axes in (top, bottom):
        remove_frame(axes)
    _add_legend(figure)
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
    figure = Figure(figsize=(_WIDTH, 6), layout="constrained")
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
    _add_legend(figure, handles=lines)
    return figure


def shot_error_figure(results, labels):
    """Draws the mean error of the many-, medium- and few-shot classes.

    A group without classes has no bar.
    """
    counts = results[0].class_counts
    figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
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
        angle = 90 if len(results) > 2 else 0
        axes.bar_label(bars, numbers, padding=2, rotation=angle)
    ticks = []
    for group, words in SHOT_RANGES.items():
        size = np.count_nonzero(shot_group(counts, group))
        ticks.append(f"{group}-shot\n{words}\n{size} class{'' if size == 1 else 'es'}")
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.55, len(ticks) - 0.45)
    axes.set_ylim(0, 125)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(f"mean {results[0].evaluated_words} error in %")
    remove_frame(axes)
    _add_legend(figure)
    return figure


def confusion_figure(matrix, class_names, evaluated="test"):
    """Draws what share of each class's images is predicted as each class.

    With more than 20 classes 10 of them are named, and the colour grows with the
    square root of the share, so that rare confusions show.
    """
    matrix = np.asarray(matrix, dtype="float64")
    images = matrix.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(
        matrix, images, out=np.full_like(matrix, np.nan), where=images > 0
    )
    is_named = len(class_names) <= _MOST_NAMED_CLASSES
    figure = Figure(figsize=(_WIDTH, 4.8), layout="constrained")
    axes = figure.subplots()
    ground, ink = (matplotlib.rcParams[x] for x in ("axes.facecolor", "text.color"))
    full = _THEMES["dark" if ground == _THEMES["dark"][0] else "light"][2]
    picture = axes.imshow(
        shares,
        cmap=LinearSegmentedColormap.from_list("share", [ground, full]),
        norm=PowerNorm(gamma=1.0 if is_named else 0.5, vmin=0, vmax=100),
        interpolation="nearest",
    )
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    places, names, turned = _class_ticks(class_names)
    axes.set_xticks(places, names, **turned)
    axes.set_yticks(places, names)
    if len(class_names) <= _MOST_NUMBERED_CLASSES:
        # Zeros would hide the pattern.
        for row, column in zip(*np.nonzero(shares > 0.5), strict=True):
            share = shares[row, column]
            style = {"color": ground if share > 55 else ink, "fontsize": 9.5}
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", **style)
    axes.spines[:].set_color(GREY)
    label = f"% of the true class's {evaluated} images"
    add_colorbar(figure, axes, picture, label, location="bottom")
    return figure


def add_colorbar(figure, axes, colored, label, location="right"):
    """Adds what the colours mean."""
    bar = figure.colorbar(colored, ax=axes, shrink=0.8, location=location)
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
            style = {"ha": "center", "transform": across}
            axes.text(middle, 1.04, f"{name}-shot", **style)
        first += size


def _class_ticks(names):
    """Places of up to 20 classes, of 10 of more, their names, and how x turns them.

    A class whose name no font can write has its place, counted from 1.
    """
    size = len(names) if len(names) <= _MOST_NAMED_CLASSES else 10
    places = np.linspace(0, len(names) - 1, size).round().astype(int)
    fonts = [
        font_manager.get_font(font_manager.findfont(FontProperties(family=[family])))
        for family in matplotlib.rcParams["font.family"]
    ]
    shown = []
    for place in places:
        name = names[place]
        if not all(any(font.get_char_index(ord(x)) for font in fonts) for x in name):
            name = f"class {place + 1}"
        is_short = len(name) <= _LONGEST_NAME
        shown.append(name if is_short else name[: _LONGEST_NAME - 1] + "…")
    if max(map(len, shown)) <= 3 and size <= 10:
        return places, shown, {}
    angle = 45 if size <= _MOST_NUMBERED_CLASSES else 90
    turned = {"rotation": angle, "rotation_mode": "anchor", "ha": "right"}
    return places, shown, turned | ({"va": "center"} if angle == 90 else {})


def _add_legend(figure, **options):
    figure.legend(loc="outside lower center", frameon=False, **options)
