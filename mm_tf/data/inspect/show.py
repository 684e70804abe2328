"""Shows what is in a data set before training.

    python -m mm_tf.data.inspect photos --output=look

prints the images of each class, how imbalanced they are, and which files are broken,
there twice, or both in the training and in the test set. The exit status is 0, or 1
with --strict where something is wrong, or 2 where the data set cannot be read.
"""

import argparse
import contextlib
import csv
import io
import math
import os
import pathlib
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mm_tf import _checks, _files, _text
from mm_tf.class_errors import SHOT_GROUPS
from mm_tf.data._checks import check_path
from mm_tf.data.custom.assembly import DataWarning
from mm_tf.data.custom.folders import check_outside
from mm_tf.data.custom.listing import Problem
from mm_tf.data.custom.options import ReadOptions, parse_image_size
from mm_tf.data.dataset import check_name, dataset_at
from mm_tf.data.inspect.scan import Inspection, inspect_data
from mm_tf.data.prepared import DatasetUnavailableError

COUNTS = "counts.csv"
PROBLEMS = "problems.csv"
PICTURE = "counts.png"

_COLUMNS = ("class", "train", "train_percent", "test", "test_percent", "shot_group")

# A longer table does not help; the file of counts has all classes.
_MOST_SHOWN_CLASSES = 60
_SHOWN_OF_MANY = 20
_SHOWN_OF_A_KIND = 5

# Fields of `ReadOptions` that are flags as well.
_NUMBERS = (
    ("test_fraction", float, "without a test set: the share of each class for it"),
    ("split_seed", int, "without a test set: the seed of its draw"),
    ("channels", int, "for tfds: 3 (RGB) or 1 (grey); default as in a run"),
    ("memory_limit", int, "for tfds: most bytes of decoded images; default 1 GiB"),
    ("num_threads", int, "threads that decode; default one for each CPU core"),
)


def print_inspection(found: Inspection, console: Any = None) -> None:
    """Prints tables of an `Inspection`.

    Args:
        found: The `Inspection`.
        console: A `rich.console.Console`. Defaults to `None`: standard output.

    Example:

    >>> from mm_tf.data.inspect import print_inspection
    >>> from mm_tf.data.inspect.scan import inspect_data
    >>> print_inspection(inspect_data("digits"))  # doctest: +ELLIPSIS
    <BLANKLINE>
      Class        Training       %   Test       %   Shots
     ──────────────────────────────────────────────────────
      0                 128    9.87     50   10.00   many
    ...
    No problems found.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    console.print(_classes_table(found))
    for line in _lines(found):
        console.print(line, markup=False)
    if found.problems:
        console.print(_problems_table(found))
    else:
        console.print("No problems found.")


def write_inspection(
    found: Inspection, output: str | os.PathLike[str], overwrite: bool = False
) -> list[pathlib.Path]:
    """Writes `counts.csv`, `problems.csv` and `counts.png`.

    Each file takes its name when it is whole.

    Args:
        found: The `Inspection`.
        output: The folder, which is made if it is not there.
        overwrite: Whether files of these names may be replaced. Defaults to `False`.

    Returns:
        The paths.

    Raises:
        ValueError: If the folder cannot be written, or holds such a file without
            `overwrite`.

    Example:

    >>> import tempfile
    >>> from mm_tf.data.inspect import write_inspection
    >>> from mm_tf.data.inspect.scan import inspect_data
    >>> written = write_inspection(inspect_data("digits"), tempfile.mkdtemp())
    >>> [path.name for path in written]
    ['counts.csv', 'problems.csv', 'counts.png']
    """
    from mm_tf.data.inspect.picture import draw

    folder = check_output(output, overwrite)
    counts = [_COLUMNS, *_rows(found)]
    problems = [Problem._fields, *found.problems]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _files.whole_file(folder / PICTURE) as path:
            draw(found, path)
        for name, rows in ((COUNTS, counts), (PROBLEMS, problems)):
            text = io.StringIO(newline="")
            csv.writer(text).writerows(rows)
            # A name that is no Unicode comes out as the bytes that it is.
            _files.write_text(folder / name, text.getvalue(), "surrogateescape")
    except OSError as error:
        raise ValueError(
            f"`output` must be a folder that can be written ({error.strerror}). "
            f"Received: output={os.fspath(output)!r}"
        ) from None
    return [folder / name for name in (COUNTS, PROBLEMS, PICTURE)]


def check_output(output: str | os.PathLike[str], overwrite: bool) -> pathlib.Path:
    """Returns the folder to write into, if nothing of a user's would be lost."""
    folder = pathlib.Path(check_path("output", output))
    names = () if overwrite else (COUNTS, PROBLEMS, PICTURE)
    expected = f"a folder without {', '.join(names)} (--overwrite replaces them)"
    _files.check_folder("output", folder, names.__contains__, expected)
    return folder


def _rows(found: Inspection) -> list[tuple[str, ...]]:
    columns = (
        found.class_names,
        map(str, found.train_counts),
        _shares(found.train_counts),
        map(str, found.test_counts),
        _shares(found.test_counts),
        found.shot_groups,
    )
    return list(zip(*columns, strict=True))


def _shares(counts: np.ndarray) -> list[str]:
    total = counts.sum()
    return [_text.percent(100 * n / total if total else None) for n in counts.tolist()]


def _classes_table(found: Inspection) -> Any:
    rows = _rows(found)
    if len(rows) > _MOST_SHOWN_CLASSES:
        order = np.argsort(-found.train_counts, kind="stable").tolist()
        left_out = len(rows) - 2 * _SHOWN_OF_MANY
        rows = [
            *(rows[j] for j in order[:_SHOWN_OF_MANY]),
            (f"... {left_out:,} more", "", "", "", "", ""),
            *(rows[j] for j in order[-_SHOWN_OF_MANY:]),
        ]
    train, test = f"{found.train_counts.sum():,}", f"{found.test_counts.sum():,}"
    total = (f"{len(found.class_names):,} classes", train, "", test, "", "")
    columns = "Class", "Training", "%", "Test", "%", "Shots"
    table = _table(columns, [*rows, total], left=(0, 5))
    table.rows[-2].end_section = True
    return table


def _lines(found: Inspection) -> Iterator[str]:
    largest, smallest = found.train_counts.max(), found.train_counts.min()
    ratio = found.imbalance_ratio
    yield (
        f"Imbalance ratio: {'infinite' if math.isinf(ratio) else f'{ratio:.4g}'} "
        f"({largest:,} and {smallest:,} training images)"
    )
    groups = Counter(found.shot_groups)
    yield "Classes: " + ", ".join(
        f"{groups[group]:,} {group}-shot ({_range(*limits)})"
        for group, limits in SHOT_GROUPS.items()
    )
    if len(found.sizes):
        low, middle, high = np.quantile(
            found.sizes, (0, 0.5, 1), axis=0, method="nearest"
        )
        yield (
            "Sizes, width x height: "
            f"smallest {low[0]} x {low[1]}, median {middle[0]} x {middle[1]}, "
            f"largest {high[0]} x {high[1]} (each side separately)"
        )
    for what, counts in (("Formats", found.formats), ("Modes", found.modes)):
        named = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        yield f"{what}: {named or 'none'}"
    for note in found.notes:
        yield _text.printable(note)


def _range(low: float, high: float) -> str:
    return f"{low} {f'to {high}' if math.isfinite(high) else 'or more'} images"


def _problems_table(found: Inspection) -> Any:
    rows, last_rows = [], []
    for kind, count in Counter(problem.kind for problem in found.problems).items():
        of_kind = [problem[1:] for problem in found.problems if problem.kind == kind]
        if count > _SHOWN_OF_A_KIND:
            more = f"... {count - _SHOWN_OF_A_KIND:,} more", ""
            of_kind[_SHOWN_OF_A_KIND:] = [more]
        first = [f"{kind}: {count:,}", *[""] * len(of_kind)]
        rows += [(start, *row) for start, row in zip(first, of_kind, strict=False)]
        last_rows.append(len(rows) - 1)
    table = _table(("Problem", "File", "What"), rows, left=(0, 1, 2))
    for number in last_rows:
        table.rows[number].end_section = True
    return table


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]
) -> Any:
    shown = [[_text.printable(cell) for cell in row] for row in rows]
    table = _text.table(columns, shown, left=left)
    for column in table.columns:
        column.overflow = "fold"
    return table


def _parser() -> argparse.ArgumentParser:
    parser = _checks.parser("mm_tf.data.inspect", __doc__)
    flag = parser.add_argument
    place = "the folder, CSV file or archive; for cifar and tfds the folder of tfds"
    flag("path", metavar="PATH", nargs="?", help=f"as --data_dir: {place}")
    flag("--data_dir", metavar="PATH", help=place)
    flag(
        "--dataset",
        metavar="NAME",
        help="folder, csv or npz for your images; digits, cifar10, cifar100; "
        "or tfds:NAME; default as the path says, digits without one",
    )
    written = f"write {COUNTS}, {PROBLEMS} and {PICTURE} there"
    flag("--output", metavar="FOLDER", help=written)
    flag("--overwrite", action="store_true", help="replace these files if they exist")
    flag("--strict", action="store_true", help="exit with 1 if there is a problem")
    size = "for tfds: height and width, as 64 or 48x64; default as in a run"
    flag("--image_size", metavar="PIXELS", help=size)
    for name, kind, what in _NUMBERS:
        flag(f"--{name}", type=kind, default=getattr(ReadOptions, name), help=what)
    return parser


def _inspect(given: argparse.Namespace) -> Inspection:
    numbers = {name: getattr(given, name) for name, *_ in _NUMBERS}
    size = given.image_size
    image_size = None if size is None else parse_image_size(size)
    options = ReadOptions(image_size=image_size, **numbers)
    place = given.data_dir if given.path is None else given.path
    if None not in (given.data_dir, given.path):
        raise ValueError(
            "`data_dir` must be given once, as a flag or without. "
            f"Received: data_dir={given.data_dir!r} and {given.path!r}"
        )
    name = dataset_at(place) if given.dataset is None else check_name(given.dataset)
    if given.output is not None:
        check_output(given.output, given.overwrite)
        if name == "folder" and place:
            check_outside("output", given.output, place)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        # They are among the notes.
        warnings.simplefilter("ignore", DataWarning)
        with _progress() as progress:
            return inspect_data(name, place, options, progress)


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import Progress

    # On standard error, so that a pipe gets only the tables.
    console = Console(stderr=True)
    off = not console.is_terminal
    with Progress(console=console, transient=True, disable=off) as bar:
        task = bar.add_task("Images", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    given = _parser().parse_args(arguments)
    try:
        found = _inspect(given)
        print_inspection(found)
        if given.output is not None:
            for path in write_inspection(found, given.output, given.overwrite):
                print(f"Written: {path}")
    except (ValueError, DatasetUnavailableError) as error:
        print(f"mm_tf: {_text.printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("mm_tf: stopped.", file=sys.stderr)
        sys.exit(130)
    if given.strict and found.problems:
        sys.exit(1)
