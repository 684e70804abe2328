"""Draws the decision boundaries of three losses on two imbalanced classes.

    python examples/decision_boundary.py --output=decision_boundary.png

The paper's Fig. 2 sketches where a boundary should lie; this draws where it lies in
real runs in two dimensions. Two classes are Gaussian clouds of the same shape, one
with 500 training points and one with 25. A small network is trained on them with
cross-entropy, LDAM and maximum margin, each through plain `model.fit`; the two
margin losses have the cosine head. What is printed is each one's error on a large
balanced test sample, where each class counts the same, beside the smallest error
that any boundary can have there: that of the dashed line, halfway between the
clouds.

One draw of the points and one seed of the network say little about which loss is
better: see what other seeds give (--seed).
"""

import argparse
import os
import pathlib
import sys

# Before Keras is imported: TensorFlow's start-up messages would drown the errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

COUNTS = (500, 25)
CENTERS = ((-1.0, 0.0), (1.0, 0.0))
SPREAD = 0.9
COLORS = ("#0072B2", "#D55E00")  # Colour-blind people can tell them apart.


def sample(counts, rng):
    """Draws points of both classes.

    Args:
        counts: How many of each class.
        rng: A `numpy.random.Generator`.

    Returns:
        Points, float32 [N, 2], and their classes, int64 [N].
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    points = np.asarray(CENTERS)[labels] + SPREAD * rng.normal(size=(len(labels), 2))
    return points.astype("float32"), labels


def balanced_error(labels, predictions):
    """Returns the mean of the two classes' errors in %."""
    errors = [np.mean(predictions[labels == k] != k) for k in range(len(CENTERS))]
    return 100 * float(np.mean(errors))


def train(method, points, labels, epochs, seed):
    """Trains a small network through plain `model.fit`.

    Args:
        method: `"cross-entropy"`, `"LDAM"` or `"MM"`.
        points: Training points, [N, 2].
        labels: Their classes, [N].
        epochs: Epochs of training.
        seed: Of the initial weights and the order of the points.

    Returns:
        The trained model.
    """
    import keras

    import mm_tf

    keras.utils.set_random_seed(seed)
    counts = np.bincount(labels)
    # The paper's s for both margin losses, so that margins alone tell them apart.
    loss = {
        "cross-entropy": lambda: keras.losses.SparseCategoricalCrossentropy(
            from_logits=True
        ),
        "LDAM": lambda: mm_tf.losses.LDAM(counts, max_margin=0.5, scale=10.0),
        "MM": lambda: mm_tf.losses.MaximumMargin(delta=0.6, beta=1.5, scale=10.0),
    }[method]()
    has_cosines = method != "cross-entropy"
    head = mm_tf.layers.NormalizedDense if has_cosines else keras.layers.Dense
    model = keras.Sequential(
        [
            keras.Input([2]),
            keras.layers.Dense(32, activation="relu"),
            # No ReLU before the cosines: features may point anywhere.
            keras.layers.Dense(8),
            head(len(counts)),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), loss)
    model.fit(points, labels, epochs=epochs, batch_size=64, verbose=0)
    return model


def draw(models, errors, smallest_error, points, labels):
    """Draws each model's boundary among the training points.

    Args:
        models: {method: model}.
        errors: {method: balanced error in %}.
        smallest_error: The smallest balanced error that there can be, in %.
        points: Training points, [N, 2].
        labels: Their classes, [N].

    Returns:
        A `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    across, up = np.meshgrid(np.linspace(-4, 4, 201), np.linspace(-3, 3, 151))
    grid = np.stack([across.ravel(), up.ravel()], axis=-1).astype("float32")
    figure = Figure(figsize=(10, 3.7), layout="constrained")
    panels = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (method, model) in zip(panels, models.items(), strict=True):
        scores = model.predict(grid, batch_size=4096, verbose=0)
        lead = (scores[:, 1] - scores[:, 0]).reshape(across.shape)
        axes.contourf(
            across, up, lead, levels=[-np.inf, 0, np.inf], colors=COLORS, alpha=0.15
        )
        axes.contour(across, up, lead, levels=[0], colors="black", linewidths=2)
        axes.axvline(0, color="#666666", linestyle="--", linewidth=1.2)
        for label, color, marker in zip((0, 1), COLORS, "os", strict=True):
            x, y = points[labels == label].T
            axes.scatter(x, y, s=9 + 9 * label, c=color, marker=marker, linewidths=0)
        axes.set_title(f"{method}: {errors[method]:.1f} %")
        axes.set_xlim(-4, 4)
        axes.set_ylim(-3, 3)
        axes.set_aspect("equal")
    counts = np.bincount(labels)
    clouds = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=f"{n} points")
        for color, marker, n in zip(COLORS, "os", counts, strict=True)
    ]
    lines = [
        Line2D([], [], color="black", linewidth=2, label="boundary"),
        Line2D(
            [],
            [],
            color="#666666",
            linestyle="--",
            label=f"balanced optimum: {smallest_error:.1f} %",
        ),
    ]
    figure.legend(
        handles=clouds + lines, loc="outside lower center", ncols=4, frameon=False
    )
    figure.suptitle("Balanced test error and decision boundary", fontsize="medium")
    return figure


def main(arguments=None):
    """The command.

    Args:
        arguments: What stands behind the command's name; by default what it was
            called with.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="the PNG to write")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the points and the networks"
    )
    parser.add_argument("--epochs", type=int, default=30, help="of training")
    parser.add_argument(
        "--test_points", type=int, default=50_000, help="test points of each class"
    )
    given = parser.parse_args(arguments)
    for name, low in (("seed", 0), ("epochs", 1), ("test_points", 1)):
        if getattr(given, name) < low:
            parser.error(f"--{name} must be >= {low}. Received: {getattr(given, name)}")
    output = pathlib.Path(given.output).expanduser()
    if output.suffix != ".png" or not output.resolve().parent.is_dir():
        parser.error(
            "--output must be a .png file in a folder that there is. "
            f"Received: {given.output}"
        )
    rng = np.random.default_rng(given.seed)
    points, labels = sample(COUNTS, rng)
    test_points, test_labels = sample((given.test_points,) * 2, rng)
    # The clouds have the same shape, so halfway between them is the optimum.
    smallest = balanced_error(test_labels, (test_points[:, 0] > 0).astype(int))
    models, errors = {}, {}
    print(f"Balanced error on {len(test_labels):,} test points, seed {given.seed}:")
    for method in ("cross-entropy", "LDAM", "MM"):
        models[method] = train(method, points, labels, given.epochs, given.seed)
        scores = models[method].predict(test_points, batch_size=4096, verbose=0)
        errors[method] = balanced_error(test_labels, scores.argmax(axis=-1))
        print(f"  {method:16} {errors[method]:5.2f} %", flush=True)
    print(f"  {'optimum':16} {smallest:5.2f} %")
    figure = draw(models, errors, smallest, points, labels)
    incomplete = output.with_name(output.name + ".incomplete")
    try:
        figure.savefig(incomplete, dpi=150, format="png")
        os.replace(incomplete, output)
    except OSError as error:
        parser.error(f"--output cannot be written ({error}). Received: {given.output}")
    print(f"Written: {output}")


if __name__ == "__main__":
    sys.exit(main())
