"""Runs on two devices beside the same on one, in double precision; for a test.

    python distributed_runs.py STRATEGY FOLDER METHOD|backbone ...

A process of its own, because a CPU is split into devices before its first use. It
prints, as JSON, the largest difference of the weights for each run: of a method on
digits, or of a backbone that begins with weights from a file and is first frozen.
"""

import json
import pathlib
import sys

import keras
import numpy as np
from made_up_backbone import backbone_run

from mm_tf import losses
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.machine.strategies import distributed
from mm_tf.experiments.run import run
from mm_tf.losses import LDAM, ClassWeighted, MaximumMargin

COUNTS = np.array([50, 20, 5, 1])


DIGITS = dict(
    model="resnet8",
    imbalance_ratio=20,
    # 417 images leave 33 for the last step, which two devices share unevenly.
    batch_size=48,
)


def of_run(kind, folder):
    """The fields of the config of a run."""
    if kind == "backbone":
        # Gradients of drawn weights are large, and rounding (on JAX, of batch
        # normalization in single precision) grows a thousandfold with each step: a
        # single small one, which still moves weights by far more than the tolerance.
        small = dict(batch_size=24, learning_rate=1e-5)
        return backbone_run(folder) | small | dict(frozen_epochs=1)
    return DIGITS | dict(method=kind)


def weights(strategy, folder, kind):
    config = RunConfig(
        **of_run(kind, folder),
        epochs=2,
        warmup_epochs=1,
        strategy=strategy,
        devices=None if strategy == "none" else 2,
        output_dir=str(folder / strategy / kind),
    )
    run(config)
    model = keras.saving.load_model(config.run_folder / "model.keras")
    predictions = np.load(config.run_folder / "predictions.npz")["predictions"]
    return [np.asarray(weight) for weight in model.get_weights()], predictions


def largest_difference(first, second):
    return max(
        float(np.abs(a.astype(float) - b.astype(float)).max())
        for a, b in zip(first, second, strict=True)
    )


def compare_runs(strategy, folder, kinds):
    found = {}
    for kind in kinds:
        two, predicted_by_two = weights(strategy, folder, kind)
        one, predicted_by_one = weights("none", folder, kind)
        found[kind] = {
            "weights": largest_difference(one, two),
            "predictions": int((predicted_by_one != predicted_by_two).sum()),
        }
    return found


def compare_losses():
    """The loss of a weighted batch on replicas, less that of one device."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    cosines = generator.uniform(-1, 1, (7, len(COUNTS)))
    labels = generator.integers(0, len(COUNTS), 7)
    sample_weight = generator.uniform(0.5, 2, 7)
    weighted = {
        "class weights": ClassWeighted(LDAM(COUNTS), 4, 1 / COUNTS),
        "mean": MaximumMargin(class_counts=COUNTS),
        "sum": MaximumMargin(reduction="sum"),
        "weighted mean": losses.Focal(reduction="mean_with_sample_weight"),
    }
    strategy = tf.distribute.get_strategy()
    batches = tf.data.Dataset.from_tensors((labels, cosines, sample_weight))
    (batch,) = strategy.experimental_distribute_dataset(batches)

    def loss_of(name, loss):
        parts = strategy.run(lambda y, z, w: loss(y, z, sample_weight=w), batch)
        return float(strategy.reduce("SUM", parts, axis=None))

    values = {name: loss_of(name, loss) for name, loss in weighted.items()}
    whole = {
        name: float(loss(labels, cosines, sample_weight=sample_weight))
        for name, loss in weighted.items()
    }
    return values, whole


def main(strategy, folder, *kinds):
    keras.config.set_floatx("float64")
    found = {"runs": compare_runs(strategy, pathlib.Path(folder), kinds)}
    if strategy == "mirrored":
        with distributed(strategy, 2) as found["devices"]:
            found["replicas"], found["whole"] = compare_losses()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
