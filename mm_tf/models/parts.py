"""What every network has: augmentation, a head, and a seed for each draw."""

import itertools

import keras
import numpy as np

from mm_tf import _checks
from mm_tf.layers import NormalizedDense, RandomHorizontalFlip, RandomPaddedCrop

HEADS = ("normalized", "linear")


def layer_seeds(seed):
    """An iterator with a seed for each layer that draws; None without a `seed`."""
    if seed is None:
        return itertools.repeat(None)
    generator = np.random.default_rng(_checks.check_integer("seed", seed, low=0))
    return iter(lambda: int(generator.integers(2**31 - 1)), None)


def augment(x, crop_padding, horizontal_flip, seeds):
    """Crops and flips images at random in training."""
    x = RandomPaddedCrop(crop_padding, seed=next(seeds), name="crop")(x)
    if horizontal_flip:
        x = RandomHorizontalFlip(seed=next(seeds), name="flip")(x)
    return x


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
