"""The data sets: what is known of each without reading it, and its images."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from mm_tf._checks import in_class_order, nearest
from mm_tf.data._checks import check_integers
from mm_tf.data.images.image_files import ImageFiles, Images, take
from mm_tf.data.imbalance import subsample


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without reading it.

    Attributes:
        name: Name by which `load` knows it.
        num_classes: Number of classes `K`.
        image_shape: Height, width and channels of an image.
        images_per_class: Training images of a class in the balanced training
            set, the `n_max` of the class counts. For custom data, those of the
            smallest class; `ImageData.class_counts` has the others.
        mean: Mean of each channel, where pixels are in [0, 1].
        std: Standard deviation of each channel, where pixels are in [0, 1].
        crop_padding: Black pixels on every side before a random crop of the
            image's own size.
        horizontal_flip: Whether a mirrored image still shows the same class.
        description: The data set in a sentence.
    """

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]
    images_per_class: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    horizontal_flip: bool
    description: str


_CIFAR: dict[str, Any] = dict(
    image_shape=(32, 32, 3),
    # CIFAR-10's; the published results use them for CIFAR-100 as well.
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    crop_padding=4,
    horizontal_flip=True,
)

_ROWS = (
    DatasetInfo(
        name="cifar10",
        num_classes=10,
        images_per_class=5000,
        description="Small color photographs of 10 kinds of things "
        "(Krizhevsky, 2009); 10,000 test images.",
        **_CIFAR,
    ),
    DatasetInfo(
        name="cifar100",
        num_classes=100,
        images_per_class=500,
        description="Small color photographs of 100 kinds of things "
        "(Krizhevsky, 2009); 10,000 test images.",
        **_CIFAR,
    ),
    DatasetInfo(
        name="digits",
        num_classes=10,
        image_shape=(8, 8, 1),
        images_per_class=124,
        # Measured on the training images.
        mean=(0.3058,),
        std=(0.3753,),
        crop_padding=1,
        # A mirrored digit is another sign.
        horizontal_flip=False,
        description="Tiny handwritten digits that come with scikit-learn "
        "(Alpaydin and Kaynak, 1998) and need no download; 500 test images.",
    ),
)

# Custom data: their format is the name of the data set.
CUSTOM_DATASETS = ("folder", "csv", "npz")
TFDS_PREFIX = "tfds:"

DATASETS = MappingProxyType({info.name: info for info in _ROWS})
DEFAULT_DATASET = "digits"


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """A data set, in memory or in files that are read when they are needed.

    Build one from your arrays and a `DatasetInfo` for data that `load` does not know.

    Attributes:
        info: The row of the data set.
        train_images: Training images, `uint8` [N, height, width, channels]: an array
            or an `ImageFiles`.
        train_labels: Their classes, `int64` [N], from 0 to `K - 1`.
        test_images: Test images, `uint8` [M, height, width, channels], likewise.
        test_labels: Their classes, `int64` [M].
        class_names: Name of each class, [K].
        notes: What a user should know about the reading, each a sentence.

    Raises:
        ValueError: If the arrays do not fit `info` or each other.
    """

    info: DatasetInfo
    train_images: Images
    train_labels: np.ndarray
    test_images: Images
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_is("info", self.info, DatasetInfo, "a `DatasetInfo`")
        for split in ("train", "test"):
            images = getattr(self, f"{split}_images")
            labels = getattr(self, f"{split}_labels")
            expected = "a NumPy array or an `ImageFiles`"
            _check_is(f"{split}_images", images, (np.ndarray, ImageFiles), expected)
            _check_is(f"{split}_labels", labels, np.ndarray, "a NumPy array")
            if labels.ndim != 1 or labels.dtype != np.int64:
                raise ValueError(
                    f"`{split}_labels` must be int64 of shape [N]. "
                    f"Received: {labels.dtype} of shape {labels.shape}"
                )
            shape = (len(labels), *self.info.image_shape)
            if images.shape != shape or images.dtype != np.uint8:
                raise ValueError(
                    f"`{split}_images` must be uint8 of shape {shape}. "
                    f"Received: {images.dtype} of shape {images.shape}"
                )
            if ((labels < 0) | (labels >= self.info.num_classes)).any():
                raise ValueError(
                    f"`{split}_labels` must be from 0 to {self.info.num_classes - 1}. "
                    f"Received: the values {np.unique(labels)}"
                )
        names = self.class_names
        if (
            isinstance(names, str)
            or not isinstance(names, (Sequence, np.ndarray))
            or not all(isinstance(name, str) for name in names)
            or len(names) != self.info.num_classes
        ):
            raise ValueError(
                f"`class_names` must hold {self.info.num_classes} names. "
                f"Received: class_names={names!r}"
            )

    @property
    def class_counts(self) -> np.ndarray:
        """Training images of each class, `int64` [K]."""
        return np.bincount(self.train_labels, minlength=self.info.num_classes)


def _check_is(name: str, value: Any, kind: Any, expected: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")


def check_name(name: Any, argument: str = "name") -> str:
    """Returns the name of a data set, without looking for the data set."""
    of_tfds = isinstance(name, str) and _OF_TFDS.fullmatch(name)
    choices = (*DATASETS, *CUSTOM_DATASETS, f"{TFDS_PREFIX}NAME")
    if not of_tfds and (name not in choices[:-1] or not isinstance(name, str)):
        raise ValueError(
            f"`{argument}` must be one of {', '.join(map(repr, choices))}."
            f"{nearest(name, choices)} Received: {argument}={name!r}"
        )
    return name


def dataset_at(data_dir: str | os.PathLike[str] | None) -> str:
    """The name of the data set at a path: a folder, a CSV file, or an archive.

    Without a path it is the data set that needs none.
    """
    if data_dir is None:
        return DEFAULT_DATASET
    path = pathlib.Path(data_dir).expanduser()
    kind = path.suffix.lower().removeprefix(".")
    return kind if kind in ("csv", "npz") and not path.is_dir() else "folder"


def imbalanced(
    data: ImageData, counts: Sequence[int] | np.ndarray, seed: int
) -> ImageData:
    """The data set with a subset of its training images and all test images.

    Args:
        data: The whole data set.
        counts: Training images of each class, integers [K]; see
            `mm_tf.data.class_counts`.
        seed: Seed of the subset; see `mm_tf.data.subsample`.

    Returns:
        A new `ImageData`.

    Raises:
        ValueError: If `counts` are not one number for each class, or for the
            reasons of `subsample`.

    Example:

    >>> from mm_tf.data import imbalanced, load, long_tailed_counts
    >>> counts = long_tailed_counts(124, 10, ratio=10)
    >>> subset = imbalanced(load("digits"), counts, seed=0)
    >>> len(subset.train_labels) == int(counts.sum())
    True
    """
    _check_is("data", data, ImageData, "an `ImageData`")
    counts = check_integers("counts", in_class_order(counts), low=1)
    if len(counts) != data.info.num_classes:
        raise ValueError(
            f"`counts` must hold one number for each of {data.info.num_classes} "
            f"classes. Received: counts={counts!r}"
        )
    chosen = subsample(data.train_labels, counts, seed)
    return dataclasses.replace(
        data,
        train_images=take(data.train_images, chosen),
        train_labels=data.train_labels[chosen],
    )


# Messages show it in commands to copy, where no sign may mean something to a shell.
_OF_TFDS = re.compile(rf"{TFDS_PREFIX}[\w./:=,+*-]+")

Split = tuple[np.ndarray, np.ndarray]


def in_order(images: np.ndarray, labels: np.ndarray) -> Split:
    """Sorts images in memory by class and then by pixels."""
    order = sorted(range(len(images)), key=lambda i: (labels[i], images[i].tobytes()))
    return images[order], labels[order].astype(np.int64)
