"""Images that stay in their files and are decoded when they are asked for."""

import functools
import os
import weakref
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from mm_tf._checks import check_integer
from mm_tf.data._checks import check_path
from mm_tf.data.custom.decoding import ImageFileError, decode, import_plugins, quiet
from mm_tf.data.custom.digests import file_digest, pixel_digest

MEMORY_LIMIT = 2**30

# Files that wait for threads at once, where a whole data set is gone through.
_FILES_AT_ONCE = 1024


class ImageFiles:
    """An array of images `uint8` [N, height, width, channels], decoded on demand.

    It is read like a NumPy array along its first axis, `images[7]`,
    `images[10:20]`, `images[indices]`, and gives NumPy arrays. How an image is
    turned, converted, resized and cropped: see `mm_tf.data.custom.decoding.decode`.
    The images depend only on the files, not on the number of threads.

    Where all images together have at most `memory_limit` bytes, each is decoded
    when it is first asked for and then stays in memory; otherwise each is decoded
    every time.
    So the memory holds at most `memory_limit` bytes of decoded images, those of all
    subsets counted together, the batches that are being made (`batch size x height x
    width x channels` bytes each) and `num_threads` images of the files' own size (up
    to about 12 bytes a pixel each, and at most `PIL.Image.MAX_IMAGE_PIXELS` pixels).

    Args:
        paths: The files, [N].
        image_size: Height and width of all images, at least 1 each, or one number
            for both.
        channels: 3 (RGB) or 1 (grey). Defaults to 3.
        memory_limit: Bytes of decoded images that may be kept, at least 0. Defaults
            to 2**30, 1 GiB.
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
        self._decoder = _Decoder(
            tuple(check_path("paths", path) for path in paths),
            check_image_size(image_size),
            check_channels(channels),
            _Budget(check_integer("memory_limit", memory_limit, low=0)),
            _check_threads(num_threads),
            {},
        )
        self._rows = np.arange(len(self._decoder.paths))

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, [N]."""
        return tuple(self._decoder.paths[row] for row in self._rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, height, width, channels."""
        return (len(self._rows), *self._decoder.image_shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all images, decoded."""
        return len(self._rows) * self._decoder.bytes_per_image

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
        if rows.ndim == 0:
            return self._decoder.read(rows[np.newaxis])[0]
        return self._decoder.read(rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All images as one array, if they have at most `memory_limit` bytes."""
        if copy is False:
            raise ValueError("Files become an array by copying. Received: copy=False")
        limit = self._decoder.budget.limit
        if self.nbytes > limit:
            raise ValueError(
                f"All images at once must have at most memory_limit={limit:,} bytes: "
                "read them in batches, or give a larger `memory_limit`. "
                f"Received: {len(self):,} images of {self.nbytes:,} bytes"
            )
        return self[:].astype(dtype or self.dtype, copy=False)

    def subset(self, indices: Any) -> "ImageFiles":
        """Some of the images, none of which is decoded for that.

        Decoded images in memory are shared. Where the whole is too large to be
        kept, the subset is kept if it fits into what other subsets have left of
        `memory_limit`.

        Args:
            indices: Positions, integers [M], or a slice or bool [N].

        Returns:
            A new `ImageFiles` [M, height, width, channels].
        """
        part = object.__new__(ImageFiles)
        part._decoder, part._rows = self._decoder, self._rows[indices]
        if not self._decoder.keeps:
            part._decoder = self._decoder.subset(part._rows)
            part._rows = np.arange(len(part._rows))
        return part

    def check(
        self, progress: Callable[[int], Any] | None = None
    ) -> dict[int, ImageFileError]:
        """Decodes every image once, in parallel, and finds those that cannot be.

        Args:
            progress: Called now and then with the number of images done since the
                last call. Defaults to `None`.

        Returns:
            The error of each such image by its position, rising.
        """
        found: list[ImageFileError | None] = []
        for first in range(0, len(self), _FILES_AT_ONCE):
            rows = self._rows[first : first + _FILES_AT_ONCE]
            with quiet():
                found += self._decoder.errors(rows)
            if progress is not None:
                progress(len(rows))
        return {place: error for place, error in enumerate(found) if error is not None}

    def digests(self) -> list[bytes | str]:
        """Digest of each file's bytes, which are read for it once; or its path.

        Subsets share them. The path stands for a file that cannot be read.
        """
        return self._decoder.digests(self._rows)


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


class Threads(NamedTuple):
    """A number of threads, which are started when they are first used."""

    number: int

    def map(self, function: Callable[[Any], Any], values: Any) -> list[Any]:
        """Results in the order of `values`; the first that fails is raised."""
        if self.number == 1 or len(values) < 2:
            return [function(value) for value in values]
        # A process that was forked has none of its parent's threads.
        pool = _pool(self.number, os.getpid())
        results: list[Any] = []
        # What waits for a thread takes a kilobyte, a file's name nothing beside it.
        for first in range(0, len(values), _FILES_AT_ONCE):
            results += pool.map(function, values[first : first + _FILES_AT_ONCE])
        return results


@functools.cache
def _pool(number: int, process: int) -> ThreadPoolExecutor:
    # Before threads import them all at the same time.
    import_plugins()
    return ThreadPoolExecutor(number, thread_name_prefix="mm_tf_image")


class _Budget:
    """Bytes that an `ImageFiles` and all of its subsets together may keep."""

    def __init__(self, limit: int):
        self.limit = limit
        self._taken: MutableMapping[Any, int] = weakref.WeakKeyDictionary()

    def take(self, owner: Any, size: int) -> bool:
        """Whether so many bytes are left; then `owner` has them while it lives."""
        fits = sum(self._taken.values()) + size <= self.limit
        if fits:
            self._taken[owner] = size
        return fits

    def __reduce__(self):
        return _Budget, (self.limit,)


class _Decoder:
    """What an `ImageFiles` and its subsets share: files and decoded images."""

    def __init__(
        self,
        paths: tuple[str, ...],
        image_size: tuple[int, int],
        channels: int,
        budget: _Budget,
        threads: Threads,
        digests: dict[str, bytes | str],
    ):
        self._arguments = (image_size, channels, budget, threads, digests)
        self.paths = paths
        self.image_shape = (*image_size, channels)
        self.bytes_per_image = int(np.prod(self.image_shape))
        self.budget = budget
        self._threads, self._digests = threads, digests
        self.keeps = budget.take(self, len(paths) * self.bytes_per_image)
        # Memory that is never written to costs nothing.
        self._kept = np.empty(
            (len(paths) if self.keeps else 0, *self.image_shape), np.uint8
        )
        self._is_kept = np.zeros(len(self._kept), dtype=bool)

    def __reduce__(self):
        return _Decoder, (self.paths, *self._arguments)

    def subset(self, rows: np.ndarray) -> "_Decoder":
        """A decoder of some of the files, which keeps nothing yet."""
        return _Decoder(tuple(self.paths[row] for row in rows), *self._arguments)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The images of some files, [B, height, width, channels]."""
        if self.keeps:
            self._threads.map(self._keep, np.unique(rows[~self._is_kept[rows]]))
            return self._kept[rows]
        # Re-sampling draws an image more than once: it is decoded once.
        unique, places = np.unique(rows, return_inverse=True)
        images = np.empty((len(unique), *self.image_shape), np.uint8)

        def fill(place: int) -> None:
            images[place] = self._decode(unique[place])

        self._threads.map(fill, range(len(unique)))
        return images if np.array_equal(unique, rows) else images[places]

    def errors(self, rows: np.ndarray) -> list[ImageFileError | None]:
        """The error of each file that cannot be decoded, None for the others."""
        return self._threads.map(self._error, rows)

    def digests(self, rows: np.ndarray) -> list[bytes | str]:
        """Digests of some files' bytes, each found once."""
        paths = [self.paths[row] for row in rows]
        new = [path for path in dict.fromkeys(paths) if path not in self._digests]
        found = self._threads.map(_digest_or_path, new)
        self._digests.update(zip(new, found, strict=True))
        return [self._digests[path] for path in paths]

    def _error(self, row: int) -> ImageFileError | None:
        try:
            if self.keeps:
                self._keep(row)
            else:
                self._decode(row)
        except ImageFileError as error:
            # A new one: that one's traceback holds the image.
            return ImageFileError(error.path, error.reason)
        return None

    def _keep(self, row: int) -> None:
        if not self._is_kept[row]:
            self._kept[row] = self._decode(row)
            self._is_kept[row] = True

    def _decode(self, row: int) -> np.ndarray:
        image_size, channels, *_ = self._arguments
        return decode(self.paths[row], image_size, channels)


def _digest_or_path(path: str) -> bytes | str:
    try:
        return file_digest(path)
    except OSError:
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


def _check_threads(num_threads: Any) -> Threads:
    if num_threads is None:
        return Threads(available_cores())
    return Threads(check_integer("num_threads", num_threads, low=1))


def available_cores() -> int:
    """The number of CPU cores that the process may use."""
    if hasattr(os, "sched_getaffinity"):  # Not on macOS.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
