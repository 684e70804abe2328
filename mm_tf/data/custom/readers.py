"""Readers of images in files: a folder for each class, or a CSV file."""

import os
import shlex
from collections import Counter
from collections.abc import Mapping

import numpy as np

from mm_tf.data.custom.assembly import (
    are_more,
    check_every_class,
    draw_test,
    image_data,
    some_of,
)
from mm_tf.data.custom.csv_file import list_csv
from mm_tf.data.custom.decoding import ImageFileError
from mm_tf.data.custom.digests import file_digests
from mm_tf.data.custom.folders import list_folder
from mm_tf.data.custom.image_files import ImageFiles
from mm_tf.data.custom.listing import UNKNOWN_SUFFIX, Listing
from mm_tf.data.custom.options import DEFAULT_SIZE, ReadOptions, check_options
from mm_tf.data.loading import ImageData


def read_folder(
    data_dir: str | os.PathLike[str], options: ReadOptions | None = None
) -> ImageData:
    """Reads a folder that has a folder of images for each class.

    Which folders and files count, and in which order they come: see
    `mm_tf.data.custom.folders.list_folder`. Where there is no folder with test images,
    they are taken from the training images, as `mm_tf.data.splitting.stratified_split`
    says; files of the same bytes never part.

    The mean and the deviation of the channels are measured on up to 1,000 training
    images, evenly spread over all of them.

    Args:
        data_dir: The folder; `~` is expanded.
        options: How to read. Defaults to `None`, the defaults of `ReadOptions`.

    Returns:
        An `ImageData` whose images are `ImageFiles`.

    Raises:
        ValueError: If the folder is not as described, if a class has no image that
            can be decoded, or, with `strict`, if a file cannot be decoded.

    Example:

    >>> import os, tempfile
    >>> from PIL import Image
    >>> from mm_tf.data import ReadOptions, read_folder
    >>> folder = tempfile.mkdtemp()
    >>> for name, color in (("cat", 0), ("dog", 99)):
    ...     os.mkdir(os.path.join(folder, name))
    ...     for i in range(5):
    ...         path = os.path.join(folder, name, f"{i}.png")
    ...         Image.new("RGB", (40, 30), (color + i, 0, 0)).save(path)
    >>> data = read_folder(folder, ReadOptions(image_size=16))
    >>> data.class_names, data.train_images.shape, data.test_images.shape
    (('cat', 'dog'), (8, 16, 16, 3), (2, 16, 16, 3))
    """
    options = check_options(options)
    return _read_files("folder", data_dir, list_folder(data_dir), options)


def read_csv(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> ImageData:
    """Reads images that a CSV file names, with their classes.

    For its columns see `mm_tf.data.custom.csv_file.list_csv`; the images come in
    the order of its rows. All else is as in `read_folder`.

    Args:
        path: The CSV file, or a folder with no other CSV file in it; `~` is expanded.
        options: How to read. Defaults to `None`, the defaults of `ReadOptions`.

    Returns:
        An `ImageData` whose images are `ImageFiles`.

    Raises:
        ValueError: If the file is not as described, if a class has no training
            image that can be decoded, or, with `strict`, if an image cannot be
            decoded.

    Example:

    >>> import os, tempfile
    >>> from PIL import Image
    >>> from mm_tf.data import read_csv
    >>> folder = tempfile.mkdtemp()
    >>> with open(os.path.join(folder, "images.csv"), "w") as file:
    ...     print("path,label,split", file=file)
    ...     for i, split in enumerate(["train", "train", "test", "test"]):
    ...         Image.new("L", (8, 8), i).save(os.path.join(folder, f"{i}.png"))
    ...         print(f"{i}.png,{'ab'[i % 2]},{split}", file=file)
    >>> data = read_csv(folder)
    >>> data.train_labels.tolist(), data.test_labels.tolist()
    ([0, 1], [0, 1])
    """
    options = check_options(options)
    return _read_files("csv", path, list_csv(path), options)


def _undecodable(
    name: str,
    data_dir: str | os.PathLike[str],
    listing: Listing,
    errors: Mapping[int, ImageFileError],
) -> str:
    """Words for the files of a listing that cannot be decoded."""
    named = [f"{listing.entries[i].name} ({e.reason})" for i, e in errors.items()]
    told = f"{len(errors):,} of {len(listing.entries):,} files: {some_of(named, '; ')}."
    if are_more(named):
        place = shlex.quote(os.fspath(data_dir))
        told += (
            " All of them are in look/problems.csv after python -m "
            f"mm_tf.data.inspect --dataset={name} --data_dir={place} --output=look"
        )
    return told


def _read_files(
    name: str,
    data_dir: str | os.PathLike[str],
    listing: Listing,
    options: ReadOptions,
) -> ImageData:
    files = ImageFiles(
        [listing.path(entry) for entry in listing.entries],
        options.image_size or DEFAULT_SIZE,
        options.channels or 3,
        options.memory_limit,
        options.num_threads,
    )
    notes = [*listing.notes, *_passed_over(listing)]
    errors = files.check() if options.verify else {}
    if errors:
        told = _undecodable(name, data_dir, listing, errors)
        if options.strict:
            raise ValueError(
                "With `strict`, every file must be a whole image. Cannot be decoded: "
                f"{told}"
            )
        notes.append(f"Left out, because they cannot be decoded: {told}")
    good = np.array([i for i in range(len(files)) if i not in errors], dtype=int)
    number = {label: j for j, label in enumerate(listing.class_names)}
    labels = np.array([number[e.label] for e in listing.entries], dtype=np.int64)[good]
    if listing.is_split:
        is_test = np.array([e.split == "test" for e in listing.entries])[good]
    else:
        check_every_class(name, labels, listing.class_names)
        # Once: each time it is a new tuple of all.
        paths = files.paths
        contents = file_digests([paths[i] for i in good], options.num_threads)
        is_test = draw_test(labels, contents, options)
    return image_data(
        name,
        f"{len(listing.entries):,} files of {os.path.basename(listing.root)}",
        (files.subset(good[~is_test]), labels[~is_test]),
        (files.subset(good[is_test]), labels[is_test]),
        listing.class_names,
        options,
        notes,
        is_drawn=not listing.is_split,
    )


def _passed_over(listing: Listing) -> list[str]:
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
        named = ", ".join(
            f"{name} {count:,}" for name, count in sorted(suffixes.items())
        )
        notes.append(f"Passed over for their suffixes: {named}.")
    return notes
