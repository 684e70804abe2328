"""Pictures of results."""

import numpy as np
from matplotlib.figure import Figure

from mm_tf.experiments.methods import METHODS

# Okabe and Ito's colours, which colour-blind people can tell apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

# With more classes than this their names would not fit side by side.
_MOST_NAMED_CLASSES = 20


def per_class_error_figure(results):
    """Draws each class's test error beside its number of training images.

    Args:
        results: `RunResult`s of one setting, at most six.

    Returns:
        A `matplotlib.figure.Figure`; its `savefig(path)` writes it.

    Raises:
        ValueError: There are none, more than six, or of several settings.

    Source: as Figs. 1 and 3 of Kang, Vu, Yoo 2021.
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
    names, counts = results[0].class_names, results[0].class_counts
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    positions = np.arange(len(names))
    top.bar(positions, counts, color="#999999", width=0.8)
    top.set_yscale("log")
    top.set_ylabel("training\nimages")
    width = 0.8 / len(results)
    for number, (result, color) in enumerate(zip(results, COLORS, strict=False)):
        errors = [np.nan if e is None else e for e in result.per_class_error]
        offset = (number - (len(results) - 1) / 2) * width
        title = METHODS[result.method].title
        label = f"{title} (mean {result.balanced_error:.1f} %)"
        bottom.bar(positions + offset, errors, width=width, color=color, label=label)
    bottom.set_ylim(0, 100)
    bottom.set_ylabel("test error in %")
    if len(names) <= _MOST_NAMED_CLASSES:
        bottom.set_xticks(positions, names, rotation=30, ha="right")
    else:
        bottom.set_xlabel("class, by number of training images")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(3, len(results)), frameon=False)
    one = results[0]
    epochs = ", ".join(sorted({f"{result.epochs} epochs" for result in results}))
    seeds = ", ".join(sorted({f"seed {result.seed}" for result in results}))
    figure.suptitle(f"{one.setting}, {epochs}, {seeds}", fontsize="medium")
    return figure
