"""A first layer that decorrelates patches of pixels, computed from the images."""

import keras
import numpy as np
from keras import ops

from mm_tf import _checks

_MOST_IMAGES = 5000


@keras.saving.register_keras_serializable("mm_tf")
class PatchWhitening(keras.layers.Layer):
    r"""A convolution whose filters whiten patches, and are not trained.

    The filters are the eigenvectors v of the patches' second moments and their
    negatives, each divided by its eigenvalue l:

    $$ w = \pm v / \sqrt{l + \epsilon} $$

    so that all directions in which pixels vary reach the network equally strong.
    `adapt` computes them; a saved model has them among its weights. A bias is added,
    which is trained.

    Args:
        size: Height and width of a patch, >= 1.
        epsilon: Added to eigenvalues, > 0.
        **kwargs: As for `keras.layers.Layer`.

    Input shape: [N, height, width, channels]. Output shape: [N, height - size + 1,
    width - size + 1, 2 size^2 channels].

    Raises:
        ValueError: `size` or `epsilon` is outside its range, or the inputs are
            images without a known size.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> images = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")
    >>> whitening = mm_tf.layers.PatchWhitening(size=2)
    >>> whitening.adapt(images)
    >>> whitening(images).shape == (64, 7, 7, 24)
    True

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024,
    section 3.2.
    """

    def __init__(self, size=2, epsilon=5e-4, **kwargs):
        super().__init__(**kwargs)
        self.size = _checks.check_integer("size", size, low=1)
        self.epsilon = _checks.check_number(
            "epsilon", epsilon, low=0.0, low_allowed=False
        )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if None in input_shape[1:] or min(input_shape[1:3]) < self.size:
            raise ValueError(
                f"Images must be of a known size, at least {self.size} x {self.size}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        filters = 2 * self.size**2 * input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.size, self.size, input_shape[-1], filters),
            initializer="zeros",
            trainable=False,
        )
        self.bias = self.add_weight(name="bias", shape=(filters,), initializer="zeros")
        self.built = True

    def adapt(self, images):
        """Computes the filters from images.

        Args:
            images: Images [N, height, width, channels] as the layer gets them, such
                as pixels minus their mean, over their standard deviation. Of more than
                5,000, as many are taken at even distances.

        Raises:
            ValueError: `images` is no array of images with finite values.
        """
        images = np.asarray(images[evenly_spaced(len(images))], dtype="float32")
        if images.ndim != 4 or not images.size or not np.isfinite(images).all():
            raise ValueError(
                "`images` must be finite numbers [N, height, width, channels]. "
                f"Received: images of the shape {images.shape}"
            )
        if not self.built:
            self.build(images.shape)
        self.kernel.assign(whitening_filters(images, self.size, self.epsilon))

    def call(self, images):
        outputs = ops.conv(images, self.kernel, data_format="channels_last")
        return outputs + self.bias

    def compute_output_shape(self, input_shape):
        count, height, width, channels = input_shape
        sides = (height - self.size + 1, width - self.size + 1)
        return (count, *sides, 2 * self.size**2 * channels)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "epsilon": self.epsilon}


def evenly_spaced(count):
    """Places of at most 5,000 images, in all classes where those are sorted."""
    return np.linspace(0, count - 1, min(count, _MOST_IMAGES)).astype(int)


def whitening_filters(images, size, epsilon):
    """Filters [size, size, channels, 2 size^2 channels] that whiten patches."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), (1, 2))
    channels = images.shape[-1]
    moments = np.zeros((channels * size**2,) * 2)
    # Image by image: all patches at once would take size^2 times the memory.
    for of_image in windows:
        patches = of_image.reshape(-1, channels * size**2)
        moments += patches.T.astype("float64") @ patches
    values, vectors = np.linalg.eigh(moments / windows[..., 0, 0, 0].size)
    # The sign of an eigenvector is free: here its largest entry is positive.
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(len(vectors))])
    filters = vectors / np.sqrt(np.maximum(values, 0.0) + epsilon)
    filters = filters.reshape(channels, size, size, -1).transpose(1, 2, 0, 3)
    return np.concatenate([filters, -filters], axis=-1)
