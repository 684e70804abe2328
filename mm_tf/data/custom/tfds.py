"""Images and labels of any data set of TensorFlow Datasets."""

import os
from typing import Any

import numpy as np

from mm_tf.data import prepared
from mm_tf.data.custom.assembly import image_data
from mm_tf.data.custom.options import DEFAULT_SIZE, ReadOptions, check_options
from mm_tf.data.dataset import ImageData, Split, in_order
from mm_tf.data.images.decoding import decode
from mm_tf.data.images.image_files import check_image_size, in_threads

_IMAGES_AT_ONCE = 100


def read_tfds(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    options: ReadOptions | None = None,
    download: bool = True,
) -> ImageData:
    """Reads images and labels of a data set of TensorFlow Datasets into memory.

    It is downloaded and prepared if it is not there and `download` allows it. Its
    split `test` is the test set, or `validation` where there is no `test` with
    labels; with neither, test images are taken from `train` (see
    `mm_tf.data.splits.stratified_split`).
    Images are decoded, resized and cropped as those of files, and come in one order,
    by class and then by pixels.

    Args:
        name: The name by which `tfds` knows it, perhaps with a config and a version,
            as `"cats_vs_dogs"` or `"imagenet_resized/32x32"`.
        data_dir: Folder in which `tfds` keeps prepared data sets; `~` is expanded.
            Defaults to `None`: the folder in the environment variable
            `TFDS_DATA_DIR`, or else `~/tensorflow_datasets`.
        options: How to read. What is read must fit into `memory_limit`; while it is
            sorted and split there is as much again. Defaults to `None`, the defaults
            of `ReadOptions`.
        download: Whether it may be downloaded. Defaults to `True`.

    Returns:
        An `ImageData` whose images are arrays.

    Raises:
        ValueError: If there is no folder `data_dir`, if the data set has no image
            with one class, or too many images for `memory_limit`.
        DatasetUnavailableError: If the data set is not prepared in that folder
            and cannot be downloaded, if what is there cannot be read, or if `tfds`
            is not installed.

    Example:

    >>> from mm_tf.data import read_tfds
    >>> read_tfds("mnist", data_dir="no_such_folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: `data_dir` must be an existing folder...
    """
    options = check_options(options)
    builder = prepared.prepared_builder(name, data_dir, download=download)
    image, label = _tfds_keys(name, builder)
    features, splits = builder.info.features, builder.info.splits
    *own_size, own_channels = features[image].shape
    size: Any = DEFAULT_SIZE if None in own_size else own_size
    height, width = check_image_size(options.image_size or size)
    channels = options.channels or (1 if own_channels == 1 else 3)
    numbers = {split: part.num_examples for split, part in splits.items()}
    _check_memory(name, numbers, height * width * channels, options.memory_limit)

    def decoded(content: bytes) -> np.ndarray:
        return decode(name, (height, width), channels, content)

    def read(split: str) -> Split | None:
        import tensorflow_datasets as tfds

        images = np.empty((numbers[split], height, width, channels), np.uint8)
        labels = np.empty(len(images), np.int64)
        skip = {image: tfds.decode.SkipDecoding()}
        first = 0
        with prepared.reading(name, builder):
            examples = builder.as_dataset(split=split, decoders=skip)
            pairs = examples.map(lambda example: (example[image], example[label]))
            for contents, classes in tfds.as_numpy(pairs.batch(_IMAGES_AT_ONCE)):
                part = slice(first, first + len(contents))
                images[part] = in_threads(options.num_threads, decoded, contents)
                labels[part] = classes
                first = part.stop
        # The labels of some test sets are secret; -1 stands for them.
        return in_order(images, labels) if labels.min() >= 0 else None

    parts: dict[str, Split] = {}
    for split, wanted in (("train", "train"), ("test", "test"), ("validation", "test")):
        if split in numbers and wanted not in parts:
            found = read(split)
            if found is not None:
                parts[wanted] = found
    what, names = f"TensorFlow Datasets, {name}", features[label].names
    return image_data(f"tfds:{name}", what, parts, names, options)


def _check_memory(name: str, numbers: dict[str, int], size: int, limit: int) -> None:
    """Refuses more images, each of `size` bytes, than `limit` has room for."""
    if "train" not in numbers:
        raise ValueError(
            "A data set of tfds must have the split train. Received: "
            f"{name} with {', '.join(numbers)}"
        )
    tests = (numbers.get(split, 0) for split in ("test", "validation"))
    number = numbers["train"] + max(tests)
    if number * size > limit:
        raise ValueError(
            f"`memory_limit` must be at least {number * size:,} for the {number:,} "
            f"images of {name}; images in files need not fit into memory. "
            f"Received: memory_limit={limit}"
        )


def _tfds_keys(name: str, builder: Any) -> tuple[str, str]:
    """The names of the image and of its class."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    for keys in (builder.info.supervised_keys or (), features):
        names = [key for key in keys if isinstance(key, str)]
        images, labels = (
            [key for key in names if isinstance(features[key], kind)]
            for kind in (tfds.features.Image, tfds.features.ClassLabel)
        )
        if len(images) == len(labels) == 1:
            return images[0], labels[0]
    raise ValueError(
        "A data set of tfds must have one image with one class. Received: "
        f"{name} with {', '.join(sorted(features))}"
    )
