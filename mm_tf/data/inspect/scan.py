"""What is in a data set, found before training: counts, sizes, and what is wrong."""

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mm_tf.class_errors import SHOT_GROUPS
from mm_tf.data.custom.listing import (
    TWO_LABELS,
    UNREADABLE,
    Entry,
    Listing,
    Problem,
    contradictory,
)
from mm_tf.data.custom.options import ReadOptions, check_options
from mm_tf.data.dataset import DATASETS, TFDS_PREFIX, ImageData, check_name
from mm_tf.data.images.decoding import (
    ImageFileError,
    opened,
    quiet,
    to_array,
    unless_broken,
)
from mm_tf.data.images.digests import file_digest, pixel_digest
from mm_tf.data.images.image_files import FILES_AT_ONCE, Images, in_threads
from mm_tf.data.loading import LISTS, load
from mm_tf.data.splits import stratified_split

LEAKAGE, DUPLICATE = "leakage", "duplicate"
_KINDS = LEAKAGE, TWO_LABELS, DUPLICATE

Progress = Callable[[int, int], Any]


class _Facts(NamedTuple):
    """What one image is; `content` is the digest of its file, if it has one."""

    width: int
    height: int
    format: str
    mode: str
    pixels: bytes
    content: Hashable


# Name, class, whether it is a test image, and facts of an image.
_Example = tuple[str, int, bool, _Facts]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What `inspect_data` found.

    Attributes:
        name: The name by which `load` knows the data set.
        class_names: Name of each class, [K].
        train_counts: Training images of each class that can be decoded, `int64` [K].
        test_counts: Test images likewise, `int64` [K].
        sizes: Width and height of each image, `int64` [N, 2]: as stored in its file,
            or else as read for training.
        formats: Images of each file format.
        modes: Images of each mode of Pillow's (`RGB`, `L` for grey, ...).
        problems: What is wrong, each a `Problem`.
        notes: What else to know, each a sentence.
    """

    name: str
    class_names: tuple[str, ...]
    train_counts: np.ndarray
    test_counts: np.ndarray
    sizes: np.ndarray
    formats: dict[str, int]
    modes: dict[str, int]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def imbalance_ratio(self) -> float:
        """Training images of the largest class over those of the smallest."""
        smallest = self.train_counts.min()
        return float(self.train_counts.max() / smallest) if smallest else float("inf")

    @property
    def shot_groups(self) -> tuple[str, ...]:
        """The group of each class by its training images, "" of one without, [K]."""
        names = ["", *reversed(SHOT_GROUPS)]
        lowest = sorted(low for low, _ in SHOT_GROUPS.values())
        return tuple(names[j] for j in np.digitize(self.train_counts, lowest))


def inspect_data(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    options: ReadOptions | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Looks at every image of a data set, in parallel.

    Each file is decoded whole, which finds those that cannot be. Images are the same
    if their pixels are, after orientation and conversion to RGB: a copy that was
    saved in another lossless format is found, one that was compressed again or
    resized is not. Images of `tfds` are compared as they are read for training,
    resized and cropped, which a note says. Each of several equal images is compared
    with the first one, a training image if there is one, and is

    - leakage, if one is a training image and the other a test image,
    - of two labels, if their classes differ, perhaps besides,
    - a duplicate otherwise.

    Files of the same bytes in several classes are of two labels, left out as in
    training, and compared no further.

    At most `num_threads` files are in memory at a time, and some 300 bytes for each
    image of the data set. Data sets that are not in files are in memory as a whole.

    Args:
        name: As for `load`.
        data_dir: As for `load`.
        options: As for `load`; for files only `test_fraction`, `split_seed` and
            `num_threads` count. Defaults to `None`, the defaults of `ReadOptions`.
        progress: Called now and then with the number of images done and of all.
            Defaults to `None`.

    Returns:
        An `Inspection`.

    Raises:
        ValueError: As `load`; not for images that cannot be decoded.
        DatasetUnavailableError: As `load`.

    Example:

    >>> from mm_tf.data.inspect.scan import inspect_data
    >>> digits = inspect_data("digits")
    >>> digits.train_counts.sum(), digits.test_counts.sum(), digits.problems
    (np.int64(1297), np.int64(500), ())
    """
    check_name(name)
    progress = progress or (lambda done, total: None)
    if name not in LISTS:
        given = None if name in DATASETS else options
        return _inspect_arrays(load(name, data_dir, given), progress)
    options = check_options(options)
    return _inspect_files(name, LISTS[name](data_dir), options, progress)


def _inspect_files(
    name: str, listing: Listing, options: ReadOptions, progress: Progress
) -> Inspection:
    entries = listing.entries
    problems = list(listing.problems)
    good: list[tuple[Entry, _Facts]] = []
    look = functools.partial(unless_broken, _facts_of_file)
    for first in range(0, len(entries), FILES_AT_ONCE):
        part = entries[first : first + FILES_AT_ONCE]
        with quiet():
            facts = in_threads(options.num_threads, look, [*map(listing.path, part)])
        for entry, found in zip(part, facts, strict=True):
            if isinstance(found, ImageFileError):
                problems.append(Problem(UNREADABLE, entry.name, found.reason))
            else:
                good.append((entry, found))
        progress(first + len(part), len(entries))
    twice = contradictory(
        [entry.name for entry, _ in good],
        [entry.label for entry, _ in good],
        [found.content for _, found in good],
    )
    problems += [
        Problem(TWO_LABELS, good[i][0].name, f"left out: {detail}")
        for i, detail in twice.items()
    ]
    good = [pair for i, pair in enumerate(good) if i not in twice]
    number = {label: j for j, label in enumerate(listing.class_names)}
    labels = [number[entry.label] for entry, _ in good]
    notes = list(listing.notes)
    is_test = [entry.split == "test" for entry, _ in good]
    if not listing.is_split:
        share = options.test_fraction
        notes.append(
            f"There is no test set: {share:.0%} of each class become test images, as "
            "in a run."
        )
        if good:
            contents = [found.content for _, found in good]
            drawn = stratified_split(labels, share, options.split_seed, contents)
            is_test = drawn.tolist()
    examples = [
        (entry.name, label, test, found)
        for (entry, found), label, test in zip(good, labels, is_test, strict=True)
    ]
    return _inspection(name, listing.class_names, examples, problems, notes)


def _facts_of_file(path: str) -> _Facts:
    with opened(path) as image:
        stored = *image.size, image.format or "", image.mode
        return _Facts(*stored, pixel_digest(to_array(image)), file_digest(path))


def _inspect_arrays(data: ImageData, progress: Progress) -> Inspection:
    examples: list[_Example] = []
    total = len(data.train_labels) + len(data.test_labels)
    for split in ("train", "test"):
        images: Images = getattr(data, f"{split}_images")
        labels: np.ndarray = getattr(data, f"{split}_labels")
        _, height, width, channels = images.shape
        mode = "L" if channels == 1 else "RGB"
        for place, label in enumerate(labels.tolist()):
            pixels = pixel_digest(images[place])
            found = _Facts(width, height, "array", mode, pixels, None)
            examples.append((f"{split}[{place}]", label, split == "test", found))
        progress(len(examples), total)
    notes = list(data.notes)
    if data.info.name.startswith(TFDS_PREFIX):
        notes.append(
            f"All images are read as in a run, at {width} x {height} pixels, "
            "whatever size they are stored in."
        )
    return _inspection(data.info.name, data.class_names, examples, [], notes)


def _inspection(
    name: str,
    class_names: Sequence[str],
    examples: Sequence[_Example],
    problems: Sequence[Problem],
    notes: Sequence[str],
) -> Inspection:
    counts = np.zeros((2, len(class_names)), np.int64)
    for _, label, is_test, _ in examples:
        counts[int(is_test), label] += 1
    facts = [found for *_, found in examples]
    return Inspection(
        name=name,
        class_names=tuple(class_names),
        train_counts=counts[0],
        test_counts=counts[1],
        sizes=np.array([(f.width, f.height) for f in facts], np.int64).reshape(-1, 2),
        formats=dict(Counter(f.format for f in facts).most_common()),
        modes=dict(Counter(f.mode for f in facts).most_common()),
        problems=(*problems, *_same_images(examples, class_names)),
        notes=tuple(notes),
    )


def _same_images(
    examples: Sequence[_Example], class_names: Sequence[str]
) -> list[Problem]:
    problems: list[Problem] = []
    first_of: dict[bytes, _Example] = {}
    # Training images first; otherwise as they come.
    for example in sorted(examples, key=lambda example: example[2]):
        name, label, is_test, facts = example
        first, first_label, first_is_test, others = first_of.setdefault(
            facts.pixels, example
        )
        if facts is others:
            continue
        # An image that is in no file has no bytes to compare.
        is_copy = facts.content is not None and facts.content == others.content
        same = f"same {'bytes' if is_copy else 'pixels'} as {first}"
        if is_test != first_is_test:
            detail = f"a test image, {same}, a training image"
            problems.append(Problem(LEAKAGE, name, detail))
        if label != first_label:
            detail = f"{same}: {class_names[label]} and {class_names[first_label]}"
            problems.append(Problem(TWO_LABELS, name, detail))
        if (is_test, label) == (first_is_test, first_label):
            problems.append(Problem(DUPLICATE, name, same))
    return sorted(problems, key=lambda problem: _KINDS.index(problem.kind))
