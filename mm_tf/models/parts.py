"""What every network has: augmentation, a head, and a seed for each draw."""

import keras
import numpy as np

from mm_tf.layers import NormalizedDense, RandomHorizontalFlip, RandomPaddedCrop

HEADS = ("normalized", "linear")


def layer_seeds(seed):
    """Yields a seed for each layer that draws: drawn from `seed`, or None."""
    generator = np.random.default_rng(seed)
    while True:
        yield None if seed is None else int(generator.integers(2**31 - 1))


def augment(x, crop_padding, horizontal_flip, seeds):
    """Crops and flips images at random in training."""
    x = RandomPaddedCrop(crop_padding, seed=next(seeds), name="crop")(x)
    if horizontal_flip:
        x = RandomHorizontalFlip(seed=next(seeds), name="flip")(x)
    return x


def he_normal(seeds):
    """The initializer of He et al. 2015."""
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_in", distribution="untruncated_normal", seed=next(seeds)
    )


def head_on(x, num_classes, head, seeds):
    """Outputs [N, K] from features [N, D]: cosines or logits."""
    if head == "normalized":
        initializer = keras.initializers.VarianceScaling(
            scale=1.0,
            mode="fan_in",
            distribution="untruncated_normal",
            seed=next(seeds),
        )
        return NormalizedDense(num_classes, initializer, name="head")(x)
    # Logits stay in full precision under half-precision policies: the losses need it.
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=he_normal(seeds),
        dtype=keras.config.floatx(),
        name="head",
    )(x)
