"""Files that are whole or not there, and files of strangers read with care."""

import contextlib
import fnmatch
import itertools
import json
import math
import os
import pathlib
import shlex
import shutil
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.lib import format as numpy_format

from mm_tf._text import escaped, first_line

# What `whole_file` writes to. A process that was killed leaves one.
UNFINISHED = ".[0-9]*.incomplete.*"
# A checkpoint's name, and no name that a user gives a copy of one.
CHECKPOINT = f"epoch{'[0-9]' * 5}-step{'[0-9]' * 7}.npz"

# Beyond the files of the largest networks, and far below what fills a memory by a
# header that lies.
MOST_BYTES_OF_ARRAYS = 8 * 2**30
# The limits of a flagfile, and of a run's other texts, even with 10,000 classes.
MOST_BYTES_OF_FLAGS = 2**16
MOST_BYTES_OF_TEXT = 2**26


class WriteError(OSError):
    """A file cannot be written; what stood in its place is still there."""


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Gives a name to write to, whose file then takes the place of `path`.

    What stood at `path` is there until the new file is on the disk. If writing
    fails, it stays, and the new file is removed.
    """
    path = pathlib.Path(path)
    with _beside(path) as unfinished:
        yield unfinished
        sync(unfinished)
        os.replace(unfinished, path)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Gives a new folder to write into, which then takes the place of `path`.

    As `whole_file`.
    """
    path = pathlib.Path(path)
    replaced = path.with_name(f".{os.getpid()}.replaced.{path.name}")
    with _beside(path) as unfinished:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()
        yield unfinished
        for each in [*unfinished.rglob("*"), unfinished]:
            sync(each)
        if path.exists():
            os.replace(path, replaced)
        try:
            os.replace(unfinished, path)
        except OSError as error:
            try:
                if replaced.exists():
                    os.replace(replaced, path)
            except OSError:
                reason = f"{error.strerror}; what stood there is now {replaced}"
                raise OSError(error.errno, reason) from None
            raise
    shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def _beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name beside `path`, at which nothing is left if writing fails."""
    unfinished = path.with_name(f".{os.getpid()}.incomplete.{path.name}")
    try:
        yield unfinished
        sync(path.parent)
    except BaseException as error:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        if isinstance(error, OSError):
            # HDF5 gives the reason only as text.
            reason = error.strerror or str(error).split(" (", 1)[0]
            raise WriteError(error.errno, reason, str(path)) from error
        raise


def foreign(folder: pathlib.Path, written: Collection[str]) -> list[str]:
    """The names in a folder, and below it, that no pattern of `written` matches."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return sorted(name for name in names if not matches(name, written))


def matches(name: str, patterns: Collection[str]) -> bool:
    """Whether a name matches one of the patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def check_is_ours(argument: str, path: pathlib.Path, begin: str) -> None:
    """Refuses a file to write that is there already and does not begin as ours do."""
    if path.is_file():
        with path.open("rb") as file:
            is_ours = file.read(len(begin)) == begin.encode()
        if is_ours:
            return
    if path.exists() or path.is_symlink():
        raise ValueError(
            f"`{argument}` must not be where another file than an earlier table would "
            f"be replaced. Received: {path}"
        )


def check_folder(
    argument: str,
    folder: pathlib.Path,
    must_stay: Callable[[str], bool],
    expected: str = "a new or empty folder",
) -> None:
    """Refuses a folder to write into that holds a name that must stay."""
    received = f"Received: {argument}={os.fspath(folder)!r}"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`{argument}` must be a folder. {received}")
    names = sorted(each.name for each in folder.glob("*") if must_stay(each.name))
    if names:
        raise ValueError(
            f"`{argument}` must be {expected}, and this one holds {names[0]}. "
            f"{received}"
        )


def free_flag(folder: str | os.PathLike[str]) -> str:
    """The `--output_dir` that names a free folder beside one that is taken."""
    numbered = (f"{os.fspath(folder)}_{number}" for number in itertools.count(2))
    free = next(path for path in numbered if not os.path.lexists(path))
    return f"--output_dir={shlex.quote(free)}"


def remove_unfinished(folder: str | os.PathLike[str], name: str = "*") -> None:
    """Removes what `whole_file` left of a process that was killed."""
    for path in pathlib.Path(folder).glob(UNFINISHED.removesuffix("*") + name):
        path.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str, errors: str = "strict") -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors=errors)


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON as people read it: letters are not escaped, but what is no Unicode is."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # JSON writes a lone surrogate as Python does.
    return f"{escaped(text)}\n"


def sync(path: str | os.PathLike[str]) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuses a pipe or a device, which may have no end or wait for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is not a regular file")


def read_text(path: str | os.PathLike[str], most_bytes: int) -> str:
    """Reads a text file of a bounded size."""
    check_regular(path)
    with open(path, "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]
) -> None:
    """Writes an `.npz` file, whole or not at all."""
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(
    path: str | os.PathLike[str], most_bytes: int = MOST_BYTES_OF_ARRAYS
) -> dict[str, np.ndarray]:
    """Reads all of an `.npz` file, only as data.

    Nothing in it is executed (no pickles), and no memory is set aside for more
    than the file holds.
    """
    check_regular(path)
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                size = sum(part.file_size for part in archive.infolist())
                if size > most_bytes:
                    raise ValueError(f"its arrays have {size:,} bytes")
                for part in archive.infolist():
                    _check_header(archive, part)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        # zipfile and NumPy fail in many ways on bytes that are no archive.
        except Exception as error:
            raise ValueError(
                f"{path} cannot be read as arrays: {first_line(error)}"
            ) from None


def _check_header(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """Refuses an array that says it is larger than its bytes."""
    with archive.open(part) as file:
        if numpy_format.read_magic(file) == (1, 0):
            shape, _, dtype = numpy_format.read_array_header_1_0(file)
        else:
            shape, _, dtype = numpy_format.read_array_header_2_0(file)
        expected = part.file_size - file.tell()
    if dtype.hasobject:
        raise ValueError(f"{part.filename} holds Python objects")
    size = dtype.itemsize * math.prod(shape)
    if size != expected:
        raise ValueError(
            f"{part.filename} has {expected:,} bytes where its header says {size:,}"
        )
