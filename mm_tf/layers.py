"""Layers: cosine head, random crops, ResNet's shortcut, batch normalization."""

import keras
from keras import ops

from mm_tf import _checks, _fused, _replicas

# As in PyTorch's `normalize`: a vector shorter than this is not stretched to 1.
_SMALLEST_NORM = 1e-12

# Keras keeps seeds as uint32.
_LARGEST_SEED = 2**32 - 1


@keras.saving.register_keras_serializable("mm_tf")
class NormalizedDense(keras.layers.Layer):
    r"""Cosines between the features and one weight vector a class.

    $$ z_j = \frac{x^\top w_j}{\lVert x \rVert \, \lVert w_j \rVert} $$

    It computes in float32 and gives float32 under half-precision policies too:
    the losses multiply cosines by a scale of 10 to 30, and with them the error
    of a rounded cosine.

    Args:
        units: The number of classes K, >= 1.
        kernel_initializer: Of the weight vectors. By default normal with a
            standard deviation that makes them about 1 long.
        **kwargs: As for `keras.layers.Layer`.

    Input shape: [..., D]. Output shape: [..., K], each in [-1, 1]. A feature
    vector of zeros has the cosine 0 with all classes.

    Raises:
        ValueError: `units` is no integer >= 1, `kernel_initializer` is none that
            Keras knows, or the inputs' last axis has no known size.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> head = mm_tf.layers.NormalizedDense(10)
    >>> cosines = head(np.random.default_rng(0).normal(size=(4, 64)))
    >>> cosines.shape == (4, 10) and float(abs(cosines.numpy()).max()) <= 1
    True

    Source: Kang, Vu, Yoo 2021, section 3.1 (after Cao et al. 2019).
    """

    def __init__(self, units, kernel_initializer=None, **kwargs):
        # Keras would cast the features to half precision before `call` sees them.
        super().__init__(autocast=False, **kwargs)
        self.units = _checks.check_integer("units", units, low=1)
        if kernel_initializer is None:
            kernel_initializer = keras.initializers.VarianceScaling(
                scale=1.0, mode="fan_in", distribution="untruncated_normal"
            )
        try:
            self.kernel_initializer = keras.initializers.get(kernel_initializer)
        except ValueError:
            raise ValueError(
                "`kernel_initializer` must be an initializer of Keras or its name. "
                f"Received: kernel_initializer={kernel_initializer!r}"
            ) from None

    def build(self, input_shape):
        if not input_shape or not input_shape[-1]:
            raise ValueError(
                "The inputs must have a last axis of a known size >= 1. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            autocast=False,
        )
        self.built = True

    def call(self, inputs):
        dtype = self._cosine_dtype
        features = _to_unit_length(ops.cast(inputs, dtype), axis=-1)
        kernel = _to_unit_length(ops.cast(self.kernel, dtype), axis=0)
        return ops.matmul(features, kernel)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self._cosine_dtype)

    @property
    def _cosine_dtype(self):
        is_half = self.variable_dtype in ("float16", "bfloat16")
        return "float32" if is_half else self.variable_dtype

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _checked_seed(seed):
    if seed is None:
        return None
    return _checks.check_integer("seed", seed, low=0, high=_LARGEST_SEED)


def _to_unit_length(vectors, axis):
    # The maximum stands inside the root, where it also bounds the gradient.
    squared = ops.sum(ops.square(vectors), axis=axis, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squared, _SMALLEST_NORM**2))


@keras.saving.register_keras_serializable("mm_tf")
class RandomPaddedCrop(keras.layers.Layer):
    """Pads images with black and crops each back to its size at a random place.

    In training only; otherwise images pass unchanged. Each image of a batch has
    a crop of its own.

    Args:
        padding: Pixels added on every side, >= 0.
        seed: An integer >= 0, for the same crops in every run; None for others.
        **kwargs: As for `keras.layers.Layer`.

    Input and output shape: [N, height, width, channels], the values unchanged in
    dtype and range.

    Raises:
        ValueError: `padding` or `seed` is no integer >= 0, or the inputs are no
            images of a known size.

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

    def __init__(self, padding=4, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.padding = _checks.check_integer("padding", padding, low=0)
        self.seed = _checked_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if None in input_shape[1:]:
            raise ValueError(
                "Images must have a known size to be cropped. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.built = True

    def call(self, images, training=False):
        if not training or self.padding == 0:
            return images
        count = ops.shape(images)[0]
        height, width, channels = images.shape[1:]
        border = (self.padding, self.padding)
        padded = ops.pad(images, ((0, 0), border, border, (0, 0)))
        padded_height, padded_width = padded.shape[1:3]
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
        image_of = ops.reshape(ops.arange(count, dtype="int32"), (-1, 1, 1))
        pixel_of = (
            image_of * padded_height + ops.expand_dims(rows, 2)
        ) * padded_width + ops.expand_dims(columns, 1)
        pixels = ops.reshape(padded, (-1, channels))
        return ops.take(pixels, pixel_of, axis=0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(self, images, training=False):
        return keras.KerasTensor(images.shape, dtype=images.dtype)

    def get_config(self):
        return {**super().get_config(), "padding": self.padding, "seed": self.seed}


@keras.saving.register_keras_serializable("mm_tf")
class RandomHorizontalFlip(keras.layers.Layer):
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

    def __init__(self, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.seed = _checked_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        self.built = True

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

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(self, images, training=False):
        return keras.KerasTensor(images.shape, dtype=images.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("mm_tf")
class PaddedShortcut(keras.layers.Layer):
    """The parameter-free shortcut of ResNets on CIFAR ("option A").

    Keeps every second row and column and adds channels of zeros, as many before
    as behind.

    Args:
        filters: The number of channels of the output.
        **kwargs: As for `keras.layers.Layer`.

    Input shape: [N, height, width, channels]. Output shape:
    [N, ceil(height / 2), ceil(width / 2), filters].

    Raises:
        ValueError: `filters` is no integer >= 1, or the inputs have more channels.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> mm_tf.layers.PaddedShortcut(32)(np.ones((1, 8, 8, 16), "float32")).shape[1:]
    TensorShape([4, 4, 32])

    Source: He et al., "Deep Residual Learning for Image Recognition", 2016,
    section 3.3.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = _checks.check_integer("filters", filters, low=1)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if input_shape[-1] is None:
            raise ValueError(
                "The inputs must have a known number of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        if input_shape[-1] > self.filters:
            raise ValueError(
                f"`filters` must be at least the {input_shape[-1]} channels of the "
                f"inputs. Received: filters={self.filters}"
            )
        self.built = True

    def call(self, inputs):
        missing = self.filters - inputs.shape[-1]
        before = missing // 2
        channels = (before, missing - before)
        return ops.pad(inputs[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), channels))

    def compute_output_shape(self, input_shape):
        count, height, width, _ = input_shape
        halved = [None if size is None else (size + 1) // 2 for size in (height, width)]
        return (count, *halved, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable("mm_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization that trains faster, with the weights of Keras's own.

    Keras computes mean, variance and output in separate passes over the
    activations, and the gradient in about ten. TensorFlow and torch have all of it in
    one operation, for images [N, height, width, channels]: there this layer uses it.
    On JAX, which compiles its passes into few by itself, it is Keras's layer.

    Args:
        **kwargs: As for `keras.layers.BatchNormalization`. With a mask, another
            axis than the last, `renorm`, `synchronized`, or without scale or center
            it is Keras's layer.

    Input and output shape: as of `keras.layers.BatchNormalization`.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> images = np.random.default_rng(0).normal(3.0, 2.0, size=(8, 4, 4, 2))
    >>> normalized = mm_tf.layers.BatchNormalization()(images, training=True)
    >>> round(float(np.std(normalized)), 2)
    1.0

    Source: Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    def call(self, inputs, training=None, mask=None):
        fused = None
        if training and self.trainable and mask is None and self._is_plain(inputs):
            fused = _fused.batch_normalization(
                inputs,
                ops.convert_to_tensor(self.gamma),
                ops.convert_to_tensor(self.beta),
                self.epsilon,
            )
        if fused is None:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = fused
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        return outputs

    def _is_plain(self, inputs):
        return (
            self.scale
            and self.center
            and self.axis in (-1, 3)
            and not (self.synchronized or getattr(self, "renorm", False))
            and len(inputs.shape) == 4
            and keras.backend.standardize_dtype(self.gamma.dtype) == "float32"
        )
