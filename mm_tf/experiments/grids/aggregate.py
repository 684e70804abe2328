"""From the results of single runs to a table: means, spreads, paired differences.

    from mm_tf.experiments.grids.aggregate import summarize
    from mm_tf.experiments.runs.result import RunResult

    table = summarize([RunResult.read(folder) for folder in folders])
    print(table.to_markdown())

Nothing here trains or reads a file, and Keras is not imported.
"""

import pandas as pd

from mm_tf.experiments import paper
from mm_tf.experiments.grids.pairs import paired_difference
from mm_tf.experiments.grids.table_text import Table
from mm_tf.experiments.paper.methods import METHODS

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


def summarize(
    results, methods=None, settings=None, best_epoch=False, compare=(), more=()
):
    """Puts results into a table; a pure function.

    Args:
        results: `RunResult`s of any methods, settings and seeds.
        methods: The rows; by default the methods of the results. Rows come in the
            paper's order, whatever the order here.
        settings: The columns; by default the settings of the results. The paper's
            come first, in its order.
        best_epoch: Whether texts of the table hold the best epochs' errors too.
        compare: Pairs of methods whose differences the texts hold.
        more: `Section`s that the texts hold behind all.

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
            (
                r.setting,
                r.method,
                r.seed,
                r.top1_error,
                r.best_top1_error,
                r.evaluated_on,
            )
            for r in results
        ],
        columns=[*_CELL, "seed", "last", "best", "evaluated_on"],
    )
    twice = runs[runs.duplicated([*_CELL, "seed"])]
    if len(twice):
        setting, method, seed = twice.iloc[0][[*_CELL, "seed"]]
        raise ValueError(
            "`results` must hold one result for each setting, method and seed. "
            f"Received: several for {setting}, {method}, seed {seed}"
        )
    kinds = runs.groupby(_CELL)["evaluated_on"].nunique()
    if (kinds > 1).any():
        raise ValueError(
            "`results` of a setting and method must all be on test images, or all "
            f"on hold-out images. Received: both for {', '.join(kinds.idxmax())}"
        )
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
            evaluated_on=("evaluated_on", "first"),
        )
        .reindex(pd.MultiIndex.from_product([settings, methods], names=_CELL))
        .reset_index()
    )
    frame["n"] = frame["n"].fillna(0).astype(int)
    for name in ("seeds", "evaluated_on"):
        frame[name] = frame[name].fillna("")
    cells = list(frame[_CELL].itertuples(index=False, name=None))
    published = [paper.published_error(setting, method) for setting, method in cells]
    frame["published"] = pd.Series(published, dtype=float)
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
    return Table(
        frame[list(COLUMNS)], methods, settings, best_epoch, pairs, tuple(more)
    )


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
