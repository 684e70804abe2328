"""From the results of single runs to a table: means, spreads, paired differences.

    from mm_tf.experiments.aggregate import summarize
    from mm_tf.experiments.results import RunResult

    table = summarize([RunResult.read(folder) for folder in folders])
    print(table.to_markdown())

Nothing here trains or reads a file, and Keras is not imported.
"""

import dataclasses
import math

import pandas as pd
from scipy import stats

from mm_tf.experiments import paper
from mm_tf.experiments.paper.methods import METHODS, is_used
from mm_tf.experiments.runs.result import EVALUATED_ON, RunResult

CONFIDENCE = 0.95

_CELL = ["setting", "method"]
COLUMNS = (
    *_CELL,
    "n",
    "seeds",
    "mean",
    "sd",
    "best_mean",
    "best_sd",
    "published",
    "difference",
    "comparable",
    "protocol_differences",
    "evaluated_on",
)


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
class PairedDifference:
    """The error of one method minus that of another, over the same seeds.

    Attributes:
        setting: The setting.
        method, other: The methods; a mean below 0 says that `method` errs less.
        seeds: The seeds that both were run with.
        mean: The mean difference of the top-1 errors, last epoch, in percentage
            points; None without a common seed.
        sd: Their sample standard deviation; None with fewer than two seeds.
        low, high: The ends of the 95 % confidence interval of the mean, by
            Student's t; None with fewer than two seeds.
        differences: In what these runs differ beyond their methods and seeds, and
            the flags that one of the two methods alone uses; "" where in nothing.
    """

    setting: str
    method: str
    other: str
    seeds: tuple[int, ...]
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    differences: str = ""


def paired_difference(results, method, other, setting):
    """Compares two methods on one setting, seed by seed."""
    runs: dict[str, dict[tuple[int, str], RunResult]] = {method: {}, other: {}}
    for result in results:
        if result.setting == setting and result.method in runs:
            # Errors on test and on hold-out images make no pair.
            runs[result.method][result.seed, result.evaluated_on] = result
    keys = sorted(runs[method].keys() & runs[other].keys())
    seeds = tuple(seed for seed, _ in keys)
    if not seeds:
        return PairedDifference(setting, method, other, seeds)
    pairs = [(runs[method][key], runs[other][key]) for key in keys]
    differences = pd.Series([a.top1_error - b.top1_error for a, b in pairs])
    mean, n = float(differences.mean()), len(seeds)
    sd = low = high = None
    if n > 1:
        sd = float(differences.std())
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
        half = quantile * sd / math.sqrt(n)
        low, high = mean - half, mean + half
    words = "; ".join(_different_flags([run for pair in pairs for run in pair]))
    return PairedDifference(setting, method, other, seeds, mean, sd, low, high, words)


def _different_flags(results):
    """In what runs of two methods differ, but for what belongs to one method."""
    flags = [(result.method, result.flags) for result in results]
    for name in dict.fromkeys(name for _, known in flags for name in known):
        values = dict.fromkeys(
            "by default" if known[name] is None else f"{known[name]}"
            for method, known in flags
            if name in known and is_used(name, method)
        )
        if name not in ("method", "seed") and len(values) > 1:
            yield f"{name} {' and '.join(values)}"


@dataclasses.dataclass(frozen=True)
class Table:
    """Errors over seeds, methods by settings, beside the published numbers.

    Attributes:
        frame: A `pandas.DataFrame`, one row a setting and method, with the columns
            `COLUMNS`: number of runs and their seeds; mean and sample standard
            deviation (`sd`) of the top-1 error in % after the last epoch, and of
            the best epoch (`best_mean`, `best_sd`), which is chosen on the test
            images, so it flatters; the published number, the difference `mean -
            published`, whether the two are of one protocol, in what they differ,
            and on which images errors are (`"test"` or `"holdout"`; on a hold-out
            there is no difference to a published number). What is missing is NaN.
        methods, settings: The rows and the columns, in their order.
        best_epoch: Whether texts hold the table of best epochs as well.
        pairs: The `PairedDifference`s that texts hold.
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
        # Methods that lack the same settings are told together.
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
        column = pd.Series(texts, index=pd.MultiIndex.from_frame(self.frame[_CELL]))
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
            (f"[{mark}]", f"Not of the methods alone, as the runs differ: {text}.")
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


def summarize(results, methods=None, settings=None, best_epoch=False, compare=()):
    """Puts results into a table; a pure function.

    Args:
        results: `RunResult`s of any methods, settings and seeds.
        methods: The rows; by default the methods of the results. Rows come in the
            paper's order, whatever the order here.
        settings: The columns; by default the settings of the results. The paper's
            come first, in its order.
        best_epoch: Whether texts of the table hold the best epochs' errors too.
        compare: Pairs of methods whose differences the texts hold.

    Returns:
        A `Table`.

    Raises:
        ValueError: Two results are of the same setting, method and seed, or those of
            a setting and method are not all on test, or all on hold-out images.
    """
    results = list(results)
    methods = _in_order(
        methods or [result.method for result in results], [*paper.TABLE1, *METHODS]
    )
    settings = _in_order(
        settings or [result.setting for result in results], paper.SETTINGS
    )
    runs = pd.DataFrame(
        [
            (r.setting, r.method, r.seed, r.top1_error, r.best_top1_error)
            for r in results
        ],
        columns=[*_CELL, "seed", "last", "best"],
    )
    twice = runs[runs.duplicated([*_CELL, "seed"])]
    if len(twice):
        setting, method, seed = twice.iloc[0][[*_CELL, "seed"]]
        raise ValueError(
            "`results` must hold one result for each setting, method and seed. "
            f"Received: several for {setting}, {method}, seed {seed}"
        )
    evaluated = _evaluated(results)
    frame = (
        runs.sort_values("seed")
        .groupby(_CELL)
        .agg(
            n=("seed", "size"),
            seeds=("seed", lambda seeds: " ".join(map(str, seeds))),
            mean=("last", "mean"),
            sd=("last", "std"),
            best_mean=("best", "mean"),
            best_sd=("best", "std"),
        )
        .reindex(pd.MultiIndex.from_product([settings, methods], names=_CELL))
        .reset_index()
    )
    frame["n"] = frame["n"].fillna(0).astype(int)
    frame["seeds"] = frame["seeds"].fillna("")
    cells = list(frame[_CELL].itertuples(index=False, name=None))
    published = [paper.published_error(setting, method) for setting, method in cells]
    frame["published"] = pd.Series(published, dtype=float)
    frame["evaluated_on"] = [evaluated.get(cell, "") for cell in cells]
    difference = frame["mean"] - frame["published"]
    frame["difference"] = difference.where(frame["evaluated_on"] != "holdout")
    frame["protocol_differences"] = [
        "; ".join(
            _protocol_differences([r for r in results if (r.setting, r.method) == cell])
        )
        for cell in cells
    ]
    frame["comparable"] = frame["difference"].notna() & (
        frame["protocol_differences"] == ""
    )
    pairs = tuple(
        paired_difference(results, method, other, setting)
        for method, other in compare
        for setting in settings
    )
    return Table(frame[list(COLUMNS)], methods, settings, best_epoch, pairs)


def _evaluated(results):
    """{(setting, method): on which images its errors are}."""
    found: dict[tuple[str, str], str] = {}
    for result in results:
        cell = result.setting, result.method
        if found.setdefault(cell, result.evaluated_on) != result.evaluated_on:
            raise ValueError(
                "`results` of a setting and method must all be on test images, or all "
                f"on hold-out images. Received: both for {', '.join(cell)}"
            )
    return found


def _protocol_differences(results):
    """How the runs of a cell differ from the paper's protocol, and in themselves."""
    every = dict.fromkeys(d for r in results for d in r.protocol_differences)
    for difference in every:
        seeds = [r.seed for r in results if difference in r.protocol_differences]
        if len(seeds) == len(results):
            yield difference
        else:
            yield f"{difference}, seed {' and '.join(map(str, sorted(seeds)))} only"
    # Of settings that are not the paper's, the differences above do not say all.
    for name in ("epochs", "subset_seed", "hyperparameters", "class_counts"):
        if len({str(getattr(result, name)) for result in results}) > 1:
            yield f"its seeds are runs of different {name}"


def _in_order(names, order):
    """The names without repeats: those of `order` first, then the others."""
    known = [name for name in dict.fromkeys(order) if name in names]
    return tuple(dict.fromkeys([*known, *names]))


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
