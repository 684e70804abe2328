"""A table of texts with what it is, as Markdown and on a terminal."""

import dataclasses
from typing import Any

from rich.console import Console

from mm_tf import _text


@dataclasses.dataclass(frozen=True)
class Section:
    """A table of texts with what it is.

    Attributes:
        title: Its heading.
        caption: What its numbers are, in sentences.
        cells: A `pandas.DataFrame` of texts.
        notes: Lines below it.
        left: The columns that a terminal does not align right.
        can_split: Whether a terminal may show the columns behind the first in several
            tables, one below the other.
    """

    title: str
    caption: str
    cells: Any
    notes: tuple[str, ...] = ()
    left: tuple[int, ...] = (0,)
    can_split: bool = False

    def to_markdown(self, level="#"):
        """Returns the section with a heading of this level."""
        # Texts that look like numbers stay as they are written.
        cells = self.cells.to_markdown(index=False, disable_numparse=True)
        notes = "\n".join(f"- {note}" for note in self.notes)
        parts = (f"{level} {self.title}", self.caption, cells, notes)
        return "\n\n".join(filter(None, parts)) + "\n"

    def print(self, console=None):
        """Prints the section, as many columns side by side as there is room."""
        console = console or Console(highlight=False)
        head = "\n".join(filter(None, (self.title, self.caption)))
        console.print(f"\n{_text.printable_lines(head)}", markup=False)
        name, *others = list(self.cells)
        size = max(1, self._room(console.width)) if self.can_split else len(others)
        for first in range(0, len(others), size):
            part = self.cells[[name, *others[first : first + size]]]
            rows = part.itertuples(index=False)
            console.print(_text.table(list(part), rows, left=self.left))
        for note in self.notes:
            console.print(_text.printable(note), markup=False)

    def _room(self, width):
        """How many columns of the widest there is room for, behind the first."""
        widths = [
            max(map(len, "\n".join([name, *self.cells[name]]).split("\n")))
            for name in self.cells
        ]
        padding = 2
        return (width - padding - widths[0]) // (padding + max(widths[1:]))
