"""Measures what lies before the head: the README's example and relatives of it.

    python benchmarks/results/before_the_head/measure.py

Each row of `ROWS` is a small network on long-tailed digits, trained five times; its
balanced test errors are written beside this file, into `errors.json`. It takes some
minutes on two CPU cores.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable

import keras

import mm_tf
from mm_tf import _files, data
from mm_tf.experiments.machine import environment

OUTPUT = pathlib.Path(__file__).with_name("errors.json")
SEEDS = range(5)
RATIO = 20


@dataclasses.dataclass(frozen=True)
class Row:
    """A network and how it is trained.

    Attributes:
        hidden: Makes the layers before the head, behind the flat pixels.
        optimizer: Makes the optimizer.
        epochs: Of training; deferred weights begin in the last fifth.
        method: `"mm_ldam_drw"`, `"cross-entropy"` or `"class_weight"`, that is,
            cross-entropy with the class weights of `fit`.
        n_max: Training images of the largest class. 124 leave a last batch of one
            image, 120 one of 21.
    """

    hidden: Callable
    optimizer: Callable
    epochs: int
    method: str = "mm_ldam_drw"
    n_max: int = 120


def _relu():
    return [keras.layers.Dense(64, activation="relu")]


def _linear():
    return [keras.layers.Dense(64)]


def _normalized():
    return [
        keras.layers.Dense(64),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
    ]


def _sgd():
    return mm_tf.optimizers.SGD(0.1, momentum=0.9, l2=2e-4)


ROWS = {
    "ReLU": Row(_relu, _sgd, 30, n_max=124),
    "no activation": Row(_linear, _sgd, 30, n_max=124),
    "batch normalization and ReLU": Row(_normalized, _sgd, 30),
    "Adam, cross-entropy": Row(_relu, keras.optimizers.Adam, 100, "cross-entropy"),
    "Adam, class_weight": Row(_relu, keras.optimizers.Adam, 100, "class_weight"),
    "Adam, MM-LDAM-DRW": Row(_relu, keras.optimizers.Adam, 100),
}


def balanced_error(row, seed):
    """Trains a row's network once and returns its balanced test error in %."""
    keras.utils.set_random_seed(seed)
    counts = data.long_tailed_counts(row.n_max, num_classes=10, ratio=RATIO)
    digits = data.imbalanced(data.load("digits"), counts, seed=0)
    weights = mm_tf.class_weights.effective_number(counts)
    has_margin = row.method == "mm_ldam_drw"
    head = mm_tf.layers.NormalizedDense if has_margin else keras.layers.Dense
    model = keras.Sequential(
        [
            keras.Input([8, 8, 1]),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            *row.hidden(),
            head(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if has_margin:
        margin = mm_tf.losses.MaximumMargin(class_counts=counts)
        loss = mm_tf.losses.ClassWeighted(margin, num_classes=10)
    deferred = mm_tf.callbacks.DeferredReweighting(weights, row.epochs * 4 // 5)
    model.compile(row.optimizer(), loss)
    model.fit(
        digits.train_images,
        digits.train_labels,
        epochs=row.epochs,
        batch_size=32,
        class_weight=(
            dict(enumerate(weights)) if row.method == "class_weight" else None
        ),
        callbacks=[deferred] if has_margin else [],
        verbose=0,
    )
    guesses = model.predict(digits.test_images, verbose=0).argmax(-1)
    errors = mm_tf.metrics.per_class_error(digits.test_labels, guesses, 10)
    return round(float(errors.mean()), 2)


def main():
    """The command."""
    errors = {}
    for name, row in ROWS.items():
        errors[name] = [balanced_error(row, seed) for seed in SEEDS]
        print(f"{name}: {', '.join(map(str, errors[name]))}", flush=True)
    found = {"balanced_errors": errors, "versions": environment.versions()}
    with _files.whole_file(OUTPUT) as unfinished:
        unfinished.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
