"""From listed files, or arrays, and their labels to an `ImageData`."""

import os
import shlex
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from mm_tf._text import counted, escaped
from mm_tf.data.custom.listing import (
    NAMED,
    SPLITS_AS_CLASSES,
    TWO_LABELS,
    UNREADABLE,
    Listing,
    Problem,
    contradictory,
    first_few,
    named,
    notes_on,
)
from mm_tf.data.custom.options import DEFAULT_SIZE, ReadOptions
from mm_tf.data.dataset import DatasetInfo, ImageData
from mm_tf.data.images.image_files import ImageFiles, Images, content_digests, take
from mm_tf.data.splits import stratified_split

# Training images from which the mean and the deviation of the channels are measured.
_MEASURED_IMAGES = 1000
_IMAGES_AT_ONCE = 100

Part = tuple[Images, np.ndarray]


class DataWarning(UserWarning):
    """Something about a data set that its user should know."""


def from_listing(
    name: str,
    data_dir: str | os.PathLike[str],
    listing: Listing,
    options: ReadOptions,
) -> ImageData:
    """The data set of listed files, without those that cannot be used."""
    if options.class_names is None:
        _check_splits(listing)
    # A result has names that are no text in the way of `escaped`.
    names = {escaped(name): name for name in listing.class_names}
    order = [escaped(name) for name in options.class_names or listing.class_names]
    if sorted(order) != sorted(names):
        raise ValueError(
            f"`class_names` must be the classes of the data set, {', '.join(names)}. "
            f"Received: class_names={options.class_names!r}"
        )
    class_names = tuple(names[name] for name in order)
    files = ImageFiles(
        [listing.path(entry) for entry in listing.entries],
        options.image_size or DEFAULT_SIZE,
        options.channels or 3,
        options.memory_limit,
        options.num_threads,
    )
    left_out = _unusable(files, listing) if options.verify else {}
    if left_out and options.strict:
        raise ValueError(
            "With `strict`, every file must be a whole image, and of one class. "
            f"Received: {named(list(left_out.values()))}"
        )
    notes = [*listing.notes, *notes_on([*listing.problems, *left_out.values()])]
    if len(left_out) > NAMED:
        place = shlex.quote(os.fspath(data_dir))
        notes.append(
            f"python -m mm_tf.data.inspect --dataset={name} --data_dir={place} "
            "--output=look lists all of them in look/problems.csv."
        )
    good = [i for i in range(len(files)) if i not in left_out]
    number = {label: j for j, label in enumerate(class_names)}
    entries = [listing.entries[i] for i in good]
    labels = np.array([number[entry.label] for entry in entries], dtype=np.int64)
    images = files.subset(np.array(good, dtype=int))
    parts: dict[str, Part] = {"train": (images, labels)}
    if listing.is_split:
        is_test = np.array([entry.split == "test" for entry in entries], dtype=bool)
        parts = _divided(images, labels, is_test)
    what = f"{len(listing.entries):,} files of {os.path.basename(listing.root)}"
    return image_data(name, what, parts, class_names, options, notes)


def _check_splits(listing: Listing) -> None:
    for problem in listing.problems:
        if problem.kind == SPLITS_AS_CLASSES:
            raise ValueError(
                "`data_dir` must have a folder for each class, or such folders in "
                "train and beside it in test or val: rename splits to train and test, "
                "and put folders that are classes into one that is named train. "
                f"Received: data_dir={listing.root!r} with {problem.file}: "
                f"{problem.detail}"
            )


def _unusable(files: ImageFiles, listing: Listing) -> dict[int, Problem]:
    """The files of a listing that cannot be decoded or are in two classes, by place."""
    errors = {i: (UNREADABLE, error.reason) for i, error in files.check().items()}
    names = [entry.name for entry in listing.entries]
    labels = [entry.label for entry in listing.entries]
    twice = contradictory(names, labels, files.digests())
    found = {i: (TWO_LABELS, detail) for i, detail in twice.items()} | errors
    return {i: Problem(kind, names[i], detail) for i, (kind, detail) in found.items()}


def image_data(
    name: str,
    what: str,
    parts: Mapping[str, Part],
    class_names: Sequence[str],
    options: ReadOptions,
    notes: Sequence[str] = (),
) -> ImageData:
    """The data set of `"train"` and `"test"`; draws test images if there are none.

    Each of its notes is a `DataWarning` as well.
    """
    images, labels = parts["train"]
    empty = _without_images(labels, class_names)
    if empty:
        raise ValueError(
            "Every class must have a training image that can be used. "
            f"{' '.join([*notes, 'Received:'])} {what} with none of {first_few(empty)}"
        )
    if isinstance(images, np.ndarray):
        notes = [*notes, *_two_labels(parts, class_names, options.strict)]
    is_drawn = "test" not in parts
    if is_drawn:
        is_test = stratified_split(
            labels, options.test_fraction, options.split_seed, content_digests(images)
        )
        parts = _divided(images, labels, is_test)
    train, test = parts["train"], parts["test"]
    images, labels = train
    if not len(test[1]):
        raise ValueError(
            "There must be test images, or a class with two different images to take "
            f"one from. Received: {what} with none"
        )
    untested = _without_images(test[1], class_names)
    if untested:
        why = ": what it has, one image or copies of one, is for training"
        note = f"No test image of {first_few(untested)}{why if is_drawn else ''}."
        notes = [*notes, note]
    height, width, channels = images.shape[1:]
    mean, std = _channel_statistics(images)
    info = DatasetInfo(
        name=name,
        num_classes=len(class_names),
        image_shape=(height, width, channels),
        images_per_class=int(np.bincount(labels).min()),
        mean=mean,
        std=std,
        # In proportion to CIFAR's, 4 pixels of 32.
        crop_padding=max(1, min(height, width) // 8),
        horizontal_flip=options.horizontal_flip,
        description=f"{what}; {len(test[1]):,} test images"
        + (f", {options.test_fraction:.0%} of each class." if is_drawn else "."),
    )
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=4)
    return ImageData(info, *train, *test, tuple(class_names), tuple(notes))


def _two_labels(
    parts: Mapping[str, Part], class_names: Sequence[str], strict: bool
) -> list[str]:
    """A note on arrays' images in two classes, which keep their places."""
    names = [f"{split}[{i}]" for split in parts for i in range(len(parts[split][1]))]
    labels = [class_names[j] for _, y in parts.values() for j in y.tolist()]
    contents = [each for x, _ in parts.values() for each in content_digests(x)]
    found = contradictory(names, labels, contents, "pixels")
    if not found:
        return []
    words = named([Problem(TWO_LABELS, names[i], why) for i, why in found.items()])
    if strict:
        raise ValueError(
            f"With `strict`, every image must be of one class. Received: {words}"
        )
    return [f"In two classes: {counted(len(found), 'image')}: {words}."]


def _divided(
    images: Images, labels: np.ndarray, is_test: np.ndarray
) -> dict[str, Part]:
    return {
        split: (take(images, chosen), labels[chosen])
        for split, chosen in (("train", ~is_test), ("test", is_test))
    }


def _without_images(labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    counts = np.bincount(labels, minlength=len(class_names))
    return [class_names[j] for j in np.flatnonzero(counts == 0).tolist()]


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
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
