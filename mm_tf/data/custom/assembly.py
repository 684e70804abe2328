"""From images and labels of one's own to an `ImageData`."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_tf.data.custom.digests import content_digests
from mm_tf.data.custom.image_files import Images
from mm_tf.data.custom.options import ReadOptions
from mm_tf.data.loading import DatasetInfo, ImageData
from mm_tf.data.splitting import stratified_split

# Training images from which the mean and the deviation of the channels are measured.
_MEASURED_IMAGES = 1000
_IMAGES_AT_ONCE = 100

# Names that a message holds before it says how many more there are.
_NAMED = 5

Part = tuple[np.ndarray, np.ndarray]


class DataWarning(UserWarning):
    """Something about a data set that its user should know."""


def draw_test(
    labels: np.ndarray, contents: Sequence[Any], options: ReadOptions
) -> np.ndarray:
    """Which images become test images, bool [N]; see `stratified_split`."""
    return stratified_split(labels, options.test_fraction, options.split_seed, contents)


def some_of(names: Sequence[str], separator: str) -> str:
    """The first few names, and how many more there are."""
    more = [f"and {len(names) - _NAMED:,} more"] if are_more(names) else []
    return separator.join([*names[:_NAMED], *more])


def are_more(names: Sequence[str]) -> bool:
    """Whether `some_of` leaves some of the names out."""
    return len(names) > _NAMED


def check_every_class(name: str, labels: np.ndarray, names: Sequence[str]) -> None:
    """Raises a ValueError if a class has no training image."""
    counts = np.bincount(labels, minlength=len(names))
    if not counts.all():
        without = [names[j] for j in np.flatnonzero(counts == 0).tolist()]
        raise ValueError(
            "Every class must have a training image that can be decoded. Received: "
            f"the data set {name!r} with none of {some_of(without, ', ')}"
        )


def from_arrays(
    name: str,
    what: str,
    parts: Mapping[str, Part],
    names: Sequence[str],
    options: ReadOptions,
) -> ImageData:
    """Puts a data set in memory together, and draws test images if there are none."""
    if "test" in parts:
        return image_data(name, what, parts["train"], parts["test"], names, options)
    images, labels = parts["train"]
    is_test = draw_test(labels, content_digests(images), options)
    train = images[~is_test], labels[~is_test]
    test = images[is_test], labels[is_test]
    return image_data(name, what, train, test, names, options, is_drawn=True)


def image_data(
    name: str,
    what: str,
    train: tuple[Images, np.ndarray],
    test: tuple[Images, np.ndarray],
    names: Sequence[str],
    options: ReadOptions,
    notes: Sequence[str] = (),
    is_drawn: bool = False,
) -> ImageData:
    """Puts a data set together, and tells its notes as `DataWarning`s."""
    (train_images, train_labels), (test_images, test_labels) = train, test
    check_every_class(name, train_labels, names)
    if not len(test_labels):
        raise ValueError(
            "There must be test images, or a class with two different images to take "
            f"one from. Received: the data set {name!r} with none"
        )
    tested = np.bincount(test_labels, minlength=len(names))
    without = [names[j] for j in np.flatnonzero(tested == 0).tolist()]
    if without:
        why = ": what it has, one image or copies of one, is for training"
        told = some_of(without, ", ")
        notes = [*notes, f"No test image of {told}{why if is_drawn else ''}."]
    height, width, channels = train_images.shape[1:]
    mean, std = _channel_statistics(train_images)
    info = DatasetInfo(
        name=name,
        num_classes=len(names),
        image_shape=(height, width, channels),
        images_per_class=int(np.bincount(train_labels).min()),
        mean=mean,
        std=std,
        # In proportion as of CIFAR, 4 pixels of 32.
        crop_padding=max(1, min(height, width) // 8),
        horizontal_flip=options.horizontal_flip,
        description=f"{what}; {len(test_labels):,} test images"
        + (f", {options.test_fraction:.0%} of each class." if is_drawn else "."),
    )
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=4)
    return ImageData(
        info,
        train_images,
        train_labels,
        test_images,
        test_labels,
        tuple(names),
        tuple(notes),
    )


def _channel_statistics(
    images: Images,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, of some images, pixels in [0, 1]."""
    spread = np.linspace(0, len(images) - 1, min(len(images), _MEASURED_IMAGES))
    chosen = np.unique(spread.round().astype(int))
    totals = np.zeros((2, images.shape[-1]))
    for first in range(0, len(chosen), _IMAGES_AT_ONCE):
        pixels = images[chosen[first : first + _IMAGES_AT_ONCE]] / 255.0
        totals += pixels.mean((1, 2)).sum(0), (pixels**2).mean((1, 2)).sum(0)
    mean, square = totals / len(chosen)
    # Images of one colour have no deviation, and a network divides by it.
    std = np.sqrt(np.maximum(square - mean**2, 255.0**-2))
    return _rounded(mean), _rounded(std)


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
