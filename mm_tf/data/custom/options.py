"""How custom data is read: one dataclass, checked before anything is read."""

import dataclasses
import re
from collections.abc import Sequence

from mm_tf._checks import check_bool, check_integer
from mm_tf.data.images.image_files import (
    MEMORY_LIMIT,
    check_channels,
    check_image_size,
    check_threads,
)
from mm_tf.data.splits import check_share

# Height and width of images in files, unless something else is asked for: CIFAR's,
# which the networks of `mm_tf.models` are made for.
DEFAULT_SIZE = (32, 32)

_IMAGE_SIZE = re.compile(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?")


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How custom data is read.

    Attributes:
        image_size: Height and width that images are resized and cropped to, or one
            number for both. Defaults to `None`: the size of arrays, and of `tfds` data
            sets of one size, stays; others become 32 x 32.
        channels: 3 (RGB) or 1 (grey). Defaults to `None`: those of arrays and of grey
            `tfds` data sets stay; others become 3.
        test_fraction: Where there are no test images: the share of each class that
            is taken from the training images, between 0 and 1, both excluded.
            Defaults to 0.2.
        split_seed: Seed of the choice of these, an integer of at least 0. Defaults
            to 0.
        strict: Whether a file that cannot be decoded, or has a copy in another class,
            is an error. Defaults to `False`: it is left out, and a `DataWarning` says
            so. Arrays in two classes stay, and a warning names them.
        verify: Whether every file is read and decoded once before anything else, to
            find those. Without it, a file that cannot be decoded is an error when it
            is met. Defaults to `True`.
        horizontal_flip: Whether a mirrored image still shows the same class.
            Defaults to `True`, as for photographs; say `False` for writing.
        memory_limit: Bytes of decoded images that stay in memory, at least 0;
            see `ImageFiles`. Defaults to 2**30, 1 GiB.
        num_threads: Threads that decode, at least 1. Defaults to `None`: the number
            of CPU cores that the process may use.
        class_names: The classes of a folder or a CSV file in the order of their
            numbers. Defaults to `None`: the order of their names, or of their
            numbers where all of them are whole numbers.

    Raises:
        ValueError: If a value is not as described.

    Example:

    >>> from mm_tf.data import ReadOptions
    >>> ReadOptions(image_size=64).image_size
    (64, 64)
    """

    image_size: int | tuple[int, int] | None = None
    channels: int | None = None
    test_fraction: float = 0.2
    split_seed: int = 0
    strict: bool = False
    verify: bool = True
    horizontal_flip: bool = True
    memory_limit: int = MEMORY_LIMIT
    num_threads: int | None = None
    class_names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Checks all values, before anything is read."""
        if self.image_size is not None:
            object.__setattr__(self, "image_size", check_image_size(self.image_size))
        if self.channels is not None:
            check_channels(self.channels)
        check_share("test_fraction", self.test_fraction)
        check_integer("split_seed", self.split_seed, low=0)
        check_integer("memory_limit", self.memory_limit, low=0)
        check_threads(self.num_threads)
        for name in ("strict", "verify", "horizontal_flip"):
            check_bool(name, getattr(self, name))


def check_options(options: ReadOptions | None) -> ReadOptions:
    """Returns the options, those by default for `None`, or raises a ValueError."""
    if options is None:
        return ReadOptions()
    if not isinstance(options, ReadOptions):
        raise ValueError(
            f"`options` must be a `ReadOptions` or None. Received: options={options!r}"
        )
    return options


def parse_image_size(text: str) -> tuple[int, int]:
    """The height and width that a flag says."""
    match = _IMAGE_SIZE.fullmatch(text)
    if match is None:
        raise ValueError(
            "`image_size` must be a number of pixels, or height x width, as 64 or "
            f"48x64. Received: image_size={text!r}"
        )
    return int(match[1]), int(match[2] or match[1])
