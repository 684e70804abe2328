"""Digests by which equal files, equal images and equal data sets are found."""

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator

import numpy as np

from mm_tf.data.custom.listing import Listing

_BYTES_AT_ONCE = 2**20

# Files whose content counts for a listing's digest, evenly spread over all of them,
# and how many bytes of each: a look at photos that fill a disk takes a second.
_FILES_READ = 256
_BYTES_READ = 2**16


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """Digest of a file's bytes."""
    with open(path, "rb") as file:
        blake2b = functools.partial(hashlib.blake2b, digest_size=16)
        return hashlib.file_digest(file, blake2b).digest()


def pixel_digest(image: np.ndarray) -> bytes:
    """Digest of an image's size and pixels."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def digest_of(pieces: Iterable[bytes]) -> str:
    """Digest of a data set, from pieces of it."""
    digest = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        # With its length, so that pieces cannot run into each other.
        digest.update(f"{len(piece)}:".encode())
        digest.update(piece)
    return digest.hexdigest()


def pieces_of_file(path: str) -> Iterator[bytes]:
    """All of a file."""
    with open(path, "rb") as file:
        yield from iter(lambda: file.read(_BYTES_AT_ONCE), b"")


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
