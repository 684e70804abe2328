"""Images that a CSV file names."""

import csv
import os
import unicodedata
from collections.abc import Iterator, Sequence

from mm_tf.data.custom.assembly import from_listing
from mm_tf.data.custom.listing import (
    LINK,
    SPLITS,
    Entry,
    Listing,
    Problem,
    class_order,
    data_file,
    is_outside,
    leads_out,
)
from mm_tf.data.custom.options import ReadOptions, check_options
from mm_tf.data.dataset import ImageData


def read_csv(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> ImageData:
    """Reads images that a CSV file names, with their classes.

    For its columns see `list_csv`; the images come in the order of its rows. All else
    is as in `read_folder`.

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
    return from_listing("csv", path, list_csv(path), options)


def list_csv(path: str | os.PathLike[str]) -> Listing:
    r"""Lists the images that a CSV file names.

    Its first row names the columns: `path` (relative to the folder of the CSV file,
    or absolute), `label`, and perhaps `split` (`train`, `test` or `val`; where there
    are both, `val` is not used). Other columns are passed over. Classes are in the
    order of their names, or of their numbers where all of them are whole numbers.
    """
    file = data_file(path, ".csv")
    rows = _rows(file)
    notes = []
    splits = {row.split for row in rows}
    if None in splits and len(splits) > 1:
        raise ValueError(
            "A CSV file must give the split of all images or of none. "
            f"Received: {file}, with and without"
        )
    if {"test", "val"} <= splits:
        unused = sum(row.split == "val" for row in rows)
        rows = [row for row in rows if row.split != "val"]
        notes.append(f"The {unused:,} images of the split val are not used.")
    is_split = bool(splits & {"test", "val"})
    if is_split and "train" not in splits:
        raise ValueError(
            f"A CSV file with splits must have the split train. Received: {file}, "
            f"with {', '.join(sorted(filter(None, splits)))}"
        )
    used = {"train": "train", "test": "test", "val": "test"} if is_split else {}
    entries = tuple(row._replace(split=used.get(str(row.split))) for row in rows)
    names = class_order({entry.label for entry in entries})
    if len(names) < 2:
        raise ValueError(
            f"A CSV file must have at least two classes. Received: {file}, with "
            f"{', '.join(map(repr, names)) or 'none'}"
        )
    root = os.path.dirname(file)
    return Listing(root, entries, names, tuple(_out(root, entries)), tuple(notes))


def _out(root: str, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Which of the relative paths lead out of the folder of the CSV file."""
    relative = [entry.name for entry in entries if not os.path.isabs(entry.name)]
    folders = {os.path.dirname(name) for name in relative}
    outside = {folder for folder in folders if is_outside(root, folder)}
    for name in relative:
        if os.path.dirname(name) in outside or leads_out(root, name):
            yield Problem.of_kind(LINK, name)


def _rows(file: str) -> list[Entry]:
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True, restval="")
            header = reader.fieldnames or []
            reader.fieldnames = names = [name.strip().lower() for name in header]
            if not {"path", "label"} <= {*names}:
                raise ValueError(
                    "A CSV file must name its columns in the first row, path and label "
                    f"among them. Received: {file} with {header!r}"
                )
            return [_entry(row, f"line {reader.line_num} of {file}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"`data_dir` must be a CSV file in UTF-8 ({error}). Received: {file}"
        ) from None


def _entry(row: dict[str, str], place: str) -> Entry:
    label = unicodedata.normalize("NFC", row["label"].strip())
    split = row.get("split", "").strip().casefold()
    if not row["path"] or not label:
        problem = "Every row must have a path and a label."
    elif split and split not in SPLITS:
        problem = "A split must be train, test or val."
    else:
        return Entry(row["path"], label, SPLITS.get(split))
    raise ValueError(f"{problem} Received: {place}, {row!r}")
