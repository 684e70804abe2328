"""Digests by which equal files and equal images are found."""

import contextlib
import hashlib
import os
from collections.abc import Sequence

import numpy as np

from mm_tf.data.custom.image_files import ImageFiles, Images, Threads, available_cores

_BYTES_AT_ONCE = 2**20


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """Digest of a file's bytes, read a piece at a time."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while piece := file.read(_BYTES_AT_ONCE):
            digest.update(piece)
    return digest.digest()


def pixel_digest(image: np.ndarray) -> bytes:
    """Digest of an image's size and pixels."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def file_digests(
    paths: Sequence[str], num_threads: int | None = None
) -> list[bytes | str]:
    """Digests of the bytes of files, in parallel."""
    return Threads(num_threads or available_cores()).map(_digest_or_path, paths)


def _digest_or_path(path: str) -> bytes | str:
    with contextlib.suppress(OSError):
        return file_digest(path)
    return path


def content_digests(images: Images) -> list[bytes | str]:
    """What tells equal images from others: of files their bytes, else the pixels."""
    if isinstance(images, ImageFiles):
        return file_digests(images.paths)
    return [pixel_digest(image) for image in images]
