"""The networks of `keras.applications` as backbones: names, pixels, weights.

The table does not need Keras, so that a wrong name is refused at once. Some families
scale pixels inside the model, for others `preprocess_input` of `keras.applications`
does.
"""

import contextlib
import pathlib
import random
import re
from types import MappingProxyType
from typing import NamedTuple

from mm_tf import _checks
from mm_tf._text import first_line

IMAGENET = "imagenet"

# Pixels a side that `models.whitened_cnn` needs: one is left after three halvings.
SMALLEST_WHITENED = 9

# As `keras.applications.imagenet_utils.preprocess_input` names them: pixels in
# [-1, 1]; in [0, 1] and normalized by ImageNet's channels; BGR without its mean.
# And "inside", where the model itself takes pixels from 0 to 255.
SCALINGS = ("inside", "tf", "torch", "caffe")

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# {scaling: (what pixels are multiplied by, what is added then)}
_RESCALED = {
    "tf": (1 / 127.5, -1.0),
    "torch": (
        [1 / (255 * std) for std in _STD],
        [-mean / std for mean, std in zip(_MEAN, _STD, strict=True)],
    ),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),
}


class WeightsError(ValueError):
    """Weights of a backbone cannot be read, or belong to another network."""


class Application(NamedTuple):
    """What is done to a network's pixels, and the smallest size that it takes."""

    scaling: str
    smallest: int


# Families: names with what varies, what is done to pixels, the smallest size.
_FAMILIES = (
    ("ConvNeXt{}", ("Tiny", "Small", "Base", "Large", "XLarge"), "inside", 32),
    ("DenseNet{}", ("121", "169", "201"), "torch", 32),
    ("EfficientNetB{}", tuple("01234567"), "inside", 32),
    ("EfficientNetV2{}", ("B0", "B1", "B2", "B3", "S", "M", "L"), "inside", 32),
    ("Inception{}", ("V3", "ResNetV2"), "tf", 75),
    ("MobileNet{}", ("", "V2"), "tf", 32),
    ("MobileNetV3{}", ("Small", "Large"), "inside", 32),
    ("NASNet{}", ("Mobile", "Large"), "tf", 32),
    ("ResNet{}", ("50", "101", "152"), "caffe", 32),
    ("ResNet{}V2", ("50", "101", "152"), "tf", 32),
    ("VGG{}", ("16", "19"), "caffe", 32),
    ("Xception{}", ("",), "tf", 71),
)

APPLICATIONS = MappingProxyType(
    {
        pattern.format(part): Application(scaling, smallest)
        for pattern, parts, scaling, smallest in _FAMILIES
        for part in parts
    }
)


def check_size(name, height, width, argument="input_shape"):
    """Raises a ValueError if a network does not take images of a size in pixels."""
    smallest = APPLICATIONS[name].smallest
    if min(height, width) < smallest:
        raise ValueError(
            f"`{argument}` must be at least {smallest} x {smallest} pixels for {name}. "
            f"Received: {height} x {width}"
        )


@contextlib.contextmanager
def channels_last():
    """Makes Keras build layers for channels last, whatever its settings file says."""
    import keras

    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


@channels_last()
def build(name, input_shape, weights=None, seed=None):
    """Builds a network of `keras.applications` without its head.

    Args:
        name: Its name there, as `"EfficientNetV2B0"`.
        input_shape: Height, width and channels, 1 or 3, of the images. One channel
            becomes three equal ones.
        weights: None to draw them; `"imagenet"`, which Keras downloads, or finds in
            its cache; or the path of a file that `save_weights` of such a network
            wrote (`.weights.h5` or `.h5`), or that Keras publishes without the top
            (`..._notop.h5`).
        seed: An integer >= 0, for the same initial weights and the same dropout in
            every run; None for others.

    Returns:
        A `keras.Model`, pixels [N, height, width, channels] from 0 to 255 in, pooled
        features [N, D] out.

    Raises:
        ValueError: An argument is not as described, or images are too small.
        WeightsError: The weights cannot be downloaded or read, or belong to another
            network.

    Example:

    >>> from mm_tf import backbones
    >>> backbones.build("MobileNetV3Small", (32, 32, 3)).output_shape
    (None, 576)
    """
    import keras

    if name not in APPLICATIONS:
        raise ValueError(
            "`name` must be a network of keras.applications, one of "
            f"{', '.join(APPLICATIONS)}.{_checks.nearest(name, APPLICATIONS)} "
            f"Received: name={name!r}"
        )
    height, width, channels = (
        _checks.check_integer("input_shape", size, low=1) for size in input_shape
    )
    check_size(name, height, width)
    if channels not in (1, 3):
        raise ValueError(
            "`input_shape` must have 1 or 3 channels. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    with _drawing(seed):
        network = _network(name, (height, width, 3), weights)
        inputs = keras.Input((height, width, channels))
        x = inputs
        if channels == 1:
            x = keras.layers.Concatenate(name="three_channels")([x, x, x])
        x = scale(x, APPLICATIONS[name].scaling)
        published = _published_efficientnet(name, network, weights)
        if published is not None:
            x = published(x)
        return keras.Model(inputs, network(x), name=f"backbone_{name}")


def scale(pixels, scaling):
    """Pixels from 0 to 255 as a network wants them.

    | scaling | what becomes of a pixel x |
    |---|---|
    | `"inside"` | x: the network scales it itself |
    | `"tf"` | x / 127.5 - 1, in [-1, 1] |
    | `"torch"` | (x / 255 - mean) / std, of ImageNet's channels |
    | `"caffe"` | x - mean of ImageNet's channels, in the order blue, green, red |

    Args:
        pixels: Images [N, height, width, channels], a `keras.KerasTensor` or floats;
            for `"torch"` and `"caffe"` of three channels, red first.
        scaling: One of `SCALINGS`, as `keras.applications` names what its networks
            want.

    Returns:
        The same of the same shape.

    Raises:
        ValueError: `scaling` is none of them.

    Example:

    >>> import keras
    >>> from mm_tf import backbones
    >>> images = keras.Input((32, 32, 3))
    >>> model = keras.Model(images, backbones.scale(images, "tf"))
    >>> white = keras.ops.full((1, 32, 32, 3), 255.0)
    >>> float(keras.ops.max(model(white)))
    1.0

    Source: `keras.applications.imagenet_utils.preprocess_input`.
    """
    import keras

    _checks.check_choice("scaling", scaling, SCALINGS)
    if scaling == "inside":
        return pixels
    if scaling == "caffe":
        pixels = keras.ops.flip(pixels, axis=-1)
    return keras.layers.Rescaling(*_RESCALED[scaling], name="pixels")(pixels)


def scaling_of(backbone):
    """What a backbone expects, as `SCALINGS` names it; None if that is not known.

    What touches the pixels first decides: a convolution or padding takes them as its
    network in `keras.applications` does, and anything else scales them itself.
    """
    import keras

    network = first = backbone
    while isinstance(first, keras.Model):
        network = first
        parts = getattr(network, "operations", network.layers)
        inside = [p for p in parts if not isinstance(p, keras.layers.InputLayer)]
        first = inside[0] if inside else None
    unscaled = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
        keras.layers.ZeroPadding2D,
    )
    if not isinstance(first, unscaled):
        return "inside"
    # The names that Keras gives, as mobilenetv2_1.00_224.
    name = re.sub("[-_]", "", network.name.lower())
    known = [each for each in APPLICATIONS if name.startswith(each.lower())]
    scaling = APPLICATIONS[max(known, key=len)].scaling if known else "inside"
    return None if scaling == "inside" else scaling


@contextlib.contextmanager
def _drawing(seed):
    """Makes what Keras draws by itself the same for a seed.

    `keras.applications` takes no seed: its initializers and dropouts draw theirs
    from Python's generator (`keras.src.random.make_default_seed`).
    """
    if seed is None:
        yield
        return
    before = random.getstate()
    random.seed(_checks.check_integer("seed", seed, low=0))
    try:
        yield
    finally:
        random.setstate(before)


def _network(name, input_shape, weights):
    import keras

    make = getattr(keras.applications, name)
    arguments = dict(include_top=False, input_shape=input_shape, pooling="avg")
    if weights is None:
        return make(weights=None, **arguments)
    if weights == IMAGENET:
        try:
            return make(weights=IMAGENET, **arguments)
        except Exception as error:  # No network, no space, a hash that differs, ...
            raise WeightsError(
                f"`weights`: those of {name} on ImageNet cannot be downloaded "
                f"({first_line(error)}). On a computer without internet, download "
                f"them on another one by keras.applications.{name}(include_top=False), "
                "copy the file from the folder ~/.keras/models there, and give its "
                f"path as weights. Received: weights={weights!r}"
            ) from None
    path = check_file(weights)
    network = make(weights=None, **arguments)
    try:
        network.load_weights(path)
    except Exception as error:  # Keras and HDF5 fail in many ways on a damaged file.
        raise WeightsError(
            f"`weights` must be of {name} without its top ({first_line(error)}). "
            f"Received: weights={str(path)!r}"
        ) from None
    return network


def check_file(weights):
    """Returns the path of a file of weights, or raises a `WeightsError`."""
    path = pathlib.Path(weights).expanduser()
    if not path.is_file() or path.suffix not in (".h5", ".hdf5"):
        raise WeightsError(
            f"`weights` must be {IMAGENET} or a file .weights.h5 or .h5 that is there. "
            f"Received: weights={str(weights)!r}"
        )
    return path


def _published_efficientnet(name, network, weights):
    """What the published weights of EfficientNet need before the network.

    Built for `imagenet`, Keras's network divides once more behind its normalization,
    and built for a file of the same weights it does not
    (`keras/src/applications/efficientnet.py`). Published weights are recognized by
    the statistics in the normalization: drawn ones have none.
    """
    import keras
    import numpy as np

    if not name.startswith("EfficientNetB") or weights in (None, IMAGENET):
        return None
    (normalization,) = (
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.Normalization)
    )
    mean = keras.ops.convert_to_numpy(normalization.mean).ravel()
    variance = keras.ops.convert_to_numpy(normalization.variance).ravel()
    if np.array_equal(mean, np.zeros(3)) and np.array_equal(variance, np.ones(3)):
        return None
    # c (x / 255 - mean) = (c x + 255 mean (1 - c)) / 255 - mean
    factor = 1 / np.sqrt(_STD)
    return keras.layers.Rescaling(
        factor.tolist(), offset=(255 * mean * (1 - factor)).tolist(), name="published"
    )
