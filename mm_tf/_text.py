"""Words and tables as commands print them."""

import atexit
import io
import os
import select
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_STANDARD_OUTPUT = 1


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's kind if it has none.

    A line that leads to others by a colon is cut behind its last whole sentence.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
    return line.rpartition(". ")[0] or line if line.endswith(":") else line


def percent(value: float | None, digits: int = 2) -> str:
    """A percentage as text, `-` for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def counted(number: int, noun: str) -> str:
    """A number of things in words, as `1 epoch` or `1,240 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """The text without what a terminal or a font cannot show."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def escaped(name: str) -> str:
    """The name as text that JSON and every screen take, of bytes that are no text."""
    return name.encode("utf-8", "backslashreplace").decode()


def printable_lines(text: str) -> str:
    """The text, line by line without what a terminal cannot show."""
    return "\n".join(map(printable, text.split("\n")))


# The words of the command `mm_tf`, where that was typed.
typed: list[str] = []


def prepare_output() -> None:
    """Lets prints end in no error if a pipe is not UTF-8, or its reader has gone."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.excepthook = _without_reader
    atexit.register(has_reader)


def has_reader() -> bool:
    """Whether someone reads standard output; if not, what is left goes nowhere."""
    poll = select.poll()
    poll.register(_STANDARD_OUTPUT, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return True
    # The reader was `head`, say, and has its lines.
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_OUTPUT)
    return False


def _without_reader(kind: Any, error: Any, trace: Any) -> None:
    if not issubclass(kind, BrokenPipeError) or has_reader():
        sys.__excepthook__(kind, error, trace)


def table(
    columns: Sequence[str],
    rows: Iterable[Iterable[Any]],
    title: str | None = None,
    left: Sequence[int] = (0,),
) -> Any:
    """A `rich.table.Table` of plain texts; columns other than `left` align right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(Text(column), justify="left" if number in left else "right")
    for row in rows:
        made.add_row(*(Text(printable_lines(str(cell))) for cell in row))
    return made
