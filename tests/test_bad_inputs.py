"""Wrong calls of every public part: refused before any work, and told by name.

The tests beside each part hold the wrong arguments that are likely; these are the
nasty ones.
"""

import fractions
import json
import re

import keras
import numpy as np
import pytest

from mm_tf import (
    callbacks,
    class_weights,
    data,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    pretraining,
)
from mm_tf.experiments.run import RunConfig

NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**400

OUTPUTS = np.array([[0.1, 0.2], [0.3, -0.4]], "float32")
IMAGES, LABELS = np.zeros((3, 2, 2, 1), "uint8"), np.array([0, 1, 1])
INFO = data.DatasetInfo(
    "mine", 2, (2, 2, 1), 2, (0.5,), (0.5,), 0, False, "A set of three images."
)
ORDER = data.EpochOrder(LABELS, batch_size=2, seed=0)


def generator():
    return (number for number in (1, 2))


def plain_loss(y_true, y_pred, **arguments):
    return losses.Focal()(y_true, y_pred, **arguments)


def weighted_loss(y_true, y_pred, **arguments):
    return losses.ClassWeighted(losses.Focal(), 2)(y_true, y_pred, **arguments)


def accuracy(y_true, y_pred, **arguments):
    metrics.BalancedAccuracy(2).update_state(y_true, y_pred, **arguments)


def resnet(**arguments):
    return models.resnet_cifar(**{"num_classes": 10, "depth": 8, **arguments})


def image_data(**arguments):
    mine = dict(
        info=INFO,
        train_images=IMAGES,
        train_labels=LABELS,
        test_images=IMAGES,
        test_labels=LABELS,
        class_names=("a", "b"),
    )
    return data.ImageData(**{**mine, **arguments})


COUNTS = "`class_counts` must be a list of at least two whole numbers, .* none .* below"
WEIGHTS = "`class_weights` must be 2 finite numbers >= 0, one a class, and not all 0"
TENSOR = "must be an array or a tensor of numbers"
INTEGERS = "must be a one-dimensional array, not empty, of integers >="
FOLDER = "must name a folder, in UTF-8 and on one line"

# Name: (call, expected exception, regular expression of its message).
CASES = {
    # Losses: arguments.
    "delta beyond every float": (
        lambda: losses.MaximumMargin(delta=HUGE),
        ValueError,
        "`delta` must be a finite number >= 0. Received: delta=10{400}$",
    ),
    "complex delta": (
        lambda: losses.MaximumMargin(delta=1j),
        ValueError,
        "`delta` must be a finite number >= 0. Received: delta=1j$",
    ),
    "array for one number": (
        lambda: losses.MaximumMargin(beta=np.array([1.5])),
        ValueError,
        r"`beta` must be a finite number >= 0. Received: beta=array\(\[1.5\]\)$",
    ),
    "counts that are strings": (
        lambda: losses.MaximumMargin(class_counts=["500", "5"]),
        ValueError,
        COUNTS + r".*Received: class_counts=\['500', '5'\]$",
    ),
    "counts that are bools": (
        lambda: losses.LDAM([True, True]),
        ValueError,
        COUNTS + r".*Received: class_counts=\[True, True\]$",
    ),
    "counts that are bytes": (
        lambda: losses.Hinge(class_counts=b"53"),
        ValueError,
        COUNTS + ".*Received: class_counts=b'53'$",
    ),
    "counts from a generator": (
        lambda: losses.LDAM(generator()),
        ValueError,
        COUNTS + ".*Received: class_counts=<generator object .*>$",
    ),
    "count beyond every float": (
        lambda: losses.LDAM([HUGE, 5]),
        ValueError,
        COUNTS + r".*Received: class_counts=\[10{400}, 5\]$",
    ),
    "counts of different depths": (
        lambda: losses.label_distribution_margins([[5], [3, 2]]),
        ValueError,
        COUNTS + r".*Received: class_counts=\[\[5\], \[3, 2\]\]$",
    ),
    "count that is NaN": (
        lambda: class_weights.inverse_frequency([5, NAN]),
        ValueError,
        COUNTS + r".*Received: class_counts=\[5, nan\]$",
    ),
    "no counts": (
        lambda: class_weights.effective_number([]),
        ValueError,
        COUNTS + r".*Received: class_counts=\[\]$",
    ),
    "beta that is a bool": (
        lambda: class_weights.effective_number([5, 3], beta=True),
        ValueError,
        "`beta` must be a finite number >= 0. Received: beta=True$",
    ),
    "dtype without fractions": (
        lambda: losses.UniformMargin(dtype="int32"),
        ValueError,
        "`dtype` must be a floating-point dtype.*Received: dtype='int32'$",
    ),
    "dtype that there is not": (
        lambda: losses.Focal(dtype="float33"),
        ValueError,
        "`dtype` must be a floating-point dtype.*Received: dtype='float33'$",
    ),
    "margins that are None": (
        lambda: losses.ldam([0, 1], OUTPUTS, None),
        ValueError,
        "`class_margins` must hold one finite number for each of the 2 classes.*"
        "Received: class_margins=None$",
    ),
    "margins in a column": (
        lambda: losses.ldam([0, 1], OUTPUTS, [[0.1], [0.2]]),
        ValueError,
        r"`class_margins` must .*Received: class_margins=\[\[0.1\], \[0.2\]\]$",
    ),
    "margin that is NaN": (
        lambda: losses.maximum_margin([0, 1], OUTPUTS, class_margins=[NAN, 0.1]),
        ValueError,
        r"`class_margins` must .*Received: class_margins=\[nan, 0.1\]$",
    ),
    "infinite margin for all": (
        lambda: losses.hinge([0, 1], OUTPUTS, INFINITY),
        ValueError,
        "`class_margins` must .*Received: class_margins=inf$",
    ),
    "margin that is a bool": (
        lambda: losses.hinge([0, 1], OUTPUTS, True),
        ValueError,
        "`class_margins` must .*Received: class_margins=True$",
    ),
    # Losses: what they are called with.
    "labels that are None": (
        lambda: plain_loss(None, OUTPUTS),
        ValueError,
        f"`y_true` {TENSOR}. Received: y_true=None$",
    ),
    "labels from a generator": (
        lambda: weighted_loss(generator(), OUTPUTS),
        ValueError,
        f"`y_true` {TENSOR}. Received: y_true=<generator object .*>$",
    ),
    "labels that are bytes": (
        lambda: plain_loss(b"01", OUTPUTS),
        ValueError,
        f"`y_true` {TENSOR}. Received: y_true=b'01'$",
    ),
    "label that is a surrogate": (
        lambda: plain_loss(["\ud800", "b"], OUTPUTS),
        ValueError,
        rf"`y_true` {TENSOR}. Received: y_true=\['\\ud800', 'b'\]$",
    ),
    "label that is NaN": (
        lambda: plain_loss([0, NAN], OUTPUTS),
        ValueError,
        r"`y_true` must be whole numbers in \[0, 2\).*Received: y_true with nan in it$",
    ),
    "label that is infinite": (
        lambda: weighted_loss([0, INFINITY], OUTPUTS),
        ValueError,
        r"`y_true` must be whole numbers in \[0, 2\).*Received: y_true with inf in it$",
    ),
    "label beyond every integer type": (
        lambda: losses.focal([0, 10**30], OUTPUTS),
        ValueError,
        r"`y_true` must be whole numbers in \[0, 2\).*with 10{30} in it$",
    ),
    "one label, no list": (
        lambda: plain_loss(0, OUTPUTS),
        ValueError,
        r"`y_true` must be integer labels of the shape \[N\].*Received: .*shape=\(\)$",
    ),
    "outputs that are None": (
        lambda: plain_loss([0, 1], None),
        ValueError,
        f"`y_pred` {TENSOR}. Received: y_pred=None$",
    ),
    "outputs that are strings": (
        lambda: losses.focal([0, 1], [["0.1", "0.2"], ["0.3", "0.4"]]),
        ValueError,
        rf"`y_pred` {TENSOR}. Received: y_pred=\[\['0.1', .*\]\]$",
    ),
    "outputs of different lengths": (
        lambda: losses.uniform_margin([0, 1], [[0.1, 0.2], [0.3]]),
        ValueError,
        rf"`y_pred` {TENSOR}. Received: y_pred=\[\[0.1, 0.2\], \[0.3\]\]$",
    ),
    "complex outputs": (
        lambda: losses.maximum_margin([0], np.array([[1j, 0]])),
        ValueError,
        f"`y_pred` {TENSOR}. Received: y_pred=array.*$",
    ),
    "outputs of one number": (
        lambda: weighted_loss([0, 1], 0.5),
        ValueError,
        r"`y_pred` must have the shape \[N, K\].*Received: y_pred.shape=\(\)$",
    ),
    "more labels than weighted outputs": (
        lambda: weighted_loss([0, 1, 1], OUTPUTS),
        ValueError,
        "`y_true` and `y_pred` must have as many rows.*y_true with 3, y_pred with 2$",
    ),
    "sample weights of another length": (
        lambda: plain_loss([0, 1], OUTPUTS, sample_weight=[1.0, 2.0, 3.0]),
        ValueError,
        "`sample_weight` must hold a number for each example.*"
        r"Received: sample_weight.shape=\(3,\), y_pred.shape=\(2, 2\)$",
    ),
    "sample weights of one for each output": (
        lambda: weighted_loss([0, 1], OUTPUTS, sample_weight=OUTPUTS),
        ValueError,
        r"`sample_weight` must .*Received: sample_weight.shape=\(2, 2\), .*$",
    ),
    "sample weights that are strings": (
        lambda: weighted_loss([0, 1], OUTPUTS, sample_weight=["1", "2"]),
        ValueError,
        rf"`sample_weight` {TENSOR}. Received: sample_weight=\['1', '2'\]$",
    ),
    # ClassWeighted.
    "class for an instance": (
        lambda: losses.ClassWeighted(losses.Focal, 2),
        ValueError,
        "`loss` must be a `keras.losses.Loss`.*Received: loss=<class .*Focal'>$",
    ),
    "weights around weights": (
        lambda: losses.ClassWeighted(losses.ClassWeighted(losses.Focal(), 2), 2),
        ValueError,
        "`loss` must .* without class weights of its own.*Received: loss=<.*>$",
    ),
    "number of classes that is whole, but a float": (
        lambda: losses.ClassWeighted(losses.Focal(), 2.0),
        ValueError,
        "`num_classes` must be an integer >= 2. Received: num_classes=2.0$",
    ),
    "weights that are strings": (
        lambda: losses.ClassWeighted(losses.Focal(), 2, ["1", "2"]),
        ValueError,
        WEIGHTS + r". Received: class_weights=\['1', '2'\]$",
    ),
    "weights that are bools": (
        lambda: losses.ClassWeighted(losses.Focal(), 2, [True, False]),
        ValueError,
        WEIGHTS + r". Received: class_weights=\[True, False\]$",
    ),
    "weight beyond float32": (
        lambda: losses.ClassWeighted(losses.Focal(), 2).set_class_weights([1e39, 1]),
        ValueError,
        WEIGHTS + r". Received: class_weights=\[1e\+39, 1\]$",
    ),
    "weight beyond every float": (
        lambda: losses.ClassWeighted(losses.Focal(), 2, [HUGE, 1]),
        ValueError,
        WEIGHTS + r". Received: class_weights=\[10{400}, 1\]$",
    ),
    # Layers.
    "units in an array": (
        lambda: layers.NormalizedDense(np.array([3])),
        ValueError,
        r"`units` must be an integer >= 1. Received: units=array\(\[3\]\)$",
    ),
    "initializer that there is not": (
        lambda: layers.NormalizedDense(3, kernel_initializer="kaiming"),
        ValueError,
        "`kernel_initializer` must .*Received: kernel_initializer='kaiming'$",
    ),
    "features without an axis": (
        lambda: layers.NormalizedDense(3)(np.float32(1)),
        ValueError,
        r"must have a last axis of a known size >= 1. Received: input_shape=\(\)$",
    ),
    "features of size zero": (
        lambda: layers.NormalizedDense(3)(np.ones((2, 0), "float32")),
        ValueError,
        r"must have a last axis of a known size >= 1. Received: input_shape=\(2, 0\)$",
    ),
    "seed of crops that is a bool": (
        lambda: layers.RandomPaddedCrop(seed=True),
        ValueError,
        "`seed` must be an integer >= 0 and <= 4294967295. Received: seed=True$",
    ),
    "seed of crops beyond Keras": (
        lambda: layers.RandomPaddedCrop(seed=2**32),
        ValueError,
        "`seed` must be an integer >= 0 and <= .*Received: seed=4294967296$",
    ),
    "one image, no batch": (
        lambda: layers.RandomPaddedCrop()(IMAGES[0], training=True),
        ValueError,
        r"expected ndim=4, found ndim=3. Full shape received: \(2, 2, 1\)$",
    ),
    "images of unknown size": (
        lambda: layers.RandomPaddedCrop()(keras.Input([None, None, 3])),
        ValueError,
        r"known size .*Received: input_shape=\(None, None, None, 3\)$",
    ),
    "shortcut of features": (
        lambda: layers.PaddedShortcut(4)(np.zeros((2, 3), "float32")),
        ValueError,
        r"expected ndim=4, found ndim=2. Full shape received: \(2, 3\)$",
    ),
    "shortcut of unknown channels": (
        lambda: layers.PaddedShortcut(4)(keras.Input([8, 8, None])),
        ValueError,
        r"known number of channels. Received: input_shape=\(None, 8, 8, None\)$",
    ),
    # resnet_cifar.
    "number of classes that is a string": (
        lambda: resnet(num_classes="10"),
        ValueError,
        "`num_classes` must be an integer >= 2. Received: num_classes='10'$",
    ),
    "depth that is a bool": (
        lambda: resnet(depth=True),
        ValueError,
        "`depth` must be an integer >= 8. Received: depth=True$",
    ),
    "head that cannot be hashed": (
        lambda: resnet(head={"linear"}),
        ValueError,
        "`head` must be one of 'normalized', 'linear'. Received: head={'linear'}$",
    ),
    "shape that is None": (
        lambda: resnet(input_shape=None),
        ValueError,
        r"`input_shape` must be \(height, width, channels\).*input_shape=None$",
    ),
    "shape with a bool": (
        lambda: resnet(input_shape=(True, 8, 3)),
        ValueError,
        r"`input_shape` must be .*Received: input_shape=\(True, 8, 3\)$",
    ),
    "preprocess that means no": (
        lambda: resnet(preprocess="no"),
        ValueError,
        "`preprocess` must be True or False. Received: preprocess='no'$",
    ),
    "flips that are an integer": (
        lambda: resnet(horizontal_flip=1),
        ValueError,
        "`horizontal_flip` must be True or False. Received: horizontal_flip=1$",
    ),
    "mean that is NaN": (
        lambda: resnet(mean=NAN),
        ValueError,
        "`mean` must be a finite number or 3, one a channel. Received: mean=nan$",
    ),
    "mean that is a string": (
        lambda: resnet(mean="0.5"),
        ValueError,
        "`mean` must be a finite number or 3, one a channel. Received: mean='0.5'$",
    ),
    "mean of Nones": (
        lambda: resnet(mean=[None] * 3),
        ValueError,
        r"`mean` must be .*Received: mean=\[None, None, None\]$",
    ),
    "std that is wrong, though not used": (
        lambda: resnet(std=-1, preprocess=False),
        ValueError,
        "`std` must be positive. Received: std=-1$",
    ),
    "crop that is a fraction": (
        lambda: resnet(crop_padding=1.5),
        ValueError,
        "`crop_padding` must be an integer >= 0. Received: crop_padding=1.5$",
    ),
    "seed of a network below 0": (
        lambda: resnet(seed=-1),
        ValueError,
        "`seed` must be an integer >= 0. Received: seed=-1$",
    ),
    # SGD.
    "learning rate that is NaN": (
        lambda: optimizers.SGD(NAN),
        ValueError,
        "`learning_rate` must be a finite number >= 0. Received: learning_rate=nan$",
    ),
    "learning rate below 0": (
        lambda: optimizers.SGD(-0.1),
        ValueError,
        "`learning_rate` must be .*Received: learning_rate=-0.1$",
    ),
    "learning rate that is a string": (
        lambda: optimizers.SGD("0.1"),
        ValueError,
        "`learning_rate` must be .*Received: learning_rate='0.1'$",
    ),
    "momentum that is NaN": (
        lambda: optimizers.SGD(momentum=NAN),
        ValueError,
        "`momentum` must be a finite number >= 0 and <= 1. Received: momentum=nan$",
    ),
    "momentum that is None": (
        lambda: optimizers.SGD(momentum=None),
        ValueError,
        "`momentum` must be .*Received: momentum=None$",
    ),
    "Nesterov that means no": (
        lambda: optimizers.SGD(nesterov="no"),
        ValueError,
        "`nesterov` must be True or False. Received: nesterov='no'$",
    ),
    "decay that is infinite": (
        lambda: optimizers.SGD(l2=INFINITY),
        ValueError,
        "`l2` must be a finite number >= 0. Received: l2=inf$",
    ),
    # Callbacks.
    "no number of images": (
        lambda: callbacks.Throughput(0),
        ValueError,
        "`images_per_epoch` must be an integer >= 1. Received: images_per_epoch=0$",
    ),
    "batch of no images": (
        lambda: callbacks.TestError(IMAGES, LABELS, [5, 3], batch_size=0),
        ValueError,
        "`batch_size` must be an integer >= 1. Received: batch_size=0$",
    ),
    "counts of one class": (
        lambda: callbacks.TestError(IMAGES, LABELS, class_counts=[5]),
        ValueError,
        COUNTS + r".*Received: class_counts=\[5\]$",
    ),
    "learning rate after the warm-up that is a string": (
        lambda: callbacks.WarmUpStepDecay("0.1"),
        ValueError,
        "`learning_rate` must be a finite number > 0. Received: learning_rate='0.1'$",
    ),
    "first epoch that is a string": (
        lambda: callbacks.DeferredReweighting([1, 2], start_epoch="160"),
        ValueError,
        "`start_epoch` must be an integer >= 0. Received: start_epoch='160'$",
    ),
    "deferred weights that are strings": (
        lambda: callbacks.DeferredReweighting(["1", "2"]),
        ValueError,
        WEIGHTS + r". Received: class_weights=\['1', '2'\]$",
    ),
    # Metrics.
    "metric of no number of classes": (
        lambda: metrics.BalancedAccuracy(None),
        ValueError,
        "`num_classes` must be an integer >= 2. Received: num_classes=None$",
    ),
    "measured label below 0": (
        lambda: accuracy([-1, 1], OUTPUTS),
        ValueError,
        r"`y_true` must be whole numbers in \[0, 2\).*Received: y_true with -1 in it$",
    ),
    "measured label that is a fraction": (
        lambda: accuracy([0.5, 1], OUTPUTS),
        ValueError,
        r"`y_true` must be whole numbers in \[0, 2\).*Received: y_true with 0.5 in it$",
    ),
    "one label for a batch": (
        lambda: accuracy([0], OUTPUTS),
        ValueError,
        "`y_true` and `y_pred` must have as many rows.*y_true with 1, y_pred with 2$",
    ),
    "measured outputs of other classes": (
        lambda: metrics.ShotAccuracy([500, 50, 5], "few").update_state([0, 1], OUTPUTS),
        ValueError,
        r"`y_pred` must .* each of the 3 classes. Received: y_pred.shape=\(2, 2\)$",
    ),
    "measured guesses for outputs": (
        lambda: accuracy([0, 1], [0.0, 1.0]),
        ValueError,
        r"`y_pred` must have the shape \[N, K\].*Received: y_pred.shape=\(2,\)$",
    ),
    "measured weights of another length": (
        lambda: accuracy([0, 1], OUTPUTS, sample_weight=[1.0]),
        ValueError,
        r"`sample_weight` must .*Received: sample_weight.shape=\(1,\), .*$",
    ),
    "group that cannot be hashed": (
        lambda: metrics.shot_group([500, 5], ["many"]),
        ValueError,
        r"`group` must be one of 'many', 'medium', 'few'. Received: group=\['many'\]$",
    ),
    "fewer predictions than labels": (
        lambda: metrics.per_class_error([0, 1], [0], 2),
        ValueError,
        "`predictions` must hold a class for each of the 2.*Received: 1 predictions$",
    ),
    "prediction of no class": (
        lambda: metrics.per_class_error([0, 1], [0, 2], 2),
        ValueError,
        r"`predictions` must be whole numbers in \[0, 2\).*predictions with 2 in it$",
    ),
    "labels in a column": (
        lambda: metrics.per_class_error([[0], [1]], [0, 1], 2),
        ValueError,
        r"`labels` must be integers \[N\], N >= 1. Received: labels=\[\[0\], \[1\]\]$",
    ),
    "error of no images": (
        lambda: metrics.per_class_error([], [], 2),
        ValueError,
        r"`labels` must be integers \[N\], N >= 1. Received: labels=\[\]$",
    ),
    "errors that are a string": (
        lambda: metrics.mean_error("50"),
        ValueError,
        r"`errors` must be numbers \[K\]. Received: errors='50'$",
    ),
    "classes that are indices": (
        lambda: metrics.mean_error([50.0, 60.0], [0, 1]),
        ValueError,
        r"`classes` must be True or False for each of the 2 .*classes=\[0, 1\]$",
    ),
    # Data.
    "imbalance that cannot be hashed": (
        lambda: data.class_counts(["step"], 500, 10, 10),
        ValueError,
        r"`imbalance` must be one of 'long_tailed', .*Received: imbalance=\['step'\]$",
    ),
    "imbalance that is a surrogate": (
        lambda: data.class_counts("\udcff", 500, 10, 10),
        ValueError,
        r"`imbalance` must be one of .*Received: imbalance='\\udcff'$",
    ),
    "no images in a balanced class": (
        lambda: data.balanced_counts(0, 10),
        ValueError,
        "`n_max` must be an integer >= 1 and <= 9007199254740991. Received: n_max=0$",
    ),
    "ratio beyond every float": (
        lambda: data.step_counts(500, 10, HUGE),
        ValueError,
        "`ratio` must be a finite number >= 1. Received: ratio=10{400}$",
    ),
    "labels of different depths": (
        lambda: data.subsample([[0], [1, 2]], [1, 1], seed=0),
        ValueError,
        rf"`labels` {INTEGERS} 0. Received: labels=\[\[0\], \[1, 2\]\]$",
    ),
    "label beyond int64": (
        lambda: data.subsample(np.array([0, 2**63], "uint64"), [1, 1], seed=0),
        ValueError,
        f"`labels` {INTEGERS} 0. Received: labels with {2**63} in it$",
    ),
    "count beyond int64": (
        lambda: data.subsample([0, 1], [1, 10**30], seed=0),
        ValueError,
        rf"`counts` {INTEGERS} 1. Received: counts of shape \(2,\) and dtype object$",
    ),
    "weights of draws that are bools": (
        lambda: data.EpochOrder(LABELS, 2, 0, class_weights=[True, False]),
        ValueError,
        r"`class_weights` must be .* numbers. Received: class_weights=\[True, False\]$",
    ),
    "batch size that is a string": (
        lambda: data.EpochOrder(LABELS, "2", 0),
        ValueError,
        "`batch_size` must be an integer >= 1. Received: batch_size='2'$",
    ),
    "order that is none": (
        lambda: data.fit_data(IMAGES, LABELS, "shuffled", epochs=2),
        ValueError,
        "`order` must be an `EpochOrder`. Received: order='shuffled'$",
    ),
    "images of different sizes": (
        lambda: data.training_pipeline([[1], [1, 2], [3]], LABELS, ORDER, epochs=2),
        ValueError,
        r"`images` must be .* of one size. Received: images of shape .*dtype object$",
    ),
    "images that are paths": (
        lambda: data.ArrayBatches(["a.png", "b.png", "c.png"], LABELS, ORDER, epochs=2),
        ValueError,
        r"`images` must be an array of numbers.*images of shape \(3,\) and dtype <U5$",
    ),
    "data set that cannot be hashed": (
        lambda: data.load(["digits"]),
        ValueError,
        r"`name` must be one of 'cifar10', .*Received: name=\['digits'\]$",
    ),
    "folder that is a number": (
        lambda: data.load("cifar10", data_dir=5),
        ValueError,
        "`data_dir` must be a path or None. Received: data_dir=5$",
    ),
    "folder in bytes": (
        lambda: data.load("cifar10", data_dir=b"here"),
        ValueError,
        "`data_dir` must be a path or None. Received: data_dir=b'here'$",
    ),
    "name for a data set": (
        lambda: data.imbalanced("digits", [1, 1], seed=0),
        ValueError,
        "`data` must be an `ImageData`. Received: data='digits'$",
    ),
    "counts that are one number": (
        lambda: data.imbalanced(image_data(), 1, seed=0),
        ValueError,
        rf"`counts` {INTEGERS} 1. Received: counts of shape \(\) and dtype int64$",
    ),
    "images in a list": (
        lambda: image_data(train_images=[[1]]),
        ValueError,
        r"`train_images` must be a NumPy array or an `ImageFiles`. "
        r"Received: train_images=\[\[1\]\]$",
    ),
    "labels that are one number": (
        lambda: image_data(test_labels=np.array(3)),
        ValueError,
        r"`test_labels` must be int64 of shape \[N\]. Received: int64 of shape \(\)$",
    ),
    "data set without a row": (
        lambda: image_data(info="mine"),
        ValueError,
        "`info` must be a `DatasetInfo`. Received: info='mine'$",
    ),
    "class names in one string": (
        lambda: image_data(class_names="ab"),
        ValueError,
        "`class_names` must hold 2 names. Received: class_names='ab'$",
    ),
    # Pre-training.
    "images that are a string": (
        lambda: pretraining.pretrain_rotation(None, "images"),
        ValueError,
        r"`images` must be square.*Received: images of the shape \(\)$",
    ),
    "epochs of pre-training in a float": (
        lambda: pretraining.pretrain_rotation(None, IMAGES, epochs=2.0),
        ValueError,
        "`epochs` must be an integer >= 1. Received: epochs=2.0$",
    ),
    # Runs.
    "run of epochs in a float": (
        lambda: RunConfig(epochs=10.0),
        ValueError,
        "`epochs` must be an integer >= 1. Received: epochs=10.0$",
    ),
    "run of epochs that are None": (
        lambda: RunConfig(epochs=None),
        ValueError,
        "`epochs` must be an integer >= 1. Received: epochs=None$",
    ),
    "batches of a bool": (
        lambda: RunConfig(batch_size=True),
        ValueError,
        "`batch_size` must be an integer >= 1. Received: batch_size=True$",
    ),
    "ratio in an array": (
        lambda: RunConfig(imbalance_ratio=np.array([10.0])),
        ValueError,
        r"`imbalance_ratio` must be .*Received: imbalance_ratio=array\(\[10.\]\)$",
    ),
    "methods in an array": (
        lambda: RunConfig(method=np.array(["mm", "erm"])),
        ValueError,
        r"`method` must be one of erm, .*Received: method=array\(\['mm', .*\)$",
    ),
    "seed beyond Keras": (
        lambda: RunConfig(seed=2**32),
        ValueError,
        "`seed` must be an integer >= 0 and <= 4294967295. Received: seed=4294967296$",
    ),
    "no folder for pre-trained backbones": (
        lambda: RunConfig(pretrained_dir=""),
        ValueError,
        f"`pretrained_dir` {FOLDER}. Received: pretrained_dir=''$",
    ),
    "folder of two lines": (
        lambda: RunConfig(data_dir="a\n--epochs=1"),
        ValueError,
        rf"`data_dir` {FOLDER}. Received: data_dir='a\\n--epochs=1'$",
    ),
    "folder with NUL": (
        lambda: RunConfig(output_dir="a\0b"),
        ValueError,
        rf"`output_dir` {FOLDER}. Received: output_dir='a\\x00b'$",
    ),
    "folder that is a surrogate": (
        lambda: RunConfig(output_dir="\udcff"),
        ValueError,
        rf"`output_dir` {FOLDER}. Received: output_dir='\\udcff'$",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_calls_are_refused_and_told(name):
    call, exception, message = CASES[name]
    with pytest.raises(exception, match=message) as caught:
        call()
    # What was received ends the message, for whoever sees but its last line.
    assert re.search(r"[Rr]eceived: [^\n]+$", str(caught.value))
    # An error that was only reworded would show the other one above it.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


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
    json.dumps(keras.saving.serialize_keras_object(make()))


@pytest.mark.parametrize(
    "call",
    [
        lambda: plain_loss([0.0, 1.0], OUTPUTS.tolist(), sample_weight=0.5),
        lambda: weighted_loss([[0], [1]], OUTPUTS, sample_weight=[[1], [2]]),
        lambda: weighted_loss([0, 1], OUTPUTS, sample_weight=2),
        lambda: accuracy([0.0, 1.0], OUTPUTS.astype("float16"), sample_weight=[1, 0]),
        lambda: metrics.per_class_error([0.0, 1.0], np.array([1, 0], "uint8"), 2),
        lambda: class_weights.effective_number([1e300, 5], beta=0),
        lambda: data.long_tailed_counts(np.int32(500), np.int64(10), np.float32(10)),
        lambda: data.EpochOrder(LABELS.astype("uint8"), np.int64(2), 2**100),
        lambda: image_data(class_names=["a", "b"]),
        lambda: RunConfig(epochs=np.int64(10), imbalance_ratio=10, beta=np.float64(1)),
    ],
)
def test_calls_that_look_wrong_and_are_not(call):
    call()
