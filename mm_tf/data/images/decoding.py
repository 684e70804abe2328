"""From the file of an image to its pixels, one rule for all formats and modes."""

import contextlib
import functools
import importlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# No others: some of Pillow's formats start programs (EPS), most are never met.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
FORMAT_NAMES = "JPEG, PNG, WebP, BMP, GIF"
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif")

# A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as it stays this many
# times larger than what is asked for; Pillow's `thumbnail` has the same number.
_REDUCING_GAP = 2

# Pixels that all threads decode at the same time, of up to 12 bytes each.
PIXELS_AT_ONCE = 2**27


class ImageFileError(ValueError):
    """A file that should be an image cannot be decoded.

    Attributes:
        path: The file.
        reason: Why, in a few words.
    """

    def __init__(self, path: str, reason: str):
        super().__init__(
            f"An image must be a whole file of {FORMAT_NAMES} ({reason}). "
            f"Received: {path}"
        )
        self.path = path
        self.reason = reason

    def __reduce__(self):
        """Both arguments, for pickling: an exception has only its message."""
        return type(self), (self.path, self.reason)


def decode(
    path: str | os.PathLike[str],
    image_size: tuple[int, int] | None = None,
    channels: int = 3,
    content: bytes | None = None,
) -> np.ndarray:
    """Decodes one image, from its file or from the `content` of one of that name.

    - A camera's orientation (EXIF) is applied; an animation gives its first frame;
      colour profiles are not applied.
    - Grey, palette, CMYK and other modes become RGB (or grey, for one channel);
      16 bits become their upper 8; transparent pixels are shown on white. Where a
      PNG of 16-bit colours names one that is transparent, so is every colour of
      the same upper 8 bits.
    - The largest box of `image_size`'s proportions is cut out of the centre and
      resized to it, bicubic and without aliasing: the shorter side is resized and
      the longer one cropped. An image that has the size already keeps its pixels.
    - A JPEG that is more than twice as large as needed is decoded at 1/2, 1/4 or
      1/8 of its size, which is several times faster.

    The file is opened as one of JPEG, PNG, WebP, BMP and GIF, whatever its name.
    One of more pixels than `PIL.Image.MAX_IMAGE_PIXELS` (89 million, unless you
    change it) is an error before any of them is decoded.
    """
    with opened(path, content) as image:
        return to_array(image, image_size, channels)


def unless_broken(read: Callable[[Any], Any], image: Any) -> Any:
    """What `read` returns, or the `ImageFileError` of an image that it cannot decode.

    The error is a new one: the traceback of the other holds the image.
    """
    try:
        return read(image)
    except ImageFileError as error:
        return ImageFileError(error.path, error.reason)


@contextlib.contextmanager
def opened(
    name: str | os.PathLike[str], content: bytes | None = None
) -> "Iterator[Image.Image]":
    """Opens an image without decoding it; all that fails is an `ImageFileError`."""
    from PIL import Image

    import_plugins()
    name = os.fspath(name)
    try:
        if content is None:
            _check_file(name)
        file = name if content is None else io.BytesIO(content)
        with Image.open(file, formats=FORMATS) as image:
            pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
            if most is not None and pixels > most:
                reason = f"{pixels:,} pixels, and at most {most:,} are decoded"
                raise ImageFileError(name, reason)
            yield image
    except ImageFileError:
        raise
    except Exception as error:  # Pillow fails in as many ways as there are files.
        raise ImageFileError(name, _reason(error)) from error


def _check_file(path: str) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        # To open a pipe would wait for a writer, and a device has no end.
        raise ImageFileError(path, "it is not a regular file")
    if not status.st_size:
        raise ImageFileError(path, "the file is empty")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides Pillow's warnings where every broken file is reported anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def import_plugins() -> None:
    """Imports what Pillow needs for `FORMATS`, without its 40 other formats."""
    for plugin in ("Jpeg", "Mpo", "Png", "WebP", "Bmp", "Gif"):
        importlib.import_module(f"PIL.{plugin}ImagePlugin")


def to_array(
    image: "Image.Image",
    image_size: tuple[int, int] | None = None,
    channels: int = 3,
) -> np.ndarray:
    """Decodes an open image as `decode` does, when there is room for its pixels."""
    if image_size is not None:
        # Which side is which is not known before the orientation is applied.
        longer = _REDUCING_GAP * max(image_size)
        image.draft(None, (longer, longer))
    # A process that was forked has none of its parent's threads.
    with _room(PIXELS_AT_ONCE, os.getpid()).taken(image.width * image.height):
        return _pixels(image, image_size, channels)


class _Room:
    """Room for so many pixels, or for one image that is larger."""

    def __init__(self, size: int):
        self._size = self._left = size
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for the pixels, and takes it."""
        pixels = min(pixels, self._size)
        with self._changed:
            self._changed.wait_for(lambda: pixels <= self._left)
            self._left -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._left += pixels
                self._changed.notify_all()


@functools.cache
def _room(size: int, process: int) -> _Room:
    return _Room(size)


def _pixels(
    image: "Image.Image", image_size: tuple[int, int] | None, channels: int
) -> np.ndarray:
    from PIL import Image, ImageOps

    _scale_transparent_color(image)
    # First of all, because orientation swallows what goes wrong.
    image.load()
    # EXIF that cannot be read leaves the image as it lies in the file.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    image = _in_mode(image, "L" if channels == 1 else "RGB")
    if image_size is not None:
        height, width = image_size
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, channels)


def _scale_transparent_color(image: Any) -> None:
    """Brings the transparent colour of a PNG to the 8 bits that its pixels get."""
    color = image.info.get("transparency")
    if image.format == "PNG" and color is not None:
        stored = image.tile[0][3]
        if stored == "RGB;16B":
            image.info["transparency"] = tuple(value >> 8 for value in color)
        elif stored in ("L;2", "L;4"):
            image.info["transparency"] = color * 255 // (2 ** int(stored[-1]) - 1)


def _in_mode(image: "Image.Image", mode: str) -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I"):
        # Pillow's own conversion makes everything above 255 white.
        values = np.asarray(image)
        upper = np.clip(values, 0, 2**16 - 1) >> 8
        upper[values == image.info.get("transparency")] = 255
        image = Image.fromarray(upper.astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "unknown image format"
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than are decoded"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
