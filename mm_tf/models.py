"""Networks with the heads that the losses need.

Residual networks for small images, as both reference codes build them, and heads for
any other backbone.
"""

import keras
import numpy as np

from mm_tf import _checks, backbones
from mm_tf.layers import (
    BatchNormalization,
    NormalizedDense,
    PaddedShortcut,
    RandomHorizontalFlip,
    RandomPaddedCrop,
)

HEADS = ("normalized", "linear")

# Per-channel statistics of CIFAR-10's training images, for pixels in [0, 1]. The
# reference codes use them for CIFAR-100 as well.
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2023, 0.1994, 0.2010)


def resnet_cifar(
    num_classes,
    depth=32,
    head="normalized",
    input_shape=(32, 32, 3),
    preprocess=True,
    mean=None,
    std=None,
    crop_padding=4,
    horizontal_flip=True,
    seed=None,
    name=None,
):
    """Builds a ResNet for small images, with its preprocessing inside.

    Three stages of (depth - 2) / 6 blocks with 16, 32 and 64 channels, shortcuts
    without parameters, kernels drawn after He et al. 2015, and batch
    normalization as in PyTorch (momentum 0.9, epsilon 1e-5). The layer named
    `features` is the 64 pooled features, the one named `head` gives the outputs.

    Args:
        num_classes: The number of classes K, >= 2.
        depth: Layers with weights, 6 n + 2: 20, 32, 44, 56 and 110 in the source, 8
            for tiny images.
        head: `"normalized"` for cosines [N, K] (`NormalizedDense`), as the margin
            losses need them, or `"linear"` for logits [N, K].
        input_shape: Height, width and channels of the images.
        preprocess: True: images are pixels from 0 to 255 (uint8 or float), in
            training they are padded, cropped and flipped at random, always they
            are normalized. False: the bare network on normalized floats.
        mean: Per-channel mean of the pixels, on the scale [0, 1]. By default that
            of CIFAR-10 for three channels and 0.5 otherwise.
        std: Per-channel standard deviation, likewise (0.5 otherwise).
        crop_padding: Pixels of black on every side before a crop in training.
        horizontal_flip: Whether images are mirrored at random in training.
        seed: An integer >= 0, for the same initial weights, crops and flips in
            every run; None for others.
        name: The model's name, `resnet<depth>` by default.

    Returns:
        A `keras.Model`, images [N, *input_shape] in, outputs [N, K] out.

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> model = mm_tf.models.resnet_cifar(10, depth=20)
    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> model.predict(images, verbose=0).shape
    (2, 10)

    Source: He et al., "Deep Residual Learning for Image Recognition", 2016,
    section 4.2; with a linear head of 10 classes and depth 32 it has the 464,154
    parameters of the code of Cao et al. 2019.
    """
    num_classes = _checks.check_integer("num_classes", num_classes, low=2)
    depth = _checks.check_integer("depth", depth, low=8)
    if depth % 6 != 2:
        raise ValueError(
            "`depth` must be 6 n + 2: 8, 20, 32, 44, 56, 110 ... "
            f"Received: depth={depth!r}"
        )
    _checks.check_choice("head", head, HEADS)
    input_shape = _checked_shape(input_shape)
    _checks.check_bool("preprocess", preprocess)
    mean, std = _checked_statistics(mean, std, channels=input_shape[-1])
    _checks.check_integer("crop_padding", crop_padding, low=0)
    _checks.check_bool("horizontal_flip", horizontal_flip)
    if seed is not None:
        _checks.check_integer("seed", seed, low=0)
    seeds = _Seeds(seed)
    inputs = keras.Input(input_shape, name="images")
    x = inputs
    if preprocess:
        x = _augment(x, crop_padding, horizontal_flip, seeds)
        x = _normalize(x, mean, std)
    x = _convolution(x, 16, 1, "conv1", seeds)
    x = _batch_normalization(x, "bn1")
    x = keras.layers.ReLU(name="relu1")(x)
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range((depth - 2) // 6):
            strides = 2 if stage > 1 and block == 0 else 1
            x = _block(x, filters, strides, f"layer{stage}_{block}", seeds)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    outputs = _head(x, num_classes, head, seeds)
    return keras.Model(inputs, outputs, name=name or f"resnet{depth}")


def with_cosine_head(
    backbone,
    num_classes,
    head="normalized",
    scaling="inside",
    crop_padding=0,
    horizontal_flip=False,
    seed=None,
    name=None,
):
    """Puts a head that gives cosines on a backbone, as the margin losses need it.

    Images are padded, cropped and flipped at random in training if asked for, scaled
    as the backbone expects, and passed to it; maps of features are averaged over
    the image. The layer named `features` is the pooled features, `head` gives the
    outputs. The backbone itself is one layer of the model, with its weights: freeze
    it with `backbone.trainable = False`, or for the first epochs with
    `mm_tf.callbacks.FrozenBackbone`.

    Args:
        backbone: A `keras.Model`, images [N, height, width, channels] of known sizes
            in, features [N, D] or maps of features [N, h, w, D] out.
        num_classes: The number of classes K, >= 2.
        head: `"normalized"` for cosines [N, K] (`NormalizedDense`) or `"linear"` for
            logits [N, K]. Defaults to `"normalized"`.
        scaling: What the backbone expects: `"inside"`, pixels from 0 to 255, or
            what `keras.applications` calls `"tf"`, `"torch"` or `"caffe"`; see
            `mm_tf.backbones.scale`. Defaults to `"inside"`.
        crop_padding: Pixels of black on every side before a crop in training, >= 0.
            Defaults to 0, no crop.
        horizontal_flip: Whether images are mirrored at random in training. Defaults
            to `False`.
        seed: An integer >= 0, for the same head, crops and flips in every run.
            Defaults to `None`, others in each.
        name: The model's name. Defaults to `None`, that of the backbone and
            `_with_head`.

    Returns:
        A `keras.Model`, pixels from 0 to 255 [N, height, width, channels] in (uint8
        or float), outputs [N, K] out.

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import mm_tf
    >>> backbone = keras.Sequential(
    ...     [
    ...         keras.Input([24, 24, 3]),
    ...         keras.layers.Rescaling(1 / 255),
    ...         keras.layers.Conv2D(8, 3, activation="relu"),
    ...     ]
    ... )
    >>> model = mm_tf.models.with_cosine_head(backbone, num_classes=5)
    >>> cosines = model.predict(np.zeros((2, 24, 24, 3), "uint8"), verbose=0)
    >>> cosines.shape, bool(abs(cosines).max() <= 1)
    ((2, 5), True)
    """
    num_classes = _checks.check_integer("num_classes", num_classes, low=2)
    _checks.check_choice("head", head, HEADS)
    _checks.check_choice("scaling", scaling, backbones.SCALINGS)
    _checks.check_integer("crop_padding", crop_padding, low=0)
    _checks.check_bool("horizontal_flip", horizontal_flip)
    if seed is not None:
        _checks.check_integer("seed", seed, low=0)
    input_shape = _shape_of_images(backbone)
    if scaling in ("torch", "caffe") and input_shape[-1] != 3:
        raise ValueError(
            f"`scaling` {scaling!r} is for three channels. "
            f"Received: a backbone with {input_shape[-1]}"
        )
    seeds = _Seeds(seed)
    inputs = keras.Input(input_shape, name="images")
    x = inputs
    if crop_padding or horizontal_flip:
        x = _augment(x, crop_padding, horizontal_flip, seeds)
    x = backbone(backbones.scale(x, scaling))
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    elif len(x.shape) == 2:
        x = keras.layers.Identity(name="features")(x)
    else:
        raise ValueError(
            "`backbone` must give features [N, D] or [N, h, w, D]. "
            f"Received: outputs of the shape {x.shape}"
        )
    outputs = _head(x, num_classes, head, seeds)
    return keras.Model(inputs, outputs, name=name or f"{backbone.name}_with_head")


def _shape_of_images(backbone):
    shape = getattr(backbone, "input_shape", None)
    if (
        not isinstance(backbone, keras.Model)
        or not isinstance(shape, tuple)
        or len(shape) != 4
        or None in shape[1:]
    ):
        raise ValueError(
            "`backbone` must be a `keras.Model` of images [N, height, width, channels] "
            f"of known sizes. Received: backbone={backbone!r} of the input shape "
            f"{shape}"
        )
    return shape[1:]


def _checked_shape(input_shape):
    try:
        return tuple(
            _checks.check_integer("size", size, low=1)
            for _, size in zip("hwc", input_shape, strict=True)
        )
    except (TypeError, ValueError):
        raise ValueError(
            "`input_shape` must be (height, width, channels), integers >= 1. "
            f"Received: input_shape={input_shape!r}"
        ) from None


def _checked_statistics(mean, std, channels):
    is_color = channels == 3
    mean = _per_channel("mean", mean, CIFAR_MEAN if is_color else 0.5, channels)
    checked = _per_channel("std", std, CIFAR_STD if is_color else 0.5, channels)
    if np.any(checked <= 0):
        raise ValueError(f"`std` must be positive. Received: std={std!r}")
    return mean, checked


class _Seeds:
    """A new integer seed for each layer that draws, all of them from one seed."""

    def __init__(self, seed):
        self._generator = None if seed is None else np.random.default_rng(seed)

    def next(self):
        if self._generator is None:
            return None
        return int(self._generator.integers(2**31 - 1))


def _augment(x, crop_padding, horizontal_flip, seeds):
    x = RandomPaddedCrop(crop_padding, seed=seeds.next(), name="crop")(x)
    if horizontal_flip:
        x = RandomHorizontalFlip(seed=seeds.next(), name="flip")(x)
    return x


def _normalize(x, mean, std):
    return keras.layers.Rescaling(
        scale=(1 / (255 * std)).tolist(), offset=(-mean / std).tolist(), name="rescale"
    )(x)


def _per_channel(name, values, default, channels):
    numbers = _checks.as_numbers(default if values is None else values)
    if (
        numbers is None
        or numbers.shape not in ((), (1,), (channels,))
        or not np.all(np.isfinite(numbers))
    ):
        raise ValueError(
            f"`{name}` must be a finite number or {channels}, one a channel. "
            f"Received: {name}={values!r}"
        )
    return np.broadcast_to(numbers, (channels,))


def _block(x, filters, strides, name, seeds):
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = PaddedShortcut(filters, name=f"{name}_shortcut")(x)
    x = _convolution(x, filters, strides, f"{name}_conv1", seeds)
    x = _batch_normalization(x, f"{name}_bn1")
    x = keras.layers.ReLU(name=f"{name}_relu1")(x)
    x = _convolution(x, filters, 1, f"{name}_conv2", seeds)
    x = _batch_normalization(x, f"{name}_bn2")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu2")(x)


def _convolution(x, filters, strides, name, seeds):
    padding = "same"
    if strides != 1:
        # Keras's "same" would pad the far sides alone, PyTorch pads all four.
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid"
    return keras.layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=_he_normal(seeds),
        name=name,
    )(x)


def _batch_normalization(x, name):
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _he_normal(seeds):
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_in", distribution="untruncated_normal", seed=seeds.next()
    )


def _head(x, num_classes, head, seeds):
    if head == "normalized":
        initializer = keras.initializers.VarianceScaling(
            scale=1.0,
            mode="fan_in",
            distribution="untruncated_normal",
            seed=seeds.next(),
        )
        return NormalizedDense(num_classes, initializer, name="head")(x)
    # Logits stay in full precision under half-precision policies: the losses need it.
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=_he_normal(seeds),
        dtype=keras.config.floatx(),
        name="head",
    )(x)
