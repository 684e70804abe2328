"""Digests by which equal files, equal images and equal data sets are found."""

import errno
import functools
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator

import numpy as np

_BYTES_AT_ONCE = 2**20


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """Digest of a file's bytes."""
    # To open a pipe would wait for a writer, and a device has no end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
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
