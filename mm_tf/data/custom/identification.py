"""Whether images of one's own are still those that something was done with."""

import hashlib
import os
from collections.abc import Iterator

import numpy as np

from mm_tf.data.custom.csv_file import list_csv
from mm_tf.data.custom.folders import list_folder
from mm_tf.data.custom.listing import Listing, data_file

# Files that are looked into, evenly spread over all of them, and how far. Of the
# others the name, the class, the part and the size count, so that a look at photos
# that fill a disk takes a second.
_FILES_READ = 256
_BYTES_READ = 2**16

_BYTES_AT_ONCE = 2**20


def data_digest(name: str, data_dir: str | os.PathLike[str] | None) -> str | None:
    """A digest of images of one's own, by which another set is known as another.

    Of a folder and a CSV file it covers each image's name, class, part and size in
    bytes, and the first 64 KiB of up to 256 files, evenly spread; of an archive,
    all of it. It does not cover where they lie, so images that were moved stay the
    same.
    """
    if name == "npz":
        pieces = _pieces_of_file(data_file(_given(data_dir), ".npz"), None)
    elif name in ("folder", "csv"):
        list_them = list_folder if name == "folder" else list_csv
        pieces = _pieces_of_listing(list_them(_given(data_dir)))
    else:
        return None
    digest = hashlib.blake2b(digest_size=8)
    try:
        for piece in pieces:
            # With its length, so that pieces cannot run into each other.
            digest.update(f"{len(piece)}:".encode())
            digest.update(piece)
    except OSError as error:
        raise ValueError(
            f"`data_dir` cannot be read ({error.strerror or error}). "
            f"Received: data_dir={os.fspath(_given(data_dir))!r}"
        ) from None
    return digest.hexdigest()


def _given(data_dir: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if data_dir is None:
        raise ValueError(
            "`data_dir` must say where the images are. Received: data_dir=None"
        )
    return data_dir


def _pieces_of_listing(listing: Listing) -> Iterator[bytes]:
    entries = listing.entries
    for entry in entries:
        fields = entry.name, entry.label, entry.split or "", _size(listing.path(entry))
        yield "\0".join(map(str, fields)).encode(errors="surrogateescape")
    spread = np.linspace(0, len(entries) - 1, min(len(entries), _FILES_READ))
    for i in np.unique(spread.round().astype(int)):
        path = listing.path(entries[i])
        # What cannot be read is told when it is decoded.
        if _size(path) >= 0:
            yield from _pieces_of_file(path, _BYTES_READ)


def _size(path: str) -> int:
    """Bytes of a file, -1 of none."""
    try:
        return os.stat(path).st_size if os.access(path, os.R_OK) else -1
    except (OSError, ValueError):
        return -1


def _pieces_of_file(path: str, limit: int | None) -> Iterator[bytes]:
    with open(path, "rb") as file:
        if limit is not None:
            yield file.read(limit)
            return
        while piece := file.read(_BYTES_AT_ONCE):
            yield piece
