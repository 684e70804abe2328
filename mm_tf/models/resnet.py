"""Residual networks for small images."""

import keras

from mm_tf import _checks
from mm_tf.backbones import channels_last
from mm_tf.layers import BatchNormalization, PaddedShortcut
from mm_tf.models import parts


@channels_last()
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
    augmentation=(),
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
        augmentation: More layers that change images at random in training, behind
            crops and flips, as `mm_tf.layers.Cutout(16)`. Defaults to none.

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
    _checks.check_choice("head", head, parts.HEADS)
    input_shape = parts.checked_shape(input_shape)
    _checks.check_bool("preprocess", preprocess)
    mean, std = parts.checked_statistics(mean, std, channels=input_shape[-1])
    _checks.check_integer("crop_padding", crop_padding, low=0)
    _checks.check_bool("horizontal_flip", horizontal_flip)
    seeds = parts.layer_seeds(seed)
    inputs = keras.Input(input_shape, name="images")
    x = inputs
    if preprocess:
        x = parts.augment(x, crop_padding, horizontal_flip, augmentation, seeds)
        x = parts.normalize(x, mean, std)
    x = _convolution(x, 16, 1, "conv1", seeds)
    x = _batch_normalization(x, "bn1")
    x = keras.layers.ReLU(name="relu1")(x)
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range((depth - 2) // 6):
            strides = 2 if stage > 1 and block == 0 else 1
            x = _block(x, filters, strides, f"layer{stage}_{block}", seeds)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    outputs = parts.head_on(x, num_classes, head, seeds)
    return keras.Model(inputs, outputs, name=name or f"resnet{depth}")


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
        # Keras's "same" would pad only the far sides, PyTorch pads all four.
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid"
    return keras.layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=parts.normal(seeds),
        name=name,
    )(x)


def _batch_normalization(x, name):
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
