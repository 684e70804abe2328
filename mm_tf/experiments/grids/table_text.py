"""A table of errors as text: Markdown, CSV, LaTeX, and on a terminal."""

import dataclasses
import math
import pathlib

import pandas as pd
from rich.console import Console

from mm_tf import _files, _text
from mm_tf.experiments import paper
from mm_tf.experiments.grids.pairs import CONFIDENCE, PairedDifference
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs.result import EVALUATED_ON


@dataclasses.dataclass(frozen=True)
class Style:
    """How a cell and its parts are written; each is a format string."""

    mean: str = "{mean:.2f}"
    sd: str = " ± {sd:.2f}"
    evaluated: str = " {evaluated}"
    n: str = " (n = {n})"
    mark: str = " [{mark}]"
    published: str = " ({published:.2f}, {difference:+.2f})"
    cell: str = "{}"


PLAIN = Style()
# Two lines, for a terminal.
NARROW = Style(published="\n{published:.2f} ({difference:+.2f})")
# All of it is mathematics, so that a minus is not set as a hyphen.
LATEX = Style(
    sd=r" \pm {sd:.2f}",
    evaluated=r"\ \mbox{{{evaluated}}}",
    n=r"\ (n = {n})",
    mark="^{{[{mark}]}}",
    published=r"\ ({published:.2f},\ {difference:+.2f})",
    cell="${}$",
)

MISSING = "-"

# The captions' signs that LaTeX reads otherwise; cells are escaped by pandas.
_LATEX_SIGNS = str.maketrans({"%": r"\%", "±": r"$\pm$"})


@dataclasses.dataclass(frozen=True)
class Table:
    """Errors over seeds, methods by settings, beside the published numbers.

    Attributes:
        frame: A `pandas.DataFrame`, one row a setting and method, with the columns
            `aggregate.COLUMNS`: number of runs and their seeds; mean and sample
            standard deviation (`sd`) of the top-1 error in % after the last epoch, and
            of the best epoch (`best_mean`, `best_sd`), which is chosen on the test
            images, so it flatters; the published number, the difference `mean -
            published`, whether the two are of one protocol, in what they differ,
            and on which images errors are (`"test"` or `"holdout"`; on a hold-out
            there is no difference to a published number). What is missing is NaN.
        methods, settings: The rows and the columns, in their order.
        best_epoch: Whether the texts show the table of best epochs as well.
        pairs: The `PairedDifference`s that the texts show.
    """

    frame: pd.DataFrame
    methods: tuple[str, ...]
    settings: tuple[str, ...]
    best_epoch: bool = False
    pairs: tuple[PairedDifference, ...] = ()

    @property
    def n(self):
        """The runs of a cell, where the cell does not say another number."""
        return int(self.frame["n"].max()) if len(self.frame) else 0

    @property
    def marks(self):
        """{how runs differ from the paper's protocol: the mark of such cells}."""
        texts = self.frame["protocol_differences"]
        distinct = dict.fromkeys(text for text in texts if text)
        return {text: number for number, text in enumerate(distinct, start=1)}

    @property
    def notes(self):
        """Pairs (mark or "", text): what is said below the table."""
        notes = [
            (f"[{mark}]", f"Not the paper's protocol: {differences}.")
            for differences, mark in self.marks.items()
        ]
        strange = "; ".join(self._not_in_paper())
        if strange:
            notes.append(("", f"Not in the paper: {strange}."))
        if self.frame["comparable"].any():
            notes.append(("", paper.ALWAYS_DIFFERENT))
        notes.append(
            (
                "",
                "The seeds vary initial weights, order, crops and flips, not which "
                "images are drawn.",
            )
        )
        return notes

    def _not_in_paper(self):
        strange = [name for name in self.settings if name not in paper.SETTINGS]
        if strange:
            yield ", ".join(strange)
        # Methods that lack the same settings are named together.
        methods: dict[str, list[str]] = {}
        for method in self.methods:
            lacking = ", ".join(
                setting
                for setting in self.settings
                if setting in paper.SETTINGS
                and paper.published_error(setting, method) is None
            )
            methods.setdefault(lacking, []).append(_title(method))
        for lacking, titles in methods.items():
            if lacking:
                yield f"{' and '.join(titles)} on {lacking}"

    def cells(self, best=False, style=PLAIN):
        """Returns what the table shows: titles by settings, a DataFrame of texts.

        Args:
            best: Whether to show the best epoch's error, not the last one's.
            style: A `Style`.
        """
        texts = [self._cell(row, best, style) for _, row in self.frame.iterrows()]
        column = pd.Series(
            texts, index=pd.MultiIndex.from_frame(self.frame[["setting", "method"]])
        )
        wide = column.unstack("setting").reindex(
            index=list(self.methods), columns=list(self.settings)
        )
        wide.index = pd.Index([_title(method) for method in self.methods])
        return wide.rename_axis(index=None, columns=None)

    def pair_cells(self):
        """Returns the paired differences as a DataFrame of texts."""
        marks = self.pair_marks
        return pd.DataFrame([_pair_texts(pair, marks) for pair in self.pairs])

    @property
    def pair_marks(self):
        """{how runs of a pair differ beside the method: the mark of such pairs}."""
        distinct = dict.fromkeys(p.differences for p in self.pairs if p.differences)
        return {text: n for n, text in enumerate(distinct, start=len(self.marks) + 1)}

    @property
    def pair_notes(self):
        """Pairs (mark, text): what is said below the paired differences."""
        return [
            (f"[{mark}]", f"Not only the methods differ, the runs do too: {text}.")
            for text, mark in self.pair_marks.items()
        ]

    def caption(self, best=False):
        """Returns what the numbers are, in a few sentences."""
        ran = self.frame[self.frame["n"] > 0]
        epoch = "last epoch"
        if best:
            epoch = f"best epoch (chosen on {self._evaluated_words}: flatters)"
        number = f"n = {self.n}"
        if (ran["n"] < self.n).any():
            number += " unless the cell says otherwise"
        sentences = [
            f"Top-1 error on the {self._evaluated_words} images in %, {epoch}: mean ± "
            f"sample standard deviation over seeds ({number})."
        ]
        if set(ran["evaluated_on"]) == set(EVALUATED_ON):
            sentences.append(
                "Cells that say so are on hold-out images: they do not compare with "
                "the others."
            )
        if ran["difference"].notna().any():
            sentences.append(
                "In parentheses: the published number, and measured - published."
            )
        if len(ran) < len(self.frame):
            sentences.append(f"{MISSING}: not run.")
        return " ".join(sentences)

    @property
    def _evaluated_words(self):
        """The word before "images" of all cells, or of those that do not say it."""
        evaluated = set(self.frame["evaluated_on"]) - {""}
        (one,) = evaluated if len(evaluated) == 1 else ("test",)
        return EVALUATED_ON[one]

    @property
    def pairs_caption(self):
        """What the paired differences are, in a sentence."""
        return (
            "Differences of top-1 error, last epoch, in percentage points, paired over "
            f"the same n seeds: mean and {CONFIDENCE:.0%} confidence interval "
            "(Student's t). Below 0: the first method errs less."
        )

    def to_markdown(self):
        """Returns the table, its notes and what was asked for beside it."""
        parts = ["# Top-1 errors beside the paper's Table 1", self.caption()]
        parts.append(_markdown(self.cells()))
        parts.append(_list(self.notes))
        if self.best_epoch:
            parts += [f"## Best epoch, chosen on the {self._evaluated_words} images"]
            parts += [self.caption(best=True), _markdown(self.cells(best=True))]
        if self.pairs:
            parts += ["## Paired differences", self.pairs_caption]
            parts.append(_markdown(self.pair_cells(), index=False))
            parts += [_list(self.pair_notes)] if self.pair_notes else []
        return "\n\n".join(parts) + "\n"

    def to_csv(self):
        """Returns `frame` as CSV text; what is missing is empty."""
        return self.frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")

    def to_latex(self):
        """Returns the table as LaTeX, with the package booktabs."""
        cells = _latex(self.cells(style=LATEX))
        parts = [_latex_float(self.caption(), cells, _latex_list(self.notes))]
        if self.best_epoch:
            cells = self.cells(best=True, style=LATEX)
            parts.append(_latex_float(self.caption(best=True), _latex(cells)))
        if self.pairs:
            pairs = _latex(self.pair_cells(), "latex", index=False)
            notes = [_latex_list(self.pair_notes)] if self.pair_notes else []
            parts.append(_latex_float(self.pairs_caption, pairs, *notes))
        return "% Needs \\usepackage{booktabs}.\n" + "\n".join(parts)

    def _cell(self, row, best, style):
        if not row["n"]:
            return MISSING
        mean, sd = ("best_mean", "best_sd") if best else ("mean", "sd")
        mark = self.marks.get(row["protocol_differences"])
        is_there = {
            "mean": True,
            "sd": not math.isnan(row[sd]),
            "evaluated": row["evaluated_on"] != "test",
            "mark": mark is not None,
            "n": row["n"] != self.n,
            "published": not math.isnan(row["difference"]),
        }
        values = {
            "mean": row[mean],
            "sd": row[sd],
            "evaluated": EVALUATED_ON[row["evaluated_on"]],
            "mark": mark,
            "n": row["n"],
            "published": row["published"],
            "difference": row[mean] - row["published"],
        }
        parts = [getattr(style, part) for part, shown in is_there.items() if shown]
        return style.cell.format("".join(parts).format(**values))


def print_table(table, console=None):
    """Prints a `Table`, as many settings side by side as there is room.

    Args:
        table: The `Table`.
        console: A `rich.console.Console`; standard output by default.
    """
    console = console or Console(highlight=False)
    for best in (False, True) if table.best_epoch else (False,):
        console.print(f"\n{table.caption(best)}", markup=False)
        _print_cells(table, best, console)
    _print_notes(table.notes, console)
    if table.pairs:
        console.print(f"\n{table.pairs_caption}", markup=False)
        cells = table.pair_cells()
        console.print(_text.table(cells.columns, cells.itertuples(index=False)))
        _print_notes(table.pair_notes, console)


def _print_notes(notes, console):
    for note in notes:
        console.print(" ".join(filter(None, note)), markup=False)


def _print_cells(table, best, console):
    cells = table.cells(best, NARROW)
    lines = [line for text in cells.to_numpy().ravel() for line in text.split("\n")]
    padding = 2
    column = padding + max(map(len, [*lines, *cells.columns]))
    room = console.width - padding - max(map(len, cells.index))
    side_by_side = max(1, room // column)
    for first in range(0, len(cells.columns), side_by_side):
        part = cells.iloc[:, first : first + side_by_side]
        console.print(_text.table(["", *part.columns], part.itertuples()))


def write_table(table, prefix):
    """Writes `<prefix>.md`, `.csv` and `.tex`.

    Args:
        table: A `Table`.
        prefix: The files' path without its ending.

    Returns:
        The paths.
    """
    prefix = pathlib.Path(prefix)
    texts = {
        ".md": table.to_markdown,
        ".csv": table.to_csv,
        ".tex": table.to_latex,
    }
    paths = []
    for ending, text in texts.items():
        path = prefix.with_name(prefix.name + ending)
        _files.write_text(path, text())
        paths.append(path)
    return paths


def _title(method):
    return METHODS[method].title if method in METHODS else method


def _pair_texts(pair, marks):
    interval = MISSING if pair.low is None else f"[{pair.low:+.2f}, {pair.high:+.2f}]"
    mark = f" [{marks[pair.differences]}]" if pair.differences else ""
    return {
        "setting": pair.setting,
        "difference": f"{_title(pair.method)} - {_title(pair.other)}",
        "n": str(len(pair.seeds)),
        "mean": MISSING if pair.mean is None else f"{pair.mean:+.2f}{mark}",
        f"{CONFIDENCE:.0%} interval": interval,
    }


def _markdown(frame, index=True):
    # Texts that look like numbers stay as they are written.
    return frame.to_markdown(index=index, disable_numparse=True)


def _list(notes):
    return "\n".join(" ".join(filter(None, ("-", *note))) for note in notes)


def _latex_list(notes):
    text = _latex(pd.DataFrame(notes), "latex", False, False, r"lp{0.9\linewidth}")
    # A bracket behind the end of a row would be read as the space below that row.
    return text.replace("\n[", "\n{}[")


def _latex(frame, escape="latex-math", index=True, header=True, column_format=None):
    styler = frame.style.format(escape=escape)
    for axis, shown in {"index": index, "columns": header}.items():
        if shown:
            styler = styler.format_index(escape="latex", axis=axis)
        else:
            styler = styler.hide(axis=axis)
    return styler.to_latex(column_format=column_format, hrules=header)


def _latex_float(caption, *tabulars):
    caption = caption.translate(_LATEX_SIGNS)
    body = "\n\\par\\smallskip\n".join(tabular.strip() for tabular in tabulars)
    return (
        "\\begin{table*}\n\\centering\\small\n"
        f"\\caption{{{caption}}}\n{body}\n\\end{{table*}}\n"
    )
