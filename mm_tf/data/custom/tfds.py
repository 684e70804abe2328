"""Images and labels of any data set of TensorFlow Datasets."""

import math
import os
from typing import Any

import numpy as np

from mm_tf.data import prepared
from mm_tf.data.custom.assembly import image_data
from mm_tf.data.custom.decoding import decode_bytes
from mm_tf.data.custom.image_files import Threads, available_cores, check_image_size
from mm_tf.data.custom.options import DEFAULT_SIZE, ReadOptions, check_options
from mm_tf.data.dataset import ImageData, Split, in_order

_IMAGES_AT_ONCE = 100


def read_tfds(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    options: ReadOptions | None = None,
) -> ImageData:
    """Reads images and labels of a data set of TensorFlow Datasets into memory.

    It is downloaded and prepared if it is not there. Its split `test` is the test
    set, or `validation` where there is no `test` with labels; with neither, test
    images are taken from `train` (see `mm_tf.data.splits.stratified_split`).
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
    builder = prepared.prepared_builder(name, data_dir)
    source = _TfdsSource(name, builder, options)
    parts: dict[str, Split] = {}
    for split, wanted in (("train", "train"), ("test", "test"), ("validation", "test")):
        if wanted not in parts and split in builder.info.splits:
            part = source.read(split)
            if part is not None:
                parts[wanted] = part
    return image_data(
        f"tfds:{name}",
        f"TensorFlow Datasets, {name}",
        parts,
        source.names,
        options,
    )


class _TfdsSource:
    """The images and classes of a data set of `tfds`."""

    def __init__(self, name: str, builder: Any, options: ReadOptions):
        self._name, self._builder = name, builder
        self._image, self._label = _tfds_keys(name, builder)
        features = builder.info.features
        self.names = tuple(features[self._label].names)
        *own_size, own_channels = features[self._image].shape
        size: Any = DEFAULT_SIZE if None in own_size else own_size
        height, width = check_image_size(options.image_size or size)
        channels = options.channels or (1 if own_channels == 1 else 3)
        self._image_shape: tuple[int, int, int] = height, width, channels
        self._threads = Threads(options.num_threads or available_cores())
        self._check_memory(options.memory_limit)

    def _check_memory(self, limit: int) -> None:
        splits = self._builder.info.splits
        if "train" not in splits:
            raise ValueError(
                "A data set of tfds must have the split train. Received: "
                f"{self._name} with {', '.join(splits)}"
            )
        tests = [self._number(s) for s in ("test", "validation") if s in splits]
        number = self._number("train") + max(tests, default=0)
        needed = number * math.prod(self._image_shape)
        if needed > limit:
            raise ValueError(
                f"`memory_limit` must be at least {needed:,} for the {number:,} images "
                f"of {self._name}; images in files need not fit into memory. "
                f"Received: memory_limit={limit}"
            )

    def _number(self, split: str) -> int:
        return self._builder.info.splits[split].num_examples

    def read(self, split: str) -> Split | None:
        """Images and classes of a split, in order; None where they are secret."""
        images = np.empty((self._number(split), *self._image_shape), np.uint8)
        labels = np.empty(len(images), np.int64)
        with prepared.reading(self._name, self._builder):
            first = 0
            for contents, of_contents in self._batches(split):
                part = slice(first, first + len(contents))
                images[part] = self._threads.map(self._decode, contents)
                labels[part] = of_contents
                first = part.stop
        # The labels of some test sets are secret; -1 stands for them.
        return in_order(images, labels) if labels.min() >= 0 else None

    def _batches(self, split: str) -> Any:
        import tensorflow_datasets as tfds

        image, label = self._image, self._label
        examples = self._builder.as_dataset(
            split=split, decoders={image: tfds.decode.SkipDecoding()}
        )
        pairs = examples.map(lambda example: (example[image], example[label]))
        return tfds.as_numpy(pairs.batch(_IMAGES_AT_ONCE))

    def _decode(self, content: bytes) -> np.ndarray:
        *size, channels = self._image_shape
        return decode_bytes(content, self._name, (size[0], size[1]), channels)


def _tfds_keys(name: str, builder: Any) -> tuple[str, str]:
    """The names of the image and of its class."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    supervised = builder.info.supervised_keys
    if supervised and all(
        isinstance(key, str) and isinstance(features[key], kind)
        for key, kind in zip(supervised, kinds, strict=False)
    ):
        image, label, *_ = supervised
        return image, label
    found = [
        [key for key, feature in features.items() if isinstance(feature, kind)]
        for kind in kinds
    ]
    if [len(keys) for keys in found] != [1, 1]:
        raise ValueError(
            "A data set of tfds must have one image with one class. Received: "
            f"{name} with {', '.join(sorted(features))}"
        )
    return found[0][0], found[1][0]
