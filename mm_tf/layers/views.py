"""Several views of each image, and the mean over their outputs."""

import keras
import numpy as np
from keras import ops

VIEWS = (1, 2, 3, 6)


class _OfViews(keras.layers.Layer):
    """What both layers have: the number of views."""

    def __init__(self, views=6, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if views not in VIEWS:
            raise ValueError(
                f"`views` must be one of {VIEWS}. Received: views={views!r}"
            )
        self.views = int(views)

    def get_config(self):
        return {**super().get_config(), "views": self.views}


@keras.saving.register_keras_serializable("mm_tf")
class ImageViews(_OfViews):
    """Gives several views of each image, in training and at prediction.

    The views are the image itself, shifted by a pixel to the lower right and to the
    upper left (what is missing is mirrored in), and the mirror image of each.

    Args:
        views: 1 (the image), 2 (and its mirror image), 3 (three shifts) or 6 (both).
            Defaults to 6.
        **kwargs: As for `keras.layers.Layer`.

    Input shape: [N, height, width, channels], height and width known and >= 2. Output
    shape: [views N, height, width, channels]: all images in the first view, then all
    in the next.

    Raises:
        ValueError: `views` is none of these numbers.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> images = np.arange(8).reshape(2, 2, 2, 1)
    >>> views = mm_tf.layers.ImageViews(2)(images)
    >>> np.asarray(views)[:, 0, :, 0].tolist()
    [[0, 1], [4, 5], [1, 0], [5, 4]]
    """

    def call(self, images):
        height, width = images.shape[1:3]
        views = [images]
        if self.views % 3 == 0:
            for shift in (-1, 1):
                shifted = ops.take(images, _shifted(height, shift), axis=1)
                views.append(ops.take(shifted, _shifted(width, shift), axis=2))
        if self.views % 2 == 0:
            views += [ops.flip(view, axis=2) for view in views]
        return ops.concatenate(views, axis=0)

    def compute_output_spec(self, images):
        return keras.KerasTensor((None, *images.shape[1:]), dtype=images.dtype)


@keras.saving.register_keras_serializable("mm_tf")
class MeanOverViews(_OfViews):
    """The mean over the outputs for the views of each image.

    Args:
        views: The number of views, as of `ImageViews`. Defaults to 6.
        **kwargs: As for `keras.layers.Layer`.

    Input shape: [views N, K], all images in the first view, then all in the next.
    Output shape: [N, K].

    Raises:
        ValueError: `views` is none of the numbers of `ImageViews`.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> outputs = np.array([[1.0], [2.0], [3.0], [6.0]])
    >>> np.asarray(mm_tf.layers.MeanOverViews(2)(outputs)).tolist()
    [[2.0], [4.0]]
    """

    def call(self, outputs):
        by_view = ops.reshape(outputs, (self.views, -1, *outputs.shape[1:]))
        return ops.mean(by_view, axis=0)

    def compute_output_spec(self, outputs):
        return keras.KerasTensor((None, *outputs.shape[1:]), dtype=outputs.dtype)


def _shifted(size, shift):
    """Where the pixels of a shifted row come from, mirrored at its end."""
    return (size - 1) - abs((size - 1) - abs(np.arange(size) + shift))
