"""Images and labels in a NumPy archive, `.npz`."""

import os

import numpy as np

from mm_tf import _files
from mm_tf.data.custom.assembly import image_data
from mm_tf.data.custom.listing import class_order, data_file
from mm_tf.data.custom.options import ReadOptions, check_options
from mm_tf.data.dataset import ImageData, Split

# Names of arrays: as Keras's data sets have them, and MedMNIST.
_ARRAYS = (("x_{}", "y_{}"), ("{}_images", "{}_labels"))


def read_npz(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> ImageData:
    """Reads images and labels from a NumPy archive into memory.

    It holds `x_train`, `y_train`, `x_test`, `y_test`, or else `train_images`,
    `train_labels`, `test_images`, `test_labels`; or `images` and `labels`, without a
    split. Where there is `val` and no `test`, `val` is the test set; where there is
    neither, test images are taken from the training images (see
    `mm_tf.data.splits.stratified_split`; equal images never part). Images are
    `uint8` [N, height, width] or [N, height, width, 1 or 3], labels [N] or [N, 1]
    integers or strings; they stay in their order. If there is `class_names` [K],
    labels are from 0 to `K - 1`; otherwise the values that occur are the classes.
    Nothing that the archive may have pickled is loaded, and arrays may have 8 GiB,
    `memory_limit` or the size of the file, whichever is largest.

    Args:
        path: The `.npz` file, or a folder with no other one in it; `~` is expanded.
        options: How to read; only `test_fraction`, `split_seed`, `horizontal_flip`,
            `strict` and `memory_limit` count. `image_size` and `channels` must be
            `None` or what the images have. Defaults to `None`, the defaults of
            `ReadOptions`.

    Returns:
        An `ImageData` whose images are arrays.

    Raises:
        ValueError: If the archive is not as described.

    Example:

    >>> import os, tempfile
    >>> import numpy as np
    >>> from mm_tf.data import read_npz
    >>> path = os.path.join(tempfile.mkdtemp(), "noise.npz")
    >>> noise = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)
    >>> np.savez(path, images=noise, labels=["a", "b"] * 5)
    >>> data = read_npz(path)
    >>> data.train_images.shape, sorted(data.test_labels.tolist())
    ((8, 8, 8, 1), [0, 1])
    """
    options = check_options(options)
    file = data_file(path, ".npz")
    arrays = _read_arrays(file, options.memory_limit)
    splits, names = _numbered(file, _splits(file, arrays), arrays.get("class_names"))
    for images, _ in splits.values():
        *size, channels = images.shape[1:]
        for name, own in (("image_size", tuple(size)), ("channels", channels)):
            if getattr(options, name) not in (None, own):
                raise ValueError(
                    f"`{name}` must be None or {own}, as in {file}. "
                    f"Received: {name}={getattr(options, name)}"
                )
    what = f"the archive {os.path.basename(file)}"
    return image_data("npz", what, splits, names, options)


def _read_arrays(file: str, memory_limit: int) -> dict[str, np.ndarray]:
    try:
        # What is not compressed takes no more than the file does.
        least = max(_files.MOST_BYTES_OF_ARRAYS, os.path.getsize(file))
        return _files.read_arrays(file, max(least, memory_limit))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`data_dir` must be an .npz archive of plain arrays ({error}). "
            f"Received: {file}"
        ) from None


def _splits(file: str, arrays: dict[str, np.ndarray]) -> dict[str, Split]:
    """Images and labels of each split, their shapes checked."""
    names = {"train": ("images", "labels")}
    for image_name, label_name in _ARRAYS:
        for split in ("train", "val", "test"):
            of_split = image_name.format(split), label_name.format(split)
            if {*of_split} <= {*arrays}:
                names[split] = of_split
    if not {*names["train"]} <= {*arrays}:
        raise ValueError(
            "An archive must hold the arrays x_train, y_train, x_test, y_test; or "
            "train_images, train_labels, test_images, test_labels; or images, labels. "
            f"Received: {file} with {', '.join(sorted(arrays)) or 'none'}"
        )
    val = names.pop("val", None)
    if val is not None:
        names.setdefault("test", val)
    return {
        split: _check_split(file, arrays[images], arrays[labels])
        for split, (images, labels) in names.items()
    }


def _check_split(file: str, images: np.ndarray, labels: np.ndarray) -> Split:
    """Images [N, height, width, channels] and labels [N]."""
    shape = (*images.shape, 1) if images.ndim == 3 else images.shape
    if len(shape) != 4 or images.dtype != np.uint8 or shape[-1] not in (1, 3):
        raise ValueError(
            "Images must be uint8 of shape [N, height, width] or [N, height, width, 1 "
            f"or 3]. Received: {file} with {images.dtype} of shape {shape}"
        )
    if 0 in shape:
        raise ValueError(f"There must be images. Received: {file} with shape {shape}")
    if labels.shape == (len(images), 1):
        labels = labels[:, 0]
    if labels.shape != (len(images),) or labels.dtype.kind not in "iuU":
        raise ValueError(
            f"Labels must be integers or strings, one for each of {len(images)} "
            f"images. Received: {file} with {labels.dtype} of shape {labels.shape}"
        )
    return images.reshape(shape), labels


def _numbered(
    file: str, splits: dict[str, Split], class_names: np.ndarray | None
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """The splits with labels from 0 to K - 1, and the names of the K classes."""
    found = {str(label) for _, labels in splits.values() for label in np.unique(labels)}
    names = values = class_order(found)
    if class_names is not None:
        names = tuple(map(str, class_names.ravel()))
        values = tuple(map(str, range(len(names))))
        if not found <= {*values}:
            raise ValueError(
                f"With class_names, labels must be integers from 0 to "
                f"{len(names) - 1}. Received: {file} with "
                f"{', '.join(class_order(found)[:9])}"
            )
    if len(names) < 2:
        raise ValueError(
            f"An archive must have at least two classes. Received: {file} with {names}"
        )
    number = {value: j for j, value in enumerate(values)}

    def numbers(labels: np.ndarray) -> np.ndarray:
        unique, places = np.unique(labels, return_inverse=True)
        return np.array([number[str(label)] for label in unique])[places]

    return {key: (x, numbers(y)) for key, (x, y) in splits.items()}, names
