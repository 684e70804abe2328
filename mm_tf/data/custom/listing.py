"""Which images of which class a data set in files has, without opening any."""

import dataclasses
import os
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mm_tf.data._checks import check_path

# What a part of a data set may be called, in capital letters too.
SPLITS = {
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

# Files whose content counts for a listing's digest, evenly spread over all of them,
# and how many bytes of each: a look at photos that fill a disk takes a second.
_FILES_READ = 256
_BYTES_READ = 2**16


class Entry(NamedTuple):
    """An image: path from the root, class, and `"train"`, `"test"` or `None`."""

    name: str
    label: str
    split: str | None


class Problem(NamedTuple):
    """What is wrong with a file, whose path is relative to the listing's root."""

    kind: str
    file: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images of a data set in files, by class and name or as CSV rows."""

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


def class_order(names: Any) -> tuple[str, ...]:
    """Sorts names of classes: by number where all are whole numbers."""
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))


def data_file(path: str | os.PathLike[str], suffix: str) -> str:
    """The file that is named, or the only one of that suffix in the folder named."""
    expected = f"`data_dir` must be a {suffix} file, or a folder with one in it"
    file = os.path.abspath(check_path("data_dir", path))
    if os.path.isdir(file):
        found = [name for name in visible(file, "") if name.lower().endswith(suffix)]
        if len(found) != 1:
            raise ValueError(
                f"{expected}. Received: data_dir={os.fspath(path)!r} with {len(found)}"
            )
        file = os.path.join(file, found[0])
    if not os.path.isfile(file):
        raise ValueError(f"{expected}. Received: data_dir={os.fspath(path)!r}")
    return file


def visible(root: str, folder: str) -> list[str]:
    """Names in a folder, sorted, without hidden ones and what systems leave."""
    names = os.listdir(os.path.join(root, folder))
    shown = (name for name in names if not name.startswith("."))
    return sorted(
        (name for name in shown if name.casefold() not in _LEFT_BY_SYSTEMS),
        key=sort_key,
    )


def sort_key(name: str) -> tuple[str, str]:
    """A key that puts names in one order, whichever file system they come from."""
    return unicodedata.normalize("NFC", name), name


def pieces_of_listing(listing: Listing) -> Iterator[bytes]:
    """Each image's name, class, split and size, and some contents.

    The folder they lie in is not among them, so images that moved stay the same.
    """
    entries = listing.entries
    for entry in entries:
        fields = entry.name, entry.label, entry.split or "", _size(listing.path(entry))
        yield "\0".join(map(str, fields)).encode(errors="surrogateescape")
    spread = np.linspace(0, len(entries) - 1, min(len(entries), _FILES_READ))
    for i in np.unique(spread.round().astype(int)):
        path = listing.path(entries[i])
        # A file that cannot be read is reported when it is decoded.
        if _size(path) >= 0:
            with open(path, "rb") as file:
                yield file.read(_BYTES_READ)


def _size(path: str) -> int:
    """Bytes of a file, -1 if it cannot be read."""
    try:
        return os.stat(path).st_size if os.access(path, os.R_OK) else -1
    except (OSError, ValueError):
        return -1
