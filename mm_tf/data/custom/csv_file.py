"""Images that a CSV file names."""

import csv
import os
import unicodedata

from mm_tf.data.custom.assembly import from_listing
from mm_tf.data.custom.listing import SPLITS, Entry, Listing, class_order, data_file
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
    rows = _csv_rows(file)
    notes = []
    given = {row.split for row in rows}
    if None in given and len(given) > 1:
        raise ValueError(
            "A CSV file must give the split of all images or of none. "
            f"Received: {file}, with and without"
        )
    if {"test", "val"} <= given:
        unused = sum(row.split == "val" for row in rows)
        rows = [row for row in rows if row.split != "val"]
        notes.append(f"The {unused:,} images of the split val are not used.")
    if given & {"test", "val"} and "train" not in given:
        raise ValueError(
            f"A CSV file with splits must have the split train. Received: {file}, "
            f"with {', '.join(sorted(filter(None, given)))}"
        )
    is_split = bool(given & {"test", "val"})
    entries = tuple(
        row._replace(split=("test" if row.split == "val" else row.split))
        if is_split
        else row._replace(split=None)
        for row in rows
    )
    names = class_order({entry.label for entry in entries})
    if len(names) < 2:
        raise ValueError(
            f"A CSV file must have at least two classes. Received: {file}, with "
            f"{', '.join(map(repr, names)) or 'none'}"
        )
    return Listing(os.path.dirname(file), entries, names, (), tuple(notes))


def _csv_rows(file: str) -> list[Entry]:
    rows = []
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            columns = _csv_columns(file, next(reader, []))
            for row in reader:
                if row:
                    rows.append(_csv_entry(file, reader.line_num, columns, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"`data_dir` must be a CSV file in UTF-8 ({error}). Received: {file}"
        ) from None
    return rows


def _csv_columns(file: str, header: list[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    columns = {name: names.index(name) for name in names}
    if not {"path", "label"} <= set(columns):
        raise ValueError(
            "A CSV file must name its columns in the first row, path and label among "
            f"them. Received: {file} with {header!r}"
        )
    return columns


def _csv_entry(file: str, line: int, columns: dict[str, int], row: list[str]) -> Entry:
    received = f"Received: line {line} of {file}, {row!r}"
    values = {
        name: row[place] if place < len(row) else ""
        for name, place in columns.items()
        if name in ("path", "label", "split")
    }
    label = unicodedata.normalize("NFC", values["label"].strip())
    split = values.get("split", "").strip().casefold()
    if not values["path"] or not label:
        raise ValueError(f"Every row must have a path and a label. {received}")
    if split and split not in SPLITS:
        raise ValueError(f"A split must be train, test or val. {received}")
    return Entry(values["path"], label, SPLITS[split] if split else None)
