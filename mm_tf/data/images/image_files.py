"""Images that stay in their files and are decoded when they are asked for."""

import functools
import math
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mm_tf._checks import check_integer
from mm_tf.data._checks import check_path
from mm_tf.data.images.decoding import (
    ImageFileError,
    decode,
    import_plugins,
    quiet,
    unless_broken,
)
from mm_tf.data.images.digests import file_digest, pixel_digest

MEMORY_LIMIT = 2**30

# Files that wait for threads at once, where a whole data set is gone through.
FILES_AT_ONCE = 1024


class ImageFiles:
    """An array of images `uint8` [N, height, width, channels], decoded on demand.

    It is read like a NumPy array along its first axis, `images[7]`,
    `images[10:20]`, `images[indices]`, and gives NumPy arrays. How an image is
    turned, converted, resized and cropped: see `mm_tf.data.images.decoding.decode`.
    The images depend only on the files, not on the number of threads.

    Where all images together have at most `memory_limit` bytes, each is decoded
    when it is first asked for and then stays in memory; otherwise each is decoded
    every time.
    So the memory holds at most `memory_limit` bytes of decoded images, those of all
    subsets counted together, the batches that are being made (`batch size x height x
    width x channels` bytes each) and images of the files' own size that are being
    decoded: one for each thread, together at most 2**27 pixels of up to about 12
    bytes.

    Args:
        paths: The files, [N].
        image_size: Height and width of all images, at least 1 each, or one number
            for both.
        channels: 3 (RGB) or 1 (grey). Defaults to 3.
        memory_limit: Bytes of decoded images that may stay in memory, at least 0.
            Defaults to 2**30, 1 GiB.
        num_threads: Threads that decode, at least 1. Defaults to `None`: the number
            of CPU cores that the process may use.

    Attributes:
        paths: The files, a tuple [N].
        shape: [N, height, width, channels].
        dtype: `uint8`.
        ndim: 4.
        nbytes: Bytes of all images, decoded.

    Raises:
        ValueError: If an argument is not as described.
        ImageFileError: From reading, if a file cannot be decoded; it names the file.

    Example:

    >>> import os, tempfile
    >>> from PIL import Image
    >>> from mm_tf.data import ImageFiles
    >>> path = os.path.join(tempfile.mkdtemp(), "red.png")
    >>> Image.new("RGB", (300, 200), "red").save(path)
    >>> images = ImageFiles([path, path], image_size=32)
    >>> images.shape, images[0].shape, images[[1, 0, 1]].shape
    ((2, 32, 32, 3), (32, 32, 3), (3, 32, 32, 3))
    >>> images[0, 0, 0].tolist()
    Traceback (most recent call last):
    IndexError: Images are read only along their first axis. Received: (0, 0, 0)
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        image_size: int | tuple[int, int],
        channels: int = 3,
        memory_limit: int = MEMORY_LIMIT,
        num_threads: int | None = None,
    ):
        if isinstance(paths, (str, bytes)) or not isinstance(paths, Iterable):
            raise ValueError(
                f"`paths` must be a list of paths. Received: paths={paths!r}"
            )
        self._files = tuple(check_path("paths", path) for path in paths)
        self._size = check_image_size(image_size)
        self._channels = check_channels(channels)
        self._memory_limit = check_integer("memory_limit", memory_limit, low=0)
        self._num_threads = check_threads(num_threads)
        # Subsets share these two.
        self._digests: dict[str, bytes | str] = {}
        self._caches: weakref.WeakSet[_Cache] = weakref.WeakSet()
        self._cache_if_it_fits()

    def _cache_if_it_fits(self) -> None:
        """Makes room for all images if `memory_limit` has as much left."""
        self._rows = np.arange(len(self._files))
        taken = sum(cache.images.nbytes for cache in self._caches)
        self._cache: _Cache | None = None
        if taken + self.nbytes <= self._memory_limit:
            self._cache = _Cache(self.shape)
            self._caches.add(self._cache)

    def __reduce__(self):
        """The files for pickling, without the images, and with a limit of its own."""
        arguments = self._size, self._channels, self._memory_limit, self._num_threads
        return ImageFiles, (self.paths, *arguments)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, [N]."""
        return tuple(self._files[row] for row in self._rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, height, width, channels."""
        return (len(self._rows), *self._size, self._channels)

    @property
    def nbytes(self) -> int:
        """Bytes of all images, decoded."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"ImageFiles of shape {self.shape}"

    def __getitem__(self, index: Any) -> np.ndarray:
        """Images [height, width, channels] or [B, height, width, channels]."""
        rows = None if isinstance(index, tuple) else np.asarray(self._rows[index])
        if rows is None or rows.ndim > 1:
            raise IndexError(
                f"Images are read only along their first axis. Received: {index!r}"
            )
        return self._read(rows) if rows.ndim else self._read(rows[np.newaxis])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All images as one array, if they have at most `memory_limit` bytes."""
        if self.nbytes > self._memory_limit:
            raise ValueError(
                f"All images at once must have at most memory_limit="
                f"{self._memory_limit:,} bytes: read them in batches, or give a larger "
                f"`memory_limit`. Received: {len(self):,} images of {self.nbytes:,} "
                "bytes"
            )
        return self[:].astype(dtype or self.dtype, copy=False)

    def subset(self, indices: Any) -> "ImageFiles":
        """Some of the images, none of which is decoded for that.

        Decoded images in memory are shared. Where the whole is too large
        for the memory, the subset stays in it if it fits into what other subsets
        have left of `memory_limit`.

        Args:
            indices: Positions, integers [M], or a slice or bool [N].

        Returns:
            A new `ImageFiles` [M, height, width, channels].
        """
        part = object.__new__(ImageFiles)
        vars(part).update(vars(self))
        part._rows = self._rows[indices]
        if self._cache is None:
            part._files = part.paths
            part._cache_if_it_fits()
        return part

    def check(self) -> dict[int, ImageFileError]:
        """Decodes every image once, in parallel, and finds those that cannot be.

        Returns:
            The error of each such image by its position, rising.
        """
        with quiet():
            found = self._map(
                functools.partial(unless_broken, self._decode_into_cache), self._rows
            )
        return {place: error for place, error in enumerate(found) if error is not None}

    def digests(self) -> list[bytes | str]:
        """Digest of each file's bytes, which are read for it once; or its path.

        Subsets share them. The path stands for a file that cannot be read.
        """
        new = [path for path in dict.fromkeys(self.paths) if path not in self._digests]
        found = self._map(_digest_or_path, new)
        self._digests.update(zip(new, found, strict=True))
        return [self._digests[path] for path in self.paths]

    def _map(self, function: Callable[[Any], Any], values: Any) -> list[Any]:
        return in_threads(self._num_threads, function, values)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """The images of some files, [B, height, width, channels]."""
        # Re-sampling draws an image more than once: it is decoded once.
        unique, places = np.unique(rows, return_inverse=True)
        if self._cache is not None:
            self._map(self._decode_into_cache, unique[~self._cache.is_there[unique]])
            return self._cache.images[rows]
        images = np.empty((len(unique), *self.shape[1:]), np.uint8)

        def fill(place: int) -> None:
            images[place] = self._decode(unique[place])

        self._map(fill, range(len(unique)))
        return images if np.array_equal(unique, rows) else images[places]

    def _decode_into_cache(self, row: int) -> None:
        """Decodes an image, which stays in memory if there is a cache."""
        image = self._decode(row)
        if self._cache is not None:
            self._cache.images[row], self._cache.is_there[row] = image, True

    def _decode(self, row: int) -> np.ndarray:
        return decode(self._files[row], self._size, self._channels)


class _Cache:
    """Decoded images that stay in memory, and which of them are there."""

    def __init__(self, shape: tuple[int, ...]):
        # Memory that is never written to costs nothing.
        self.images = np.empty(shape, np.uint8)
        self.is_there = np.zeros(len(self.images), dtype=bool)


Images = np.ndarray | ImageFiles


def content_digests(images: Images) -> list[bytes | str]:
    """Digests that are equal for equal images: of files' bytes, or else of pixels."""
    if isinstance(images, ImageFiles):
        return images.digests()
    return [pixel_digest(image) for image in images]


def take(images: Images, indices: Any) -> Images:
    """Some of the images; those of an `ImageFiles` are not decoded for that."""
    if isinstance(images, ImageFiles):
        return images.subset(indices)
    return images[indices]


def in_threads(
    number: int | None, function: Callable[[Any], Any], values: Any
) -> list[Any]:
    """Results in the order of `values`; the first that fails is raised.

    Without a number there is a thread for each CPU core that the process may use.
    """
    number = number or _available_cores()
    if number == 1 or len(values) < 2:
        return [function(value) for value in values]
    # A process that was forked has none of its parent's threads.
    pool = _pool(number, os.getpid())
    results: list[Any] = []
    # What waits for a thread takes a kilobyte, a file's name nothing beside it.
    for first in range(0, len(values), FILES_AT_ONCE):
        results += pool.map(function, values[first : first + FILES_AT_ONCE])
    return results


@functools.cache
def _pool(number: int, process: int) -> ThreadPoolExecutor:
    # Before threads import them all at the same time.
    import_plugins()
    return ThreadPoolExecutor(number, thread_name_prefix="mm_tf_image")


def _digest_or_path(path: str) -> bytes | str:
    try:
        return file_digest(path)
    except (OSError, ValueError):  # No path has a null byte.
        return path


def check_image_size(image_size: Any) -> tuple[int, int]:
    """Returns a height and a width of at least 1, from a pair or one number."""
    pair = image_size if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    if len(pair) != 2:
        raise ValueError(
            "`image_size` must be (height, width) or one number for both. "
            f"Received: image_size={image_size!r}"
        )
    height, width = (check_integer("image_size", side, low=1) for side in pair)
    return height, width


def check_channels(channels: Any) -> int:
    """Returns 1 or 3, or raises a ValueError."""
    if isinstance(channels, bool) or channels not in (1, 3):
        raise ValueError(
            f"`channels` must be 3 (RGB) or 1 (grey). Received: channels={channels!r}"
        )
    return int(channels)


def check_threads(num_threads: Any) -> int | None:
    """Returns a number of threads of at least 1, or None."""
    if num_threads is None:
        return None
    return check_integer("num_threads", num_threads, low=1)


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Not on macOS.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
