"""Digests by which equal files and equal images are found."""

import contextlib
import hashlib
import os
from collections.abc import Sequence

import numpy as np

from mm_tf.data.custom.image_files import ImageFiles, Images, Threads, available_cores

_BYTES_AT_ONCE = 2**20


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """Digest of a file's bytes, read a piece at a time.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while piece := file.read(_BYTES_AT_ONCE):
            digest.update(piece)
    return digest.digest()


def pixel_digest(image: np.ndarray) -> bytes:
    """Digest of an image's size and pixels.

    Args:
        image: An image, `uint8` [height, width, channels].

    Example:

    >>> import numpy as np
    >>> from mm_tf.data.custom.digests import pixel_digest
    >>> wide, high = np.zeros((1, 4, 3), np.uint8), np.zeros((4, 1, 3), np.uint8)
    >>> pixel_digest(wide) == pixel_digest(wide + 0)
    True
    >>> pixel_digest(wide) == pixel_digest(high)
    False
    """
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def file_digests(
    paths: Sequence[str], num_threads: int | None = None
) -> list[bytes | str]:
    """Digests of the bytes of files, in parallel.

    Args:
        paths: The files, [N].
        num_threads: Threads that read, at least 1. Defaults to `None`: the number of
            CPU cores that the process may use.

    Returns:
        A digest of each, [N]; the path of a file that cannot be read.
    """
    return Threads(num_threads or available_cores()).map(_digest_or_path, paths)


def _digest_or_path(path: str) -> bytes | str:
    with contextlib.suppress(OSError):
        return file_digest(path)
    return path


def content_digests(images: Images) -> list[bytes | str]:
    """What tells equal images from others: of files their bytes, else the pixels.

    Args:
        images: Images, an array [N, height, width, channels] or an `ImageFiles`, none
            of which is decoded.

    Returns:
        A digest of each, [N]; the path of a file that cannot be read.

    Example:

    >>> import numpy as np
    >>> from mm_tf.data.custom.digests import content_digests
    >>> first, second, third = content_digests(np.eye(3, dtype=np.uint8)[[0, 1, 0]])
    >>> first == second, first == third
    (False, True)
    """
    if isinstance(images, ImageFiles):
        return file_digests(images.paths)
    return [pixel_digest(image) for image in images]
