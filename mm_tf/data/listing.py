"""Which images of which class a folder or a CSV file has, without opening any."""

import csv
import dataclasses
import os
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from mm_tf.data.decoding import FORMAT_NAMES, SUFFIXES

# What a part of a data set may be called, in capital letters too.
_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}

# What operating systems leave in folders, besides names that begin with a dot.
_LEFT_BY_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})

UNKNOWN_SUFFIX = "unknown suffix"
NO_CLASS = "no class"
UNREADABLE = "unreadable"

_DETAILS = {
    UNKNOWN_SUFFIX: f"passed over: not named as {FORMAT_NAMES}",
    NO_CLASS: "passed over: it lies in no class's folder",
    UNREADABLE: "passed over: the folder cannot be listed",
}


class Entry(NamedTuple):
    """An image of a listing.

    Attributes:
        name: Its path, relative to the listing's root.
        label: The name of its class.
        split: `"train"` or `"test"`; `None` where the data set is not split.
    """

    name: str
    label: str
    split: str | None


class Problem(NamedTuple):
    """What is wrong with a file.

    Attributes:
        kind: Of which kind it is, in a word or two.
        file: The file's path, relative to the listing's root.
        detail: More about it.
    """

    kind: str
    file: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images of a data set in files.

    Attributes:
        root: The folder that all paths are relative to.
        entries: The images: of a folder by class and then by name, of a CSV file in
            the order of its rows.
        class_names: Name of each class, [K], in the order of their numbers.
        problems: Files that were passed over.
        notes: What a user should know, a sentence each.
    """

    root: str
    entries: tuple[Entry, ...]
    class_names: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_split(self) -> bool:
        """Whether the data set says which images are for training and for tests."""
        return self.entries[0].split is not None

    def path(self, entry: Entry) -> str:
        """The path of an image."""
        return os.path.join(self.root, entry.name)


def list_folder(data_dir: str | os.PathLike[str]) -> Listing:
    """Lists the images of a folder that has a folder for each class.

    A class's images may lie in folders inside its own. `data_dir` holds either the
    classes, or `train` and beside it `test` or `val` (or, of each, the longer name)
    with the classes in them; where there are both, `val` is not used. Classes are
    in the order of their names, and so are the images of a class, whatever order
    the file system has.

    Names that begin with a dot, `__MACOSX`, `Thumbs.db` and `desktop.ini` are passed
    over without a word. No folder is entered twice for one class, so that links in
    a circle have an end.

    Args:
        data_dir: The folder; `~` is expanded.

    Returns:
        A `Listing`.

    Raises:
        ValueError: If there is no such folder, if it has fewer than two classes, or
            if a class has no image.

    Example:

    >>> import os, tempfile
    >>> from mm_tf.data.listing import list_folder
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("dog", "cat"):
    ...     os.mkdir(os.path.join(folder, name))
    ...     open(os.path.join(folder, name, "1.png"), "w").close()
    >>> [entry.name for entry in list_folder(folder).entries]
    ['cat/1.png', 'dog/1.png']
    """
    root = os.path.abspath(os.path.expanduser(os.fspath(data_dir)))
    if not os.path.isdir(root):
        raise ValueError(
            "`data_dir` must be an existing folder, with a folder of images for each "
            f"class. Received: data_dir={os.fspath(data_dir)!r}"
        )
    try:
        return _list_folder(root)
    except OSError as error:
        raise ValueError(
            f"`data_dir` must be a folder that can be read ({error.strerror}). "
            f"Received: data_dir={os.fspath(data_dir)!r}"
        ) from None


def _list_folder(root: str) -> Listing:
    splits, notes = _split_folders(root)
    entries: list[Entry] = []
    problems: list[Problem] = []
    classes: dict[str | None, set[str]] = {}
    for split, folder in splits.items():
        classes[split] = set()
        for name in _visible(root, folder):
            path = os.path.join(folder, name)
            if not os.path.isdir(os.path.join(root, path)):
                if _is_image_name(name):
                    problem = Problem(NO_CLASS, _posix(path), _DETAILS[NO_CLASS])
                    problems.append(problem)
                continue
            # One letter with an accent can be written in two ways, and macOS
            # changes one into the other.
            label = unicodedata.normalize("NFC", name)
            classes[split].add(label)
            for kind, file in _files(root, folder, name):
                if kind is None:
                    entries.append(Entry(_posix(file), label, split))
                else:
                    problems.append(Problem(kind, _posix(file), _DETAILS[kind]))
    _check_classes(root, classes, entries)
    entries.sort(key=lambda entry: (entry.label, _sort_key(entry.name)))
    names = tuple(sorted(set().union(*classes.values())))
    return Listing(root, tuple(entries), names, tuple(problems), (*notes,))


def list_csv(path: str | os.PathLike[str]) -> Listing:
    r"""Lists the images that a CSV file names.

    Its first row names the columns: `path` (relative to the folder of the CSV file,
    or absolute), `label`, and perhaps `split` (`train`, `test` or `val`; where there
    are both, `val` is not used). Other columns are passed over. Classes are in the
    order of their names, or of their numbers where all of them are whole numbers.

    Args:
        path: The CSV file, in UTF-8, or a folder with no other CSV file in it; `~` is
            expanded.

    Returns:
        A `Listing`, in the order of the rows.

    Raises:
        ValueError: If there is no such file or it is not as described; the message
            names the line.

    Example:

    >>> import os, tempfile
    >>> from mm_tf.data.listing import list_csv
    >>> path = os.path.join(tempfile.mkdtemp(), "images.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("path,label\na.png,dog\nb.png,cat\n")
    >>> list_csv(path).class_names
    ('cat', 'dog')
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
    if given == {"train"}:
        notes.append("There is no split test: test images are taken from train.")
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


def class_order(names: Any) -> tuple[str, ...]:
    """Sorts names of classes: by number where all are whole numbers.

    Args:
        names: The names.

    Example:

    >>> from mm_tf.data.listing import class_order
    >>> class_order(["10", "9"]), class_order(["10", "9", "x"])
    (('9', '10'), ('10', '9', 'x'))
    """
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))


def data_file(path: str | os.PathLike[str] | None, suffix: str) -> str:
    """The file that is named, or the only one of that suffix in the folder named.

    Args:
        path: A file or a folder; `~` is expanded.
        suffix: The suffix to look for in a folder, as `".csv"`.

    Raises:
        ValueError: If there is no such file, or more than one.
    """
    expected = f"`data_dir` must be a {suffix} file, or a folder with one in it"
    if path is None:
        raise ValueError(f"{expected}. Received: data_dir=None")
    file = os.path.abspath(os.path.expanduser(os.fspath(path)))
    if os.path.isdir(file):
        found = [name for name in _visible(file, "") if name.lower().endswith(suffix)]
        if len(found) != 1:
            raise ValueError(
                f"{expected}. Received: data_dir={os.fspath(path)!r} with {len(found)}"
            )
        file = os.path.join(file, found[0])
    if not os.path.isfile(file):
        raise ValueError(f"{expected}. Received: data_dir={os.fspath(path)!r}")
    return file


def _split_folders(root: str) -> tuple[dict[str | None, str], list[str]]:
    """The folders in which the classes are, by split, and what to tell of it."""
    folders = [
        name for name in _visible(root, "") if os.path.isdir(os.path.join(root, name))
    ]
    found: dict[str, str] = {}
    for name in folders:
        split = _SPLITS.get(name.casefold())
        if split is not None and _has_folders(os.path.join(root, name)):
            if split in found:
                raise ValueError(
                    f"`data_dir` must have one folder for {split}. Received: "
                    f"data_dir={root!r} with {found[split]!r} and {name!r}"
                )
            found[split] = name
    if found and len(found) == len(folders) and "train" not in found:
        raise ValueError(
            "`data_dir` must have the folder train beside test or val. Received: "
            f"data_dir={root!r} with {', '.join(sorted(found.values()))}"
        )
    # A class may be called train: then other classes are beside it.
    if "train" not in found or (len(found) == 1 and not _only_train(folders)):
        return {None: ""}, []
    notes = []
    unused = sorted(set(folders) - set(found.values()))
    if len(found) == 3:
        unused.append(found.pop("val"))
    if unused:
        notes.append(f"Not used: {', '.join(f'{name}/' for name in unused)}.")
    if len(found) == 1:
        notes.append(
            "There is no folder test or val with classes in it: test images are "
            "taken from train."
        )
        return {None: found["train"]}, notes
    test = found.get("test") or found["val"]
    return {"train": found["train"], "test": test}, notes


def _only_train(folders: list[str]) -> bool:
    return all(name.casefold() in _SPLITS for name in folders)


def _check_classes(
    root: str, classes: dict[str | None, set[str]], entries: list[Entry]
) -> None:
    received = f"Received: data_dir={root!r}"
    train, test = next(iter(classes.values())), classes.get("test", set())
    if len(train) < 2:
        raise ValueError(
            "`data_dir` must have a folder of images for each of at least two classes. "
            f"{received} with {', '.join(map(repr, train)) or 'no folder'}"
        )
    unknown = sorted(test - train)
    if unknown:
        raise ValueError(
            "The classes of the test images must be among those of the training "
            f"images. {received}, with test images alone of "
            f"{', '.join(map(repr, unknown))}"
        )
    with_images = {entry.label for entry in entries if entry.split != "test"}
    empty = sorted(train - with_images)
    if empty:
        raise ValueError(
            f"Every class must have an image ({FORMAT_NAMES}). {received} with none in "
            f"{', '.join(map(repr, empty))}"
        )
    if test and not any(entry.split == "test" for entry in entries):
        raise ValueError(f"There must be test images. {received} with none")


def _files(root: str, folder: str, name: str) -> Iterator[tuple[str | None, str]]:
    """Pairs (what is wrong or None, path from the root) of a class's files."""
    visited = {_identity(root), _identity(os.path.join(root, folder))}
    waiting = [os.path.join(folder, name)]
    while waiting:
        here = waiting.pop(0)
        try:
            identity = _identity(os.path.join(root, here))
            names = _visible(root, here)
        except OSError:
            yield UNREADABLE, here
            continue
        if identity in visited:
            continue
        visited.add(identity)
        for inside in names:
            path = os.path.join(here, inside)
            if os.path.isdir(os.path.join(root, path)):
                waiting.append(path)
            else:
                yield (None if _is_image_name(inside) else UNKNOWN_SUFFIX), path


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _visible(root: str, folder: str) -> list[str]:
    """Names in a folder, sorted, without hidden ones and what systems leave."""
    names = os.listdir(os.path.join(root, folder))
    return sorted(
        (
            name
            for name in names
            if not name.startswith(".") and name.casefold() not in _LEFT_BY_SYSTEMS
        ),
        key=_sort_key,
    )


def _has_folders(path: str) -> bool:
    return any(os.path.isdir(os.path.join(path, name)) for name in _visible(path, ""))


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _sort_key(name: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", name), name


def _posix(path: str) -> str:
    return path.replace(os.sep, "/")


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
    if split and split not in _SPLITS:
        raise ValueError(f"A split must be train, test or val. {received}")
    return Entry(values["path"], label, _SPLITS[split] if split else None)
