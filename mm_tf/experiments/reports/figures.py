"""Pictures of results."""

import contextlib
import dataclasses
import itertools
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    StrMethodFormatter,
)

from mm_tf.class_errors import SHOT_GROUPS, shot_group
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs.images import EVALUATED_ON

# Okabe and Ito's colours, which colour-blind people can tell apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

# Legible on a light and on a dark ground.
_GREY = "#8a8f98"

# With more classes than this their names would not fit side by side.
_MOST_NAMED_CLASSES = 20

# A class's name in a picture; the whole one may be as long as a file's author likes.
_LONGEST_NAME = 20

# Errors beside more dots than this would hide each other.
_MOST_LABELLED_DOTS = 40

# Of neighbouring classes, where there are too many classes for a bar each.
_CLASSES_OF_A_MEAN = 10

_THEMES = {
    "light": {"ground": "#ffffff", "ink": "#1b1f24", "full": "#08519c"},
    "dark": {"ground": "#14171c", "ink": "#e6e8eb", "full": "#9ecbf5"},
}
THEMES = tuple(_THEMES)


@contextlib.contextmanager
def theme(name):
    """Draws the figures that are made and saved inside it for a ground."""
    if name not in _THEMES:
        raise ValueError(
            f"`name` must be one of {', '.join(THEMES)}. Received: name={name!r}"
        )
    ground, ink = _THEMES[name]["ground"], _THEMES[name]["ink"]
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


@dataclasses.dataclass(frozen=True)
class Mark:
    """A moment of training that the curves show.

    Attributes:
        epoch: The first epoch of what is new, counted from 0.
        label: What is new, for the legend.
        is_deferred: Whether it is the start of deferred re-weighting or
            re-sampling, and not a drop of the learning rate.
    """

    epoch: int
    label: str
    is_deferred: bool = False


def class_counts_figure(result):
    """Draws the number of training images of each class."""
    names, counts = result.class_names, result.class_counts
    figure = Figure(figsize=(5.8, 3.4), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(np.arange(len(names)), counts, color=_GREY, width=0.8)
    if len(names) <= _MOST_NAMED_CLASSES:
        axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize="small")
    axes.set_ylabel("training images")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlim(-0.6, len(names) - 0.4)
    _name_classes(axes, names)
    _show_shot_groups(axes, counts)
    _without_frame(axes)
    return figure


def per_class_error_figure(results, labels=None):
    """Draws each class's error beside its number of training images.

    With more than 20 classes an error is a dot, and a line is the mean of 10
    neighbouring classes.
    """
    results = list(results)
    if not 1 <= len(results) <= len(COLORS):
        raise ValueError(
            f"`results` must be 1 to {len(COLORS)} results. Received: {len(results)}"
        )
    settings = {result.setting for result in results}
    if len(settings) > 1:
        raise ValueError(
            f"`results` must be of one setting. Received: {', '.join(sorted(settings))}"
        )
    evaluated = {result.evaluated_words for result in results}
    if len(evaluated) > 1:
        raise ValueError(
            "`results` must be evaluated on the same images. "
            f"Received: {' and '.join(sorted(evaluated))} images"
        )
    labels = labels or [METHODS[result.method].title for result in results]
    names, counts = results[0].class_names, results[0].class_counts
    figure = Figure(figsize=(5.8, 4.8), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    positions = np.arange(len(names))
    top.bar(positions, counts, color=_GREY, width=0.8)
    top.set_yscale("log")
    # On a logarithmic scale the shortest bar would have no height.
    top.set_ylim(bottom=min(counts) / 2)
    # Matplotlib's own would be formulas, which a theme writes as they stand.
    top.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    top.yaxis.set_minor_formatter(NullFormatter())
    top.set_ylabel("training\nimages")
    draw = _draw_bars if len(names) <= _MOST_NAMED_CLASSES else _draw_dots
    draw(
        bottom,
        [_numbers(result.per_class_error) for result in results],
        [
            f"{label} (mean {result.balanced_error:.1f} %)"
            for label, result in zip(labels, results, strict=True)
        ],
    )
    bottom.set_ylim(0, 100)
    bottom.set_ylabel(f"{results[0].evaluated_words} error in %")
    _name_classes(bottom, names)
    for axes in (top, bottom):
        _without_frame(axes)
    figure.legend(
        loc="outside lower center",
        ncols=min(2, len(results)),
        frameon=False,
        fontsize="small",
    )
    one = results[0]
    epochs = ", ".join(sorted({f"{result.epochs} epochs" for result in results}))
    seeds = ", ".join(sorted({f"seed {result.seed}" for result in results}))
    figure.suptitle(f"{one.setting}, {epochs}, {seeds}", fontsize="medium")
    return figure


def training_curves_figure(histories, labels, marks=()):
    """Draws the loss and the top-1 error of every epoch.

    A mark stands before the point of its epoch, because what is new acts during
    that epoch and the point is what the epoch ended with.
    """
    figure = Figure(figsize=(5.8, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    lines, evaluated = [], {}
    for history, label, color in zip(histories, labels, COLORS, strict=False):
        epochs = history["epoch"]
        # One epoch would be a line of no length.
        style: dict[str, Any] = {
            "color": color,
            "marker": "o" if len(epochs) <= 20 else None,
        }
        style |= {"markersize": 3, "linewidth": 1.6}
        if "loss" in history:
            top.plot(epochs, history["loss"], **style)
        for name, words in EVALUATED_ON.items():
            if f"{name}_top1_error" in history:
                bottom.plot(epochs, history[f"{name}_top1_error"], **style)
                evaluated[words] = True
        if "accuracy" in history:
            training_error = 100 * (1 - np.asarray(history["accuracy"]))
            bottom.plot(epochs, training_error, **(style | {"linestyle": "--"}))
        lines += top.plot([], [], color=color, linewidth=3, label=label)
    label = " and ".join(evaluated) or EVALUATED_ON["test"]
    lines += bottom.plot([], [], color=_GREY, label=f"{label} error")
    lines += bottom.plot([], [], color=_GREY, ls="--", label="training error")
    last = max((float(np.max(history["epoch"])) for history in histories), default=0)
    for axes in (top, bottom):
        axes.set_ylim(bottom=0)
        axes.set_xlim(right=last + 0.5)
        _without_frame(axes)
    lines += _draw_marks((top, bottom), marks, last)
    bottom.set_ylim(0, 100)
    top.set_ylabel("training loss")
    bottom.set_ylabel("top-1 error in %")
    bottom.set_xlabel("epoch, counted from 0")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(
        handles=lines, loc="outside lower left", ncols=2, frameon=False, fontsize=8
    )
    return figure


def shot_error_figure(results, labels):
    """Draws the mean error of the many-, medium- and few-shot classes.

    A group without classes gets these words and no bar.
    """
    sizes = {
        group: int(np.count_nonzero(classes))
        for group, classes in _shot_groups(results[0].class_counts)
    }
    ranges = {"many": "> 100 images", "medium": "20 to 100", "few": "< 20"}
    figure = Figure(figsize=(5.8, 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(results)
    for number, (result, label) in enumerate(zip(results, labels, strict=True)):
        errors = _numbers(getattr(result, f"{group}_shot_error") for group in sizes)
        there = np.flatnonzero(~np.isnan(errors))
        bars = axes.bar(
            there + (number - (len(results) - 1) / 2) * width,
            errors[there],
            width=width,
            color=COLORS[number],
            label=label,
        )
        axes.bar_label(bars, fmt="%.1f", fontsize="small")
    for position, size in enumerate(sizes.values()):
        if not size:
            axes.text(position, 3, "no such class", ha="center", color=_GREY)
    axes.set_xlim(-0.55, len(sizes) - 0.45)
    axes.set_ylim(0, 109)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(f"mean {results[0].evaluated_words} error in %")
    ticks = [
        f"{group}-shot\n{ranges[group]}\n{size} class{'' if size == 1 else 'es'}"
        for group, size in sizes.items()
    ]
    axes.set_xticks(range(len(sizes)), ticks)
    _without_frame(axes)
    figure.legend(
        loc="outside lower center",
        ncols=min(3, len(results)),
        frameon=False,
        fontsize="small",
    )
    return figure


def confusion_figure(matrix, class_names, evaluated="test"):
    """Draws what share of each class's images is taken for which class.

    With more than 20 classes they have no names, and the colour grows with the
    square root of the share, so that seldom confusions show.
    """
    matrix = np.asarray(matrix, dtype="float64")
    images = matrix.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(
        matrix, images, out=np.full_like(matrix, np.nan), where=images > 0
    )
    is_named = len(class_names) <= _MOST_NAMED_CLASSES
    figure = Figure(figsize=(5.8, 5), layout="constrained")
    axes = figure.subplots()
    ground = matplotlib.rcParams["axes.facecolor"]
    dark = ground == _THEMES["dark"]["ground"]
    full = _THEMES["dark" if dark else "light"]["full"]
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
        ink = matplotlib.rcParams["text.color"]
        for row, column in itertools.product(positions, positions):
            share = shares[row, column]
            # The empty cells are the ground: zeros in them would be noise.
            if share > 0.5:
                color = ground if share > 55 else ink
                axes.text(
                    column,
                    row,
                    f"{share:.0f}",
                    color=color,
                    ha="center",
                    va="center",
                    fontsize=8,
                )
    axes.spines[:].set_color(_GREY)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8)
    bar.set_label(f"% of the true class's {evaluated} images")
    bar.outline.set_edgecolor(_GREY)
    return figure


def search_figure(values, errors, label, log=(), chosen=0):
    """Draws the errors of a search's trials over what was searched.

    Where beta and delta were, first a map of the two, whose dots have their errors
    written beside them; then, for each flag, the errors over its values. Of trials
    at one place of the map the one with the smallest error is on top.
    """
    errors = np.asarray(errors, dtype="float64")
    if not errors.size or not values:
        raise ValueError(
            "`errors` and `values` must be of one trial and one flag at least. "
            f"Received: {errors.size} errors, values={values!r}"
        )
    has_map = {"beta", "delta"} <= values.keys()
    panels = len(values) + has_map
    columns = min(2, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(4.4 * columns, 3.4 * rows), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in every[panels:]:
        axes.remove()
    if has_map:
        _draw_map(figure, every[0], values, errors, chosen)
    for axes, (name, numbers) in zip(
        every[has_map:panels], values.items(), strict=True
    ):
        axes.scatter(numbers, errors, s=36, color=COLORS[0], alpha=0.75, linewidth=0)
        _ring(axes, numbers[chosen], errors[chosen])
        if name in log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name)
        axes.set_ylabel("error, %")
        axes.margins(0.1)
        _without_frame(axes)
    figure.suptitle(label, fontsize="medium")
    return figure


def _draw_map(figure, axes, values, errors, chosen):
    # The smallest last, so that it lies on top.
    order = np.argsort(-errors, kind="stable")
    beta, delta = (np.asarray(values[name], "float64") for name in ("beta", "delta"))
    dots = axes.scatter(
        beta[order], delta[order], c=errors[order], s=70, cmap="cividis_r", zorder=2
    )
    _ring(axes, beta[chosen], delta[chosen])
    smallest: dict[tuple[float, float], float] = {}
    for x, y, error in zip(beta[order], delta[order], errors[order], strict=True):
        smallest[x, y] = error
    if len(smallest) <= _MOST_LABELLED_DOTS:
        for place, error in smallest.items():
            axes.annotate(
                f"{error:.1f}",
                place,
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
                fontsize="x-small",
            )
    axes.set_xlabel("beta")
    axes.set_ylabel("delta")
    axes.margins(0.12)
    _without_frame(axes)
    bar = figure.colorbar(dots, ax=axes, shrink=0.85)
    bar.set_label("error, %")
    bar.outline.set_edgecolor(_GREY)


def _ring(axes, x, y):
    style: dict[str, Any] = {"facecolor": "none", "edgecolor": COLORS[5]}
    axes.scatter([x], [y], s=150, linewidth=1.8, zorder=3, **style)


def image_strip(images, height=96, gap=6):
    """Puts images side by side, larger and with their pixels kept square."""
    images = np.asarray(images)
    factor = max(1, height // images.shape[1])
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    large = np.broadcast_to(large[..., :3], (*large.shape[:3], 3))
    opaque = np.full((*large.shape[:3], 1), 255, dtype="uint8")
    large = np.concatenate([large, opaque], axis=-1)
    padded = np.pad(large, ((0, 0), (0, 0), (0, gap), (0, 0)))
    return np.concatenate(list(padded), axis=1)[:, :-gap]


def _draw_bars(axes, errors, labels):
    width = 0.8 / len(errors)
    for number, (values, label) in enumerate(zip(errors, labels, strict=True)):
        offset = (number - (len(errors) - 1) / 2) * width
        positions = np.arange(len(values)) + offset
        axes.bar(positions, values, width=width, color=COLORS[number], label=label)


def _draw_dots(axes, errors, labels):
    for values, label, color in zip(errors, labels, COLORS, strict=False):
        positions = np.arange(len(values))
        axes.plot(positions, values, "o", color=color, markersize=2.5, alpha=0.55)
        # Means over fewer classes at both ends would wag.
        windows = np.lib.stride_tricks.sliding_window_view(values, _CLASSES_OF_A_MEAN)
        centers = positions[: len(windows)] + (_CLASSES_OF_A_MEAN - 1) / 2
        seen = np.count_nonzero(~np.isnan(windows), axis=1)
        means = np.nansum(windows, axis=1) / np.where(seen, seen, np.nan)
        axes.plot(centers, means, color=color, linewidth=2, label=label)


def _draw_marks(panels, marks, last_epoch):
    """Draws the marks into both panels; returns what the legend shows."""
    handles = []
    drop_styles = itertools.cycle([(0, (1, 1.5)), (0, (5, 2)), (0, (5, 2, 1, 2))])
    for mark in marks:
        if mark.epoch > last_epoch:
            continue
        begins = mark.epoch - 0.5
        if mark.is_deferred:
            style = {"color": _GREY, "alpha": 0.22, "linewidth": 0, "label": mark.label}
            drawn = [axes.axvspan(begins, last_epoch + 0.5, **style) for axes in panels]
        else:
            style = {"color": _GREY, "linewidth": 1.4, "label": mark.label}
            style["linestyle"] = next(drop_styles)
            drawn = [axes.axvline(begins, **style) for axes in panels]
        handles.append(drawn[0])
    return handles


def _shot_groups(class_counts):
    for group in SHOT_GROUPS:
        yield group, shot_group(class_counts, group)


def _show_shot_groups(axes, class_counts):
    """Shades every second stretch of classes of one group and names them all."""
    groups = {name: classes for name, classes in _shot_groups(class_counts)}
    of_class = [
        next(name for name, classes in groups.items() if classes[index])
        for index in range(len(class_counts))
    ]
    begin = 0
    for number, (name, members) in enumerate(itertools.groupby(of_class)):
        size = len(list(members))
        if number % 2:
            span = begin - 0.5, begin + size - 0.5
            axes.axvspan(*span, color=_GREY, alpha=0.18, linewidth=0, zorder=0)
        if size >= 0.08 * len(class_counts):
            axes.text(
                begin + (size - 1) / 2,
                1.04,
                f"{name}-shot",
                transform=axes.get_xaxis_transform(),
                ha="center",
                fontsize="small",
            )
        begin += size


def _name_classes(axes, names):
    if len(names) <= _MOST_NAMED_CLASSES:
        is_long = max(map(len, names)) > 3
        turned = {"rotation": 30, "ha": "right"} if is_long else {}
        axes.set_xticks(np.arange(len(names)), _short(names), **turned)
    else:
        axes.set_xlabel("class, by number of training images")


def _short(names):
    return [
        name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        for name in names
    ]


def _numbers(values):
    return np.array([np.nan if value is None else value for value in values], "float64")


def _without_frame(axes):
    axes.spines[["top", "right"]].set_visible(False)
