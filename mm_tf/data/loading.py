"""From the name of a data set to its images."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_tf.data import prepared
from mm_tf.data._checks import check_path
from mm_tf.data.custom.csv_file import list_csv, read_csv
from mm_tf.data.custom.folders import list_folder, read_folder
from mm_tf.data.custom.listing import data_file, pieces_of_listing
from mm_tf.data.custom.npz import read_npz
from mm_tf.data.custom.options import ReadOptions
from mm_tf.data.custom.tfds import read_tfds
from mm_tf.data.dataset import (
    CUSTOM_DATASETS,
    DATASETS,
    TFDS_PREFIX,
    DatasetInfo,
    ImageData,
    Split,
    check_name,
    in_order,
)
from mm_tf.data.images.digests import digest_of, pieces_of_file

_DIGITS_TEST_IMAGES_PER_CLASS = 50

_READERS: Mapping[str, Any] = {"folder": read_folder, "csv": read_csv, "npz": read_npz}
LISTS: Mapping[str, Any] = {"folder": list_folder, "csv": list_csv}

_Splits = tuple[Split, Split]


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    options: ReadOptions | None = None,
    download: bool = True,
) -> ImageData:
    """Reads a data set.

    | name | what | `data_dir` |
    |---|---|---|
    | `"digits"` | comes with scikit-learn | without a meaning |
    | `"cifar10"`, `"cifar100"` | through `tensorflow_datasets` | its folder |
    | `"tfds:NAME"` | any other, see `read_tfds` | its folder |
    | `"folder"` | a folder for each class, see `read_folder` | the folder |
    | `"csv"` | columns path and label, see `read_csv` | the file |
    | `"npz"` | arrays, see `read_npz` | the file |

    The images of `digits`, CIFAR and `tfds` are read into memory. Each split is in one
    order, by class and then by pixels, however it is stored. So the same seed draws the
    same subset from every copy of a data set.

    CIFAR is downloaded and prepared on first use. The last 50 images of each class of
    `digits` are the test images, whatever seed a run uses.

    On a Keras backend other than TensorFlow, reading CIFAR and `tfds` hides the GPUs
    from TensorFlow, which would otherwise take their memory from that backend.

    Args:
        name: One of the names above.
        data_dir: The folder or file; `~` is expanded. For CIFAR and `tfds` the folder
            in which `tensorflow_datasets` keeps prepared data sets; one that does
            not exist is an error, so that a mistyped path does not start a
            download. Defaults to `None`, for them: the folder in the environment
            variable `TFDS_DATA_DIR`, or else `~/tensorflow_datasets`.
        options: How custom data and `tfds:NAME` are read. Defaults to `None`, the
            defaults of `ReadOptions`.
        download: Whether CIFAR and `tfds:NAME` may be downloaded. Defaults to `True`.

    Returns:
        The data set, an `ImageData`.

    Raises:
        ValueError: If there is no such data set, or no such folder `data_dir`; for
            `digits` and CIFAR, if there are `options`; for the reasons of the
            readers.
        DatasetUnavailableError: If the data set is not prepared in that folder
            and cannot be downloaded, if what is there cannot be read, or if the
            package that it needs is not installed.

    Example:

    >>> from mm_tf.data import load
    >>> data = load("digits")
    >>> data.train_images.shape, data.test_images.shape
    ((1297, 8, 8, 1), (500, 8, 8, 1))
    """
    check_name(name)
    if name in DATASETS:
        if options is not None:
            raise ValueError(
                f"`options` must be None for {name}, which is read in one way. "
                f"Received: options={options!r}"
            )
        info = DATASETS[name]
        (train, test), class_names = (
            _read_digits(info)
            if name == "digits"
            else _read_cifar(info, data_dir, download)
        )
        return ImageData(info, *in_order(*train), *in_order(*test), class_names)
    if name.startswith(TFDS_PREFIX):
        return read_tfds(name.removeprefix(TFDS_PREFIX), data_dir, options, download)
    return _READERS[name](data_dir, options)


def data_digest(name: str, data_dir: str | os.PathLike[str] | None) -> str | None:
    """A digest of custom data, by which changed images are noticed.

    For a folder or a CSV file it covers each image's name, class, split and size in
    bytes, and the first 64 KiB of up to 256 files, evenly spread; for an archive, all
    of it. None for other data sets.
    """
    if name not in CUSTOM_DATASETS:
        return None
    place = check_path("data_dir", data_dir)
    try:
        if name == "npz":
            return digest_of(pieces_of_file(data_file(place, ".npz")))
        return digest_of(pieces_of_listing(LISTS[name](place)))
    except OSError as error:
        raise ValueError(
            f"`data_dir` cannot be read ({error.strerror or error}). "
            f"Received: data_dir={place!r}"
        ) from None


def _read_digits(info: DatasetInfo) -> tuple[_Splits, tuple[str, ...]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise prepared.not_installed(info.name, "scikit-learn") from None
    digits = load_digits()
    images = np.round(digits.images[..., np.newaxis] * 255 / 16).astype(np.uint8)
    is_test = np.zeros(len(images), dtype=bool)
    for label in range(info.num_classes):
        members = np.flatnonzero(digits.target == label)
        is_test[members[-_DIGITS_TEST_IMAGES_PER_CLASS:]] = True
    train = images[~is_test], digits.target[~is_test]
    test = images[is_test], digits.target[is_test]
    return (train, test), tuple(str(name) for name in digits.target_names)


def _read_cifar(
    info: DatasetInfo, data_dir: str | os.PathLike[str] | None, download: bool
) -> tuple[_Splits, tuple[str, ...]]:
    builder = prepared.prepared_builder(info.name, data_dir, download)
    with prepared.reading(info.name, builder):
        import tensorflow_datasets as tfds

        splits = builder.as_dataset(
            split=["train", "test"], batch_size=-1, as_supervised=True
        )
        train, test = tfds.as_numpy(splits)
        names = tuple(builder.info.features["label"].names)
        _check_complete(info, train[1])
    return (train, test), names


def _check_complete(info: DatasetInfo, labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=info.num_classes)
    if set(counts.tolist()) != {info.images_per_class}:
        raise ValueError(
            f"{len(labels)} training images instead of "
            f"{info.num_classes * info.images_per_class}, "
            f"or not {info.images_per_class} of every class"
        )
