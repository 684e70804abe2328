"""The figure of a hyper-parameter search: errors over what was searched."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from mm_tf.experiments.reports.figures import COLORS, add_colorbar, remove_frame

# The errors beside more dots would hide each other.
_MOST_LABELLED_DOTS = 40


def search_figure(values, errors, label, log=(), chosen=0):
    """Draws the errors of a search's trials over each flag's values.

    If beta and delta were searched, a map of the two comes first, with the errors
    written beside its dots; of trials at one place the smallest error is on top.
    `values` is {flag: its values in the trials}, `log` has the flags with a
    logarithmic axis, `chosen` is the number of the trial to mark.
    """
    errors = np.asarray(errors, dtype="float64")
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
        _mark(axes, numbers[chosen], errors[chosen])
        if name in log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name)
        axes.set_ylabel("error, %")
        axes.margins(0.1)
        remove_frame(axes)
    figure.suptitle(label, fontsize="medium")
    return figure


def _draw_map(figure, axes, values, errors, chosen):
    # The smallest error last, so that it lies on top.
    order = np.argsort(-errors, kind="stable")
    beta, delta = (np.asarray(values[name], "float64") for name in ("beta", "delta"))
    dots = axes.scatter(
        beta[order], delta[order], c=errors[order], s=70, cmap="cividis_r", zorder=2
    )
    _mark(axes, beta[chosen], delta[chosen])
    smallest = {(beta[trial], delta[trial]): errors[trial] for trial in order}
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
    remove_frame(axes)
    add_colorbar(figure, axes, dots, "error, %")


def _mark(axes, x, y):
    axes.scatter(
        x, y, s=150, linewidth=1.8, zorder=3, facecolor="none", edgecolor=COLORS[5]
    )
