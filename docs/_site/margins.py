"""Draws what each loss does to an example: the pictures of docs/losses.md.

    python docs/_site/margins.py

They are drawn with the losses of mm_tf, not with formulas of their own.
"""

import argparse
import pathlib
import sys

import numpy as np

DOCS = pathlib.Path(__file__).parents[1]
# An example of ten classes: its strongest rival, and the other eight.
RIVAL, OTHERS, CLASSES = 0.3, 0.0, 10
# One s for all, so that margins alone tell the losses apart.
SCALE = 10.0
COMMON, RARE = 5000, 50
# Of the paper's CIFAR-10-LT, imbalance ratio 100.
LONG_TAIL = dict(n_max=COMMON, num_classes=CLASSES, ratio=COMMON / RARE)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
GREY = "#666666"


def cosines(target):
    """Returns cosines [N, K] of examples of class 0 whose own are `target`, [N]."""
    outputs = np.full((len(target), CLASSES), OTHERS, "float32")
    outputs[:, 0], outputs[:, 1] = target, RIVAL
    return outputs


def curves():
    """Returns {name of the picture: [(label, losses of `cosines`)]}."""
    from mm_tf import losses

    counts = {
        f"class of {count:,} images": [count] + (CLASSES - 1) * [other]
        for count, other in ((COMMON, RARE), (RARE, COMMON))
    }
    by_class = {
        "ldam": lambda counts: losses.LDAM(counts, scale=SCALE),
        "hinge_by_class": lambda counts: losses.Hinge(class_counts=counts, scale=SCALE),
        "maximum_margin_by_class": lambda counts: losses.MaximumMargin(
            class_counts=counts, scale=SCALE
        ),
    }
    return {
        "cross_entropy": [
            (f"s = {scale:g}", losses.UniformMargin(margin=0.0, scale=scale))
            for scale in (1.0, 5.0, 20.0)
        ],
        "focal": [
            (f"focal, exponent {gamma:g}", losses.Focal(gamma=gamma, scale=SCALE))
            for gamma in (1.0, 2.0)
        ],
        "uniform_margin": [
            (f"margin {margin:g}", losses.UniformMargin(margin=margin, scale=SCALE))
            for margin in (0.25, 0.5)
        ],
        "hinge": [
            (f"hinge, margin {margin:g}", losses.Hinge(margin=margin, scale=SCALE))
            for margin in (0.0, 0.5)
        ],
        "maximum_margin": [
            (
                f"maximum margin, δ = {delta:g}",
                losses.MaximumMargin(delta=delta, scale=SCALE),
            )
            for delta in (0.6, 1.2)
        ],
        **{
            name: [(label, make(values)) for label, values in counts.items()]
            for name, make in by_class.items()
        },
        "class_weighted": [
            (f"class of {count:,} images", weighted(count)) for count in (COMMON, RARE)
        ],
    }


def weighted(count):
    """Returns cross-entropy with the weights of a step imbalance.

    Args:
        count: Images of the first half of the classes, `COMMON` or `RARE`; those of
            the other half are the other one.
    """
    from mm_tf import class_weights, losses

    half = CLASSES // 2
    counts = [count] * half + [COMMON + RARE - count] * half
    return losses.ClassWeighted(
        losses.UniformMargin(margin=0.0, scale=SCALE),
        CLASSES,
        class_weights.effective_number(counts),
    )


def values_of(loss, target):
    """Returns the losses [N] of examples whose own cosine is `target`, [N]."""
    labels = np.zeros(len(target), "int32")
    # With `reduction`, as the weights of classes are of no use to `call`.
    loss.reduction = "none"
    return np.asarray(loss(labels, cosines(target)))


def draw_loss(axes, name):
    """Draws the losses of one picture over the own cosine, beside cross-entropy."""
    from mm_tf import losses

    target = np.linspace(-0.5, 1.0, 601)
    # A margin of 0 is the cross-entropy of scaled cosines.
    plain = losses.UniformMargin(margin=0.0, scale=SCALE)
    axes.plot(
        target,
        values_of(plain, target),
        color=GREY,
        linestyle="--",
        label="cross-entropy",
    )
    for (label, loss), color in zip(curves()[name], COLORS, strict=False):
        axes.plot(target, values_of(loss, target), color=color, label=label)
    axes.axvline(RIVAL, color=GREY, linewidth=0.8, label="strongest rival")
    _finish(axes, "cosine of the own class", "loss")


def draw_delta(axes):
    """Draws the margin of MM over the lead of the own class, for three betas."""
    gap = np.linspace(-1.0, 1.0, 802)
    for beta, color in zip((1.0, 1.5, 2.0), COLORS, strict=False):
        margin = margins_of(gap, beta=beta)
        for side in (gap < 0, gap > 0):
            label = f"β = {beta:g}" if side[0] else None
            axes.plot(gap[side], margin[side], color=color, label=label)
    _finish(axes, "lead of the own class, $z_y - m$", "margin Δ")
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_ylim(0, 0.7)


def margins_of(gap, class_count=None, beta=1.5):
    """Returns MM's margin [N] for leads `gap`, [N], out of the loss itself.

    With two classes L = log(1 + exp(-s (gap - Δ))), so Δ = gap + log(e^L - 1) / s.

    Args:
        gap: The lead of the own class, z_y - m.
        class_count: Images of the own class beside one of `RARE`; None for MM
            without class counts.
        beta: delta plus / delta minus.
    """
    from mm_tf import losses

    counts = None if class_count is None else [class_count, RARE]
    loss = losses.MaximumMargin(beta=beta, class_counts=counts, scale=SCALE)
    outputs = np.stack([gap / 2, -gap / 2], axis=-1)
    values = np.asarray(loss.call(np.zeros(len(gap), "int32"), outputs))
    return gap + np.log(np.expm1(values.astype("float64"))) / SCALE


def draw_by_class(axes):
    """Draws the margins over how many images a class has."""
    from mm_tf import losses

    counts = np.unique(np.geomspace(RARE, COMMON, 60).astype(int))
    gammas = losses.label_distribution_margins(counts, 0.5)
    axes.plot(counts, gammas, color=COLORS[0], label="LDAM: γ")
    for gap, color, side in (
        (-1e-4, COLORS[1], "wrong"),
        (1e-4, COLORS[2], "right"),
    ):
        margin = [margins_of(np.array([gap]), int(count))[0] for count in counts]
        label = f"MM-LDAM at the boundary, {side} side: Δ"
        axes.plot(counts, margin, color=color, label=label)
    axes.set_xscale("log")
    _finish(axes, "training images of the class", "margin")
    axes.set_ylim(0, 1.2)


def draw_weights(axes):
    """Draws the weights of a long tail's classes over how many images they have."""
    from mm_tf import class_weights, data

    counts = data.long_tailed_counts(**LONG_TAIL)
    rows = {
        "1 / n": class_weights.inverse_frequency(counts),
        **{
            f"effective number, β = {beta:g}": class_weights.effective_number(
                counts, beta
            )
            for beta in (0.9999, 0.999)
        },
    }
    for (label, weights), color in zip(rows.items(), COLORS, strict=False):
        axes.plot(counts, weights, color=color, marker="o", markersize=3, label=label)
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    _finish(axes, "training images of the class", "weight")
    axes.set_yscale("log")
    axes.set_ylim(0.03, 6)


def _finish(axes, x_label, y_label):
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small", loc="upper right")


def pictures():
    """Returns {name: function that draws it}."""
    return {
        **{name: lambda axes, name=name: draw_loss(axes, name) for name in curves()},
        "maximum_margin_delta": draw_delta,
        "margins_by_class": draw_by_class,
        "class_weights": draw_weights,
    }


def main(arguments=None):
    """The command."""
    import matplotlib
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default=str(DOCS / "losses"), help="the folder")
    folder = pathlib.Path(parser.parse_args(arguments).output)
    folder.mkdir(exist_ok=True)
    # The same picture gives the same file.
    matplotlib.rcParams["svg.hashsalt"] = "mm_tf"
    for name, draw in pictures().items():
        figure = Figure(figsize=(5.2, 3.2), layout="constrained")
        draw(figure.subplots())
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
