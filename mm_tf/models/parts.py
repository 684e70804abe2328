"""What every network has: augmentation, a head, and a seed for each draw."""

import itertools

import keras
import numpy as np

from mm_tf import _checks
from mm_tf.layers import NormalizedDense, RandomHorizontalFlip, RandomPaddedCrop

HEADS = ("normalized", "linear")

# Per-channel statistics of CIFAR-10's training images, for pixels in [0, 1]. The
# reference codes use them for CIFAR-100 as well.
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2023, 0.1994, 0.2010)


def layer_seeds(seed):
    """An iterator with a seed for each layer that draws; None without a `seed`."""
    if seed is None:
        return itertools.repeat(None)
    generator = np.random.default_rng(_checks.check_integer("seed", seed, low=0))
    return iter(lambda: int(generator.integers(2**31 - 1)), None)


def augment(x, crop_padding, horizontal_flip, more, seeds, border="black"):
    """Crops, flips and changes images by more layers at random in training."""
    x = RandomPaddedCrop(crop_padding, next(seeds), border, name="crop")(x)
    if horizontal_flip:
        x = RandomHorizontalFlip(seed=next(seeds), name="flip")(x)
    for layer in more:
        x = layer(x)
    return x


def normalize(x, mean, std):
    """Scales pixels from 0 to 255 to the mean 0 and the deviation 1."""
    scale, offset = (1 / (255 * std)).tolist(), (-mean / std).tolist()
    return keras.layers.Rescaling(scale, offset, name="rescale")(x)


def normal(seeds, scale=2.0):
    """A normal initializer; with the scale 2 that of He et al. 2015."""
    return keras.initializers.VarianceScaling(
        scale, mode="fan_in", distribution="untruncated_normal", seed=next(seeds)
    )


def head_on(x, num_classes, head, seeds):
    """Outputs [N, K] from features [N, D]: cosines or logits."""
    if head == "normalized":
        return NormalizedDense(num_classes, normal(seeds, scale=1.0), name="head")(x)
    # Logits stay in full precision under half-precision policies: the losses need it.
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=normal(seeds),
        dtype=keras.config.floatx(),
        name="head",
    )(x)


def checked_shape(input_shape, low=1):
    """Returns an image's height, width (each >= `low`) and channels as integers."""
    try:
        return tuple(
            _checks.check_integer("size", size, low=least)
            for least, size in zip((low, low, 1), input_shape, strict=True)
        )
    except (TypeError, ValueError):
        raise ValueError(
            "`input_shape` must be (height, width, channels), integers >= 1, height "
            f"and width >= {low}. Received: input_shape={input_shape!r}"
        ) from None


def checked_statistics(mean, std, channels):
    """Returns the mean and the deviation of each channel, CIFAR-10's by default."""
    is_color = channels == 3
    mean = _per_channel("mean", mean, CIFAR_MEAN if is_color else 0.5, channels)
    checked = _per_channel("std", std, CIFAR_STD if is_color else 0.5, channels)
    if np.any(checked <= 0):
        raise ValueError(f"`std` must be positive. Received: std={std!r}")
    return mean, checked


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


def shape_of_images(name, model):
    """Returns height, width and channels of the images that a model takes."""
    shape = getattr(model, "input_shape", None)
    if (
        not isinstance(model, keras.Model)
        or not isinstance(shape, tuple)
        or len(shape) != 4
        or None in shape[1:]
    ):
        raise ValueError(
            f"`{name}` must be a `keras.Model` of images [N, height, width, channels] "
            f"of known sizes. Received: {name}={model!r} of the input shape "
            f"{shape}"
        )
    # Keras has no public list of the layers in layers.
    for layer in model._flatten_layers():
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                f"`{name}` must be built for channels last "
                '(`keras.config.set_image_data_format("channels_last")` before it). '
                f"Received: a layer {layer.name} for channels first"
            )
    return shape[1:]
