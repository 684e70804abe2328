"""From listed files, or arrays, and their labels to an `ImageData`."""

import os
import shlex
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mm_tf.data.custom.listing import UNKNOWN_SUFFIX, Listing
from mm_tf.data.custom.options import DEFAULT_SIZE, ReadOptions
from mm_tf.data.dataset import DatasetInfo, ImageData
from mm_tf.data.images.decoding import ImageFileError
from mm_tf.data.images.image_files import ImageFiles, Images, content_digests, take
from mm_tf.data.splits import stratified_split

# Training images from which the mean and the deviation of the channels are measured.
_MEASURED_IMAGES = 1000
_IMAGES_AT_ONCE = 100

# Names that a message holds before it says how many more there are.
_NAMED = 5

Part = tuple[Images, np.ndarray]


class DataWarning(UserWarning):
    """Something about a data set that its user should know."""


def from_listing(
    name: str,
    data_dir: str | os.PathLike[str],
    listing: Listing,
    options: ReadOptions,
) -> ImageData:
    """The data set of listed files, without those that cannot be decoded."""
    class_names = options.class_names or listing.class_names
    if {*class_names} != {*listing.class_names}:
        raise ValueError(
            "`class_names` must be the classes of the data set, "
            f"{', '.join(listing.class_names)}. Received: class_names={class_names!r}"
        )
    files = ImageFiles(
        [listing.path(entry) for entry in listing.entries],
        options.image_size or DEFAULT_SIZE,
        options.channels or 3,
        options.memory_limit,
        options.num_threads,
    )
    notes = [*listing.notes, *_notes_on_problems(listing)]
    errors = files.check() if options.verify else {}
    if errors:
        broken = _named_errors(name, data_dir, listing, errors)
        if options.strict:
            raise ValueError(
                "With `strict`, every file must be a whole image. Cannot be decoded: "
                f"{broken}"
            )
        notes.append(f"Left out, because they cannot be decoded: {broken}")
    good = [i for i in range(len(files)) if i not in errors]
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
            "Every class must have a training image that can be decoded. Received: "
            f"the data set {name!r} with none of {_first_few(empty)}"
        )
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
            f"one from. Received: the data set {name!r} with none"
        )
    untested = _without_images(test[1], class_names)
    if untested:
        why = ": what it has, one image or copies of one, is for training"
        note = f"No test image of {_first_few(untested)}{why if is_drawn else ''}."
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


def _first_few(names: Sequence[str], separator: str = ", ") -> str:
    more = [f"and {len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return separator.join([*names[:_NAMED], *more])


def _named_errors(
    name: str,
    data_dir: str | os.PathLike[str],
    listing: Listing,
    errors: Mapping[int, ImageFileError],
) -> str:
    """Words for the files of a listing that cannot be decoded."""
    named = [f"{listing.entries[i].name} ({e.reason})" for i, e in errors.items()]
    of_all = f"{len(errors):,} of {len(listing.entries):,} files"
    words = f"{of_all}: {_first_few(named, '; ')}."
    if len(named) <= _NAMED:
        return words
    place = shlex.quote(os.fspath(data_dir))
    return (
        f"{words} All of them are in look/problems.csv after python -m "
        f"mm_tf.data.inspect --dataset={name} --data_dir={place} --output=look"
    )


def _notes_on_problems(listing: Listing) -> list[str]:
    suffixes = Counter(
        os.path.splitext(problem.file)[1] or "none"
        for problem in listing.problems
        if problem.kind == UNKNOWN_SUFFIX
    )
    others = Counter(
        problem.detail for problem in listing.problems if problem.kind != UNKNOWN_SUFFIX
    )
    notes = [f"{count:,} x {detail}." for detail, count in sorted(others.items())]
    if suffixes:
        named = ", ".join(f"{name} {n:,}" for name, n in sorted(suffixes.items()))
        notes.append(f"Skipped for their suffixes: {named}.")
    return notes


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
