"""Predictions that are the mean over several views of an image."""

import keras

from mm_tf.layers import ImageViews, MeanOverViews
from mm_tf.models import parts


def mean_over_views(model, views=6):
    """Returns a model whose outputs are the mean over several views of each image.

    It shares the weights of `model`; `predict`, saving and exports work as with any
    model, and `evaluate` once it is compiled. It takes as many times as long as there
    are views (see `mm_tf.layers.ImageViews`). Train `model`, then call this.

    Args:
        model: A `keras.Model`, images [N, height, width, channels] of known sizes in,
            outputs [N, K] out.
        views: 1 (the image), 2 (and its mirror image), 3 (three shifts) or 6 (both).
            Defaults to 6.

    Returns:
        A `keras.Model`, not compiled, with the inputs and outputs of `model`.

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> model = mm_tf.models.resnet_cifar(10, depth=8)
    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> mm_tf.models.mean_over_views(model).predict(images, verbose=0).shape
    (2, 10)

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024,
    section 3.5, where the views have other weights.
    """
    shape = parts.shape_of_images("model", model)
    inputs = keras.Input(shape, dtype=model.inputs[0].dtype, name="images")
    x = ImageViews(views, name="views")(inputs)
    outputs = MeanOverViews(views, name="mean_over_views")(model(x))
    return keras.Model(inputs, outputs, name=f"{model.name}_of_views")
