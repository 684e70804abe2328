"""Which images of which class a data set in files has, without opening any."""

import dataclasses
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mm_tf._text import counted, printable
from mm_tf.data._checks import check_path
from mm_tf.data.images.decoding import FORMAT_NAMES, SUFFIXES

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

# Kinds of problems.
UNKNOWN_SUFFIX = "unknown suffix"
NO_CLASS = "no class"
UNREADABLE = "unreadable"
TWO_LABELS = "two labels"
LINK = "link"
SPLITS_AS_CLASSES = "splits as classes"

_DETAILS = {
    UNKNOWN_SUFFIX: f"skipped: not named as {FORMAT_NAMES}",
    NO_CLASS: "skipped: it is in no class's folder",
    UNREADABLE: "skipped: the folder cannot be listed",
    LINK: "followed, out of the folder",
}

# Names that a message holds before it says how many more there are.
NAMED = 5

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

    @classmethod
    def of_kind(cls, kind: str, file: str) -> "Problem":
        """One of a kind that needs no more words."""
        return cls(kind, file, _DETAILS[kind])


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


def files_below(
    root: str, start: str, above: Sequence[str] = ()
) -> Iterator[tuple[str | None, str]]:
    """Files in a folder and below it, as pairs (what is wrong or None, path from root).

    Links are followed; those that lead out of the root are listed besides. No folder
    is entered twice, nor one of those `above`, so that links in a circle end.
    """
    visited = {_identity(os.path.join(root, folder)) for folder in above}
    waiting = [start]
    if leads_out(root, start):
        yield LINK, start
    while waiting:
        here = waiting.pop(0)
        try:
            identity = _identity(os.path.join(root, here))
            names = visible(root, here)
        except OSError:
            yield UNREADABLE, here
            continue
        if identity in visited:
            continue
        visited.add(identity)
        for inside in names:
            path = os.path.join(here, inside)
            if leads_out(root, path):
                yield LINK, path
            if os.path.isdir(os.path.join(root, path)):
                waiting.append(path)
            else:
                yield (None if is_image_name(inside) else UNKNOWN_SUFFIX), path


def leads_out(root: str, path: str) -> bool:
    """Whether a path is a link to a place outside the root."""
    path = os.path.join(root, path)
    if not os.path.islink(path):
        return False
    return is_outside(root, path)


def is_outside(root: str, path: str) -> bool:
    """Whether a path from the root leads, over links or `..`, out of it."""
    root, path = os.path.realpath(root), os.path.realpath(os.path.join(root, path))
    return os.path.commonpath([root, path]) != root


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def is_image_name(name: str) -> bool:
    """Whether a file is an image by the suffix of its name."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def contradictory(
    names: Sequence[str],
    labels: Sequence[str],
    contents: Sequence[Hashable],
    what: str = "bytes",
) -> dict[int, str]:
    """The places of images that are in two classes, and in which with which others."""
    groups: dict[Hashable, list[int]] = {}
    for place, content in enumerate(contents):
        groups.setdefault(content, []).append(place)
    found = {}
    for group in groups.values():
        for place in group:
            others = [i for i in group if labels[i] != labels[place]]
            if others:
                same = f"same {what} as {names[others[0]]}"
                found[place] = f"{same}: {labels[place]} and {labels[others[0]]}"
    return dict(sorted(found.items()))


def notes_on(problems: Sequence[Problem]) -> list[str]:
    """Sentences that say which files are left out and why, and which links followed."""
    of_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        of_kind.setdefault(problem.kind, []).append(problem)
    links, skipped = of_kind.pop(LINK, []), of_kind.pop(UNKNOWN_SUFFIX, [])
    notes = []
    if links:
        files = first_few([problem.file for problem in links])
        notes.append(f"Links and paths out of the folder are followed: {files}.")
    if skipped:
        suffixes = Counter(os.path.splitext(p.file)[1] or "none" for p in skipped)
        counts = ", ".join(f"{name} {n:,}" for name, n in sorted(suffixes.items()))
        notes.append(f"Skipped for their suffixes: {printable(counts)}.")
    left_out = [problem for each in of_kind.values() for problem in each]
    if left_out:
        number = counted(len(left_out), "file")
        notes.append(f"Left out: {number}: {named(left_out)}.")
    return notes


def first_few(names: Sequence[str], separator: str = ", ") -> str:
    """Some names, and how many more there are."""
    more = [f"and {len(names) - NAMED:,} more"] if len(names) > NAMED else []
    return separator.join([*map(printable, names[:NAMED]), *more])


def named(problems: Sequence[Problem]) -> str:
    """The first files and their problems."""
    return first_few([f"{each.file} ({each.detail})" for each in problems], "; ")


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
        status = os.stat(path)
        is_readable = stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK)
        return status.st_size if is_readable else -1
    except (OSError, ValueError):
        return -1
