"""Wrong calls of every public part: refused before any work, by the argument's name.

Those of `mm_tf.data` are in `data/test_bad_arguments.py`.
"""

import fractions
import json
from functools import partial

import keras
import numpy as np
import pytest
from helpers import check_refuses

from mm_tf import (
    backbones,
    calibration,
    callbacks,
    checkpoints,
    class_weights,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    pretraining,
)
from mm_tf import data as mm_data
from mm_tf.experiments.run import RunConfig

NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**400

LABELS, OUTPUTS = [0, 1], np.array([[0.1, 0.2], [0.3, -0.4]], "float32")
BATCH = dict(y_true=LABELS, y_pred=OUTPUTS)
IMAGES = np.zeros((2, 2, 2, 1), "uint8")
FOCAL = losses.Focal()


def generator():
    return (number for number in (1, 2))


def accuracy(y_true=LABELS, y_pred=OUTPUTS, **arguments):
    metric = metrics.BalancedAccuracy(2)
    metric.update_state(y_true, y_pred, **arguments)
    return metric.result()


def dense(input_shape):
    return layers.NormalizedDense(3)(np.ones(input_shape, "float32"))


def crop(shape):
    return layers.RandomPaddedCrop()(np.ones(shape), training=True)


def symbolic_crop(input_shape):
    return layers.RandomPaddedCrop()(keras.Input(input_shape))


def symbolic_shortcut(input_shape):
    return layers.PaddedShortcut(4)(keras.Input(input_shape))


plain = partial(FOCAL, **BATCH)
weighted = partial(losses.ClassWeighted(FOCAL, 2), **BATCH)
weigh = partial(losses.ClassWeighted, loss=FOCAL, num_classes=2)
error_of = partial(metrics.per_class_error, num_classes=2)
resnet = partial(models.resnet_cifar, num_classes=10, depth=8)
flat = keras.Sequential([keras.Input([6, 6, 1]), keras.layers.Flatten()])
ldam = partial(losses.LDAM, [5, 3])
maximum_margin = partial(losses.maximum_margin, **BATCH)
focal = partial(losses.focal, **BATCH)
with_head = partial(models.with_cosine_head, backbone=flat, num_classes=3)
schedule = partial(callbacks.WarmUpStepDecay, learning_rate=0.1)
evaluate = partial(callbacks.TestError, IMAGES, LABELS, class_counts=[5, 3])
reweight = partial(callbacks.DeferredReweighting, class_weights=[1, 2])
few_shot = partial(metrics.ShotAccuracy([500, 50, 5], "few").update_state, LABELS)
mean_error = partial(metrics.mean_error, errors=[50.0, 60.0])
pretrain = partial(pretraining.pretrain_rotation, None, images=IMAGES)
checkpoints_every = partial(checkpoints.Checkpoints, "nowhere")
temperature = partial(calibration.fit_temperature, labels=[0])
likelihood = partial(calibration.negative_log_likelihood, labels=[0])
calibration_error = partial(calibration.expected_calibration_error, [[1, 0]], [0])
prior = partial(calibration.prior_adjustment, from_prior=[1, 1], to_prior=[1, 1])

# A call, one of its arguments, and values that it must refuse.
WRONG = [
    (losses.MaximumMargin, "delta", HUGE, 1j, -0.1),
    (losses.MaximumMargin, "beta", np.array([1.5]), -1, NAN),
    (losses.MaximumMargin, "scale", 0, -10, "10", True),
    (losses.MaximumMargin, "max_class_margin", -1),
    (losses.MaximumMargin, "class_counts", ["500", "5"], [5], [5, 2.5], [[5, 2]]),
    (losses.LDAM, "class_counts", [True, True], generator(), [HUGE, 5], None),
    (ldam, "scale", -1),
    (ldam, "max_margin", -1),
    (losses.Hinge, "class_counts", b"53", [5, 0]),
    (losses.Hinge, "margin", -1),
    (losses.Hinge, "scale", 0),
    (losses.UniformMargin, "margin", -1),
    (losses.UniformMargin, "scale", INFINITY),
    (losses.UniformMargin, "dtype", "int32"),
    (losses.Focal, "gamma", -1),
    (losses.Focal, "scale", 0),
    (losses.Focal, "dtype", "float33"),
    (losses.label_distribution_margins, "class_counts", [[5], [3, 2]]),
    (class_weights.inverse_frequency, "class_counts", [5, NAN], [5], "ab", None),
    (class_weights.effective_number, "class_counts", [], [5, -1], [5, 1.5]),
    (partial(class_weights.effective_number, [5, 3]), "beta", True, -0.1, 1),
    (partial(losses.ldam, **BATCH), "class_margins", None, [[0.1], [0.2]]),
    (maximum_margin, "class_margins", [NAN, 0.1]),
    (maximum_margin, "scale", -10.0),
    (maximum_margin, "beta", -1.0),
    (maximum_margin, "y_pred", np.array([[1j, 0]])),
    (partial(losses.hinge, **BATCH), "class_margins", INFINITY, True),
    (focal, "y_true", [0, 10**30]),
    (focal, "y_pred", [[0.1, 0.2], [0.3]]),
    (plain, "y_true", None, b"01", ["\ud800", "b"], [0, NAN], 0),
    (plain, "y_pred", None, [["0.1", "0.2"], ["0.3", "0.4"]]),
    (plain, "sample_weight", [1.0, 2.0, 3.0]),
    (weighted, "y_true", generator(), [0, INFINITY], [0, 1, 1]),
    (weighted, "y_pred", 0.5),
    (weighted, "sample_weight", OUTPUTS, ["1", "2"]),
    (weigh, "loss", losses.Focal, weigh(), "focal", None),
    (weigh, "num_classes", 2.0, 1),
    (weigh, "class_weights", ["1", "2"], [True, False], [HUGE, 1], [1, 2, 3], [0, 0]),
    (weigh().set_class_weights, "class_weights", [1e39, 1], [1, NAN]),
    (layers.NormalizedDense, "units", np.array([3]), 0, -1, 2.5, "10", True),
    (partial(layers.NormalizedDense, 3), "kernel_initializer", "kaiming"),
    (dense, "input_shape", (), (2, 0)),
    (layers.RandomPaddedCrop, "padding", -1, 1.5, None),
    (layers.RandomPaddedCrop, "seed", True, 2**32),
    (layers.RandomHorizontalFlip, "seed", -1, 1.5),
    (layers.Cutout, "size", -1, 1.5),
    (layers.Cutout, "color", NAN, "black", [[0.5]]),
    (crop, "shape", (2, 2, 1)),
    (lambda shape: layers.PaddedShortcut(4)(np.zeros(shape)), "shape", (2, 3)),
    (symbolic_crop, "input_shape", [None, None, 3]),
    (symbolic_shortcut, "input_shape", [8, 8, None]),
    (resnet, "num_classes", "10", 1),
    (resnet, "depth", True, 2, 33),
    (resnet, "head", {"linear"}, "cosine"),
    (resnet, "input_shape", None, (True, 8, 3), (32, 32), (None, None, 3)),
    (resnet, "preprocess", "no"),
    (resnet, "horizontal_flip", 1),
    (resnet, "mean", NAN, "0.5", [None] * 3, (0.5, 0.5)),
    (resnet, "crop_padding", 1.5, -1),
    (resnet, "seed", -1),
    (partial(resnet, preprocess=False), "std", -1, 0.0),
    (with_head, "backbone", None),
    (with_head, "num_classes", 1),
    (with_head, "head", "cosine"),
    (with_head, "scaling", "torch"),
    (with_head, "crop_padding", -1),
    (partial(backbones.scale, keras.Input((4, 4, 3))), "scaling", "TF"),
    (optimizers.SGD, "learning_rate", NAN, -0.1, "0.1"),
    (optimizers.SGD, "momentum", NAN, None, 1.5),
    (optimizers.SGD, "nesterov", "no"),
    (optimizers.SGD, "l2", INFINITY, -1, "a lot"),
    (optimizers.SGD, "weight_decay", 1e-4),
    (callbacks.Throughput, "images_per_epoch", 0),
    (callbacks.FrozenBackbone, "epochs", -1),
    (schedule, "learning_rate", "0.1", 0),
    (schedule, "warmup_epochs", -1),
    (schedule, "drops", [(5, 0.1), (3, 0.01)], [8], 8, [(5, -1.0)]),
    (evaluate, "batch_size", 0),
    (evaluate, "class_counts", [5]),
    (reweight, "start_epoch", "160", -1, 1.5, None),
    (reweight, "class_weights", ["1", "2"], [1, -1], [0, 0], "heavy", [[1.0]]),
    (metrics.BalancedAccuracy, "num_classes", None),
    (accuracy, "y_true", [-1, 1], [0.5, 1], [0], np.ones((2, 3))),
    (accuracy, "y_pred", [0.0, 1.0]),
    (accuracy, "sample_weight", [1.0]),
    (few_shot, "y_pred", OUTPUTS),
    (partial(metrics.shot_group, [500, 5]), "group", ["many"], "several"),
    (partial(error_of, LABELS), "predictions", [0], [0, 2]),
    (partial(error_of, predictions=LABELS), "labels", [[0], [1]], []),
    (mean_error, "errors", "50"),
    (mean_error, "classes", [0, 1]),
    (pretrain, "epochs", 2.0, 0),
    (pretrain, "batch_size", 0),
    (pretrain, "learning_rate", 0.0),
    (pretrain, "images", "images", np.zeros((2, 8, 6, 1)), np.zeros((2, 8, 8))),
    (checkpoints_every, "minutes", 0, -1, "2", NAN, True),
    (partial(calibration.fit_temperature, [[1, 0]]), "labels", [2], [0, 1]),
    (temperature, "logits", [[NAN, 0]], []),
    (likelihood, "probabilities", [[2.0, -1]]),
    (calibration_error, "bins", 0),
    (prior, "from_prior", [1, 0]),
    (prior, "to_prior", [1, 1, 1]),
    (RunConfig, "epochs", 10.0),
    (RunConfig, "batch_size", True),
    (RunConfig, "imbalance_ratio", np.array([10.0])),
    (RunConfig, "method", np.array(["mm", "erm"])),
    (RunConfig, "seed", 2**32),
    (RunConfig, "first_stage", ""),
    (RunConfig, "data_dir", "a\n--epochs=1"),
    (RunConfig, "output_dir", "a\0b", "\udcff"),
]


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row[1])
def test_wrong_calls_are_refused(row):
    check_refuses(*row)


@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.MaximumMargin(fractions.Fraction(3, 5), np.float32(1.5)),
        lambda: losses.LDAM([500.0, 5.0]),
        lambda: losses.LDAM(np.array([500, 5], "uint16")),
        lambda: losses.Hinge(class_counts=(500, np.int64(5))),
        lambda: losses.ClassWeighted(losses.Focal(), np.int64(2), (1, 2.5)),
        lambda: layers.NormalizedDense(np.int32(3)),
        lambda: layers.RandomPaddedCrop(np.int64(4), seed=np.int32(1)),
        lambda: resnet(input_shape=np.array([8, 8, 1]), mean=[0.5], seed=np.int64(1)),
        lambda: optimizers.SGD(1, momentum=0, nesterov=np.bool_(False)),
        lambda: optimizers.SGD(np.float32(0.1), l2=fractions.Fraction(1, 5000)),
        lambda: optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10)),
        lambda: metrics.ShotAccuracy(np.array([500.0, 5.0]), "few"),
    ],
)
def test_numbers_of_every_kind_are_taken_and_can_be_saved(make):
    part = make()
    saved = json.dumps(part.get_config())
    again = type(part).from_config(json.loads(saved))
    assert json.dumps(again.get_config()) == saved


@pytest.mark.parametrize(
    ("unusual", "usual"),
    [
        (lambda: FOCAL([0.0, 1.0], OUTPUTS.tolist()), plain),
        (lambda: plain(sample_weight=0.5), lambda: 0.5 * plain()),
        # The mean is weighted, so that one weight for all changes nothing.
        (lambda: weighted(sample_weight=2), weighted),
        (
            lambda: weighted(y_true=[[0], [1]], sample_weight=[[1], [2]]),
            lambda: weighted(sample_weight=[1.0, 2.0]),
        ),
        (
            lambda: accuracy(
                [0.0, 1.0], OUTPUTS.astype("float16"), sample_weight=(1, 0)
            ),
            lambda: accuracy([0], OUTPUTS[:1]),
        ),
        (lambda: error_of([0.0, 1.0], np.array([1, 0], "uint8")), lambda: [100, 100]),
        (
            lambda: class_weights.effective_number([1e300, 5], beta=0),
            lambda: [1.0, 1.0],
        ),
        (
            lambda: mm_data.long_tailed_counts(
                np.int32(500), np.int64(10), np.float32(10)
            ),
            lambda: mm_data.long_tailed_counts(500, 10, 10),
        ),
        (
            lambda: mm_data.EpochOrder(
                np.array(LABELS, "uint8"), np.int64(2), 2**100
            ).order(1),
            lambda: mm_data.EpochOrder(LABELS, 2, 2**100).order(1),
        ),
        (
            lambda: RunConfig(
                epochs=np.int64(9), imbalance_ratio=10, beta=np.float64(1)
            ),
            lambda: RunConfig(epochs=9, imbalance_ratio=10.0, beta=1.0),
        ),
    ],
)
def test_calls_that_look_wrong_and_are_not(unusual, usual):
    np.testing.assert_array_equal(np.asarray(unusual()), np.asarray(usual()))
