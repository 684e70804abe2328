"""A table of errors as text: Markdown, CSV, LaTeX, and on a terminal."""

import dataclasses
import math
import re

import pandas as pd

from mm_tf.experiments import paper
from mm_tf.experiments.grids.pairs import CONFIDENCE, PairedDifference
from mm_tf.experiments.grids.sections import Section
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs.result import EVALUATED_ON

MISSING = "-"

# The signs that LaTeX reads otherwise.
_LATEX_SIGNS = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "%&$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
    }
)
# The parts of a cell that mathematics writes otherwise.
_LATEX_PARTS = {
    "±": r"\\pm",
    f" ({EVALUATED_ON['holdout']})": r"\\ \\mbox{\1}",
    r" (\[\d+\])": r"^{\1}",
    r" \(": r"\\ (",
    ", ": r",\\ ",
}


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
        more: `Section`s that the texts show behind all.
    """

    frame: pd.DataFrame
    methods: tuple[str, ...]
    settings: tuple[str, ...]
    best_epoch: bool = False
    pairs: tuple[PairedDifference, ...] = ()
    more: tuple[Section, ...] = ()

    def to_markdown(self):
        """Returns the table, its notes and what was asked for beside it."""
        first, *others = self._sections()
        parts = [first.to_markdown(), *(each.to_markdown("##") for each in others)]
        return "\n".join(parts)

    def to_csv(self):
        """Returns `frame` as CSV text; what is missing is empty."""
        return self.frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")

    def to_latex(self):
        """Returns the table as LaTeX, with the package booktabs."""
        floats = "\n".join(map(_latex_float, self._sections()))
        return f"% Needs \\usepackage{{booktabs}}.\n{floats}"

    def print(self, console=None):
        """Prints the table, as many settings side by side as there is room.

        Args:
            console: A `rich.console.Console`; standard output by default.
        """
        for section in self._sections("\n"):
            section.print(console)

    def _sections(self, before_published=" "):
        for best in (False, True) if self.best_epoch else (False,):
            cells = self.cells(best, before_published).reset_index(names="")
            title, notes = "Top-1 errors beside the paper's Table 1", self._notes()
            if best:
                words = self._evaluated_words
                title, notes = f"Best epoch, chosen on the {words} images", ()
            caption = self._caption(best)
            yield Section(title, caption, cells, tuple(notes), can_split=True)
        if self.pairs:
            caption = (
                "Differences of top-1 error, last epoch, in percentage points, paired "
                f"over the same n seeds: mean and {CONFIDENCE:.0%} confidence interval "
                "(Student's t). Below 0: the first method errs less."
            )
            notes = tuple(
                f"[{self._marks[text]}] Not only the methods differ, the runs do too: "
                f"{text}."
                for text in _distinct(pair.differences for pair in self.pairs)
            )
            yield Section("Paired differences", caption, self.pair_cells(), notes)
        yield from self.more

    @property
    def _marks(self):
        """{how runs of a cell or a pair differ: its mark}."""
        texts = [pair.differences for pair in self.pairs]
        texts = _distinct([*self.frame["protocol_differences"], *texts])
        return {text: number for number, text in enumerate(texts, start=1)}

    def _notes(self):
        """What is said below the table."""
        for text in _distinct(self.frame["protocol_differences"]):
            yield f"[{self._marks[text]}] Not the paper's protocol: {text}."
        strange = "; ".join(self._not_in_paper())
        if strange:
            yield f"Not in the paper: {strange}."
        if self.frame["comparable"].any():
            yield paper.ALWAYS_DIFFERENT
        yield (
            "The seeds vary initial weights, order, crops and flips, not which images "
            "are drawn."
        )

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

    def _caption(self, best):
        """What the numbers are, in a few sentences."""
        ran = self.frame[self.frame["n"] > 0]
        epoch = "last epoch"
        if best:
            epoch = f"best epoch (chosen on {self._evaluated_words}: flatters)"
        number = f"n = {self._n}"
        if (ran["n"] < self._n).any():
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
    def _n(self):
        """The runs of a cell, where the cell does not say another number."""
        return int(self.frame["n"].max()) if len(self.frame) else 0

    @property
    def _evaluated_words(self):
        """The word before "images" of all cells, or of those that do not say it."""
        evaluated = set(self.frame["evaluated_on"]) - {""}
        (one,) = evaluated if len(evaluated) == 1 else ("test",)
        return EVALUATED_ON[one]

    def cells(self, best=False, before_published=" "):
        """Returns what the table shows: titles by settings, a DataFrame of texts.

        Args:
            best: Whether to show the best epoch's error, not the last one's.
            before_published: What stands between the error and the published one.
        """
        texts = [
            self._cell(row, best, before_published) for _, row in self.frame.iterrows()
        ]
        wide = (
            self.frame.assign(text=texts)
            .pivot(index="method", columns="setting", values="text")
            .reindex(index=list(self.methods), columns=list(self.settings))
        )
        wide.index = pd.Index([_title(method) for method in self.methods])
        return wide.rename_axis(columns=None)

    def _cell(self, row, best, before_published):
        if not row["n"]:
            return MISSING
        mean, sd = row[["best_mean", "best_sd"] if best else ["mean", "sd"]]
        text = f"{mean:.2f}"
        if not math.isnan(sd):
            text += f" ± {sd:.2f}"
        if row["evaluated_on"] != "test":
            text += f" {EVALUATED_ON[row['evaluated_on']]}"
        if row["protocol_differences"]:
            text += f" [{self._marks[row['protocol_differences']]}]"
        if row["n"] != self._n:
            text += f" (n = {row['n']})"
        if not math.isnan(row["difference"]):
            published = row["published"]
            text += f"{before_published}({published:.2f}, {mean - published:+.2f})"
        return text

    def pair_cells(self):
        """Returns the paired differences as a DataFrame of texts."""
        rows = []
        for pair in self.pairs:
            mean = interval = MISSING
            if pair.mean is not None:
                mark = f" [{self._marks[pair.differences]}]" if pair.differences else ""
                mean = f"{pair.mean:+.2f}{mark}"
            if pair.low is not None:
                interval = f"[{pair.low:+.2f}, {pair.high:+.2f}]"
            methods = f"{_title(pair.method)} - {_title(pair.other)}"
            rows.append((pair.setting, methods, str(len(pair.seeds)), mean, interval))
        heads = ["setting", "difference", "n", "mean", f"{CONFIDENCE:.0%} interval"]
        return pd.DataFrame(rows, columns=heads)


def _title(method):
    return METHODS[method].title if method in METHODS else method


def _distinct(texts):
    return list(dict.fromkeys(filter(None, texts)))


def _escaped(text):
    return text.translate(_LATEX_SIGNS)


def _latex_float(section):
    cells = section.cells.rename(columns=_escaped)
    # A cell of errors is mathematics, so that a minus is not set as a hyphen.
    errors = list(cells)[1:] if section.can_split else []
    cells = cells.assign(
        **cells.drop(columns=errors).map(_escaped), **cells[errors].map(_as_mathematics)
    )
    body = cells.to_latex(index=False, escape=False)
    notes = "".join(f"\\par\\raggedright {_escaped(note)}\n" for note in section.notes)
    return (
        "\\begin{table*}\n\\centering\\small\n"
        f"\\caption{{{_escaped(section.caption)}}}\n{body}"
        f"{notes}\\end{{table*}}\n"
    )


def _as_mathematics(text):
    if text == MISSING:
        return text
    for plain, latex in _LATEX_PARTS.items():
        text = re.sub(plain, latex, text)
    return f"${text}$"
