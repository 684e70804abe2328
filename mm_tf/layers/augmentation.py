"""Random changes of images, in training only: crops, flips, covered squares."""

import keras
import numpy as np
from keras import ops

from mm_tf import _checks, _replicas


class _RandomImages(keras.layers.Layer):
    """Images in, images of the same shape and dtype out, random in training only."""

    def __init__(self, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if seed is not None:
            # Keras keeps seeds as uint32.
            seed = _checks.check_integer("seed", seed, low=0, high=2**32 - 1)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if None in input_shape[1:]:
            raise ValueError(
                "Images must have a known size to be changed at random. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.built = True

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(self, images, training=False):
        return keras.KerasTensor(images.shape, dtype=images.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("mm_tf")
class RandomPaddedCrop(_RandomImages):
    """Pads images and crops each back to its size at a random place.

    In training only; otherwise images pass unchanged. Each image of a batch has
    a crop of its own.

    Args:
        padding: Pixels added on every side, >= 0.
        seed: An integer >= 0, for the same crops in every run; None for others.
        border: What is added: `"black"`, or `"reflect"`, the image mirrored at its
            outermost pixels, of which it must then have more than `padding`. Defaults
            to `"black"`.
        **kwargs: As for `keras.layers.Layer`.

    Input and output shape: [N, height, width, channels], the values unchanged in
    dtype and range.

    Raises:
        ValueError: `padding` or `seed` is no integer >= 0, `border` is none of its
            two names, or the inputs are no images of a known size, large enough.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> images = np.full((8, 32, 32, 3), 255, "uint8")
    >>> crop = mm_tf.layers.RandomPaddedCrop(padding=4, seed=1)
    >>> crop(images, training=True).shape == images.shape
    True

    Source: He et al., "Deep Residual Learning for Image Recognition", 2016,
    section 4.2.
    """

    def __init__(self, padding=4, seed=None, border="black", **kwargs):
        super().__init__(seed, **kwargs)
        self.padding = _checks.check_integer("padding", padding, low=0)
        self.border = _checks.check_choice("border", border, ("black", "reflect"))

    def build(self, input_shape):
        super().build(input_shape)
        if self.border == "reflect" and min(input_shape[1:3]) <= self.padding:
            raise ValueError(
                f"Images must have more than {self.padding} pixels a side. "
                f"Received: input_shape={tuple(input_shape)}"
            )

    def call(self, images, training=False):
        if not training or self.padding == 0:
            return images
        count = ops.shape(images)[0]
        height, width, channels = images.shape[1:]
        if self.border == "black":
            border = (self.padding, self.padding)
            images = ops.pad(images, ((0, 0), border, border, (0, 0)))
        stored_height, stored_width = images.shape[1:3]
        corners = _replicas.draw(
            lambda number: keras.random.randint(
                (number, 2),
                0,
                2 * self.padding + 1,
                dtype="int32",
                seed=self.seed_generator,
            ),
            count,
        )
        rows = corners[:, :1] + ops.arange(height, dtype="int32")
        columns = corners[:, 1:] + ops.arange(width, dtype="int32")
        if self.border == "reflect":
            rows = _reflected(rows - self.padding, height)
            columns = _reflected(columns - self.padding, width)
        image_of = ops.reshape(ops.arange(count, dtype="int32"), (-1, 1, 1))
        pixel_of = (
            image_of * stored_height + ops.expand_dims(rows, 2)
        ) * stored_width + ops.expand_dims(columns, 1)
        pixels = ops.reshape(images, (-1, channels))
        return ops.take(pixels, pixel_of, axis=0)

    def get_config(self):
        return {**super().get_config(), "padding": self.padding, "border": self.border}


def _reflected(positions, size):
    """Positions outside of 0 to size - 1, mirrored at the ends."""
    return (size - 1) - abs((size - 1) - abs(positions))


@keras.saving.register_keras_serializable("mm_tf")
class RandomHorizontalFlip(_RandomImages):
    """Mirrors each image, left to right, with the probability 1/2.

    In training only; otherwise images pass unchanged. Unlike
    `keras.layers.RandomFlip` it draws anew for each image of the batch under
    `tf.distribute.MirroredStrategy` too, where the parts of a batch would have the
    same flips, and it leaves the images' dtype as it is.

    Args:
        seed: An integer >= 0, for the same flips in every run; None for others.
        **kwargs: As for `keras.layers.Layer`.

    Input and output shape: [N, height, width, channels], the values unchanged in
    dtype and range.

    Raises:
        ValueError: `seed` is no integer >= 0.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> images = np.zeros((8, 32, 32, 3), "uint8")
    >>> flip = mm_tf.layers.RandomHorizontalFlip(seed=1)
    >>> flip(images, training=True).shape == images.shape
    True
    """

    def call(self, images, training=False):
        if not training:
            return images
        drawn = _replicas.draw(
            lambda number: keras.random.uniform(
                (number, 1, 1, 1), seed=self.seed_generator
            ),
            ops.shape(images)[0],
        )
        return ops.where(drawn <= 0.5, ops.flip(images, axis=2), images)


@keras.saving.register_keras_serializable("mm_tf")
class Cutout(_RandomImages):
    """Covers a square of each image at a random place.

    In training only; otherwise images pass unchanged. The square's middle is drawn
    from all pixels, so that a part of the square may lie outside of the image.

    Args:
        size: The square's side in pixels, >= 0; 16 is usual for images of 32.
        color: The value of covered pixels, a number or one a channel: the mean of the
            images, so that they are 0 when normalized. Defaults to 0.
        seed: An integer >= 0, for the same squares in every run; None for others.
        **kwargs: As for `keras.layers.Layer`.

    Input and output shape: [N, height, width, channels], of the same dtype.

    Raises:
        ValueError: `size` or `seed` is no integer >= 0, or `color` no finite numbers.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> images = np.full((1, 32, 32, 3), 255.0, "float32")
    >>> covered = mm_tf.layers.Cutout(64, color=127)(images, training=True)
    >>> float(covered[0, 5, 5, 0])
    127.0

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural
    Networks with Cutout", 2017.
    """

    def __init__(self, size=16, color=0.0, seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.size = _checks.check_integer("size", size, low=0)
        numbers = _checks.as_numbers(color)
        if numbers is None or numbers.ndim > 1 or not np.all(np.isfinite(numbers)):
            raise ValueError(
                "`color` must be a finite number, or one for each channel. "
                f"Received: color={color!r}"
            )
        self.color = numbers.tolist()

    def call(self, images, training=False):
        if not training or self.size == 0:
            return images
        height, width = images.shape[1:3]
        drawn = _replicas.draw(
            lambda number: keras.random.uniform((number, 2), seed=self.seed_generator),
            ops.shape(images)[0],
        )
        rows, columns = (
            self._is_covered(drawn[:, axis, None], side)
            for axis, side in enumerate((height, width))
        )
        covered = ops.logical_and(rows[:, :, None, None], columns[:, None, :, None])
        color = ops.cast(ops.convert_to_tensor(self.color), images.dtype)
        return ops.where(covered, color, images)

    def _is_covered(self, drawn, side):
        """Which of the rows, or columns, of each image are covered, bool [N, side]."""
        first = ops.cast(ops.floor(drawn * side), "int32") - self.size // 2
        pixels = ops.arange(side, dtype="int32")
        return ops.logical_and(pixels >= first, pixels < first + self.size)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "color": self.color}
