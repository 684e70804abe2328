"""The paper's ablation, Tables 2 and 3: beta and delta of MM-DRW, cell by cell.

Nothing is chosen here. Errors are on the test images, as the published ones are.
"""

import sys

from mm_tf import _files
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments import paper
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import grid
from mm_tf.experiments.grids.sections import Section
from mm_tf.experiments.runs.folder import RunFolder

# The flags of a run that a table sets.
SET_BY_GRID = ("dataset", "imbalance", "imbalance_ratio", "method", "beta", "delta")

_TITLES = {"table2": "Table 2 (CIFAR-10)", "table3": "Table 3 (CIFAR-100)"}


def configs(table, root, **arguments):
    """Returns the runs of a table, in its order: {its cell: `RunConfig`}."""
    seed = RunConfig(**arguments).seed
    found = {}
    for setting, beta, delta in paper.ABLATIONS[table]:
        folder = f"{root}/{setting}/beta{beta:g}_delta{delta:g}/seed{seed}"
        found[setting, beta, delta] = RunConfig(
            **arguments,
            **grid.parse_settings([setting])[setting],
            method=paper.ABLATION_METHOD,
            beta=beta,
            delta=delta,
            output_dir=folder,
        )
    return found


def run(table, root, arguments, report_only=False):
    """Trains the runs of a table that are not there, and prints and writes it."""
    cells = configs(table, root, **arguments)
    begins = {"md": f"# {_TITLES[table]} of the paper", "csv": "setting,beta,delta,"}
    for ending, begin in begins.items():
        _files.check_is_ours("output_dir", root / f"{table}.{ending}", begin)
    runs = list(cells.values())
    failures = [] if report_only else grid.run_grid(runs, root=root)[1]
    frame, config = measured(cells), runs[0]
    title = (
        f"{_TITLES[table]} of the paper: MM-DRW, {config.model}, {config.epochs} "
        f"epochs, seed {config.seed}"
    )
    section = Section(title, "", _texts(frame), _notes(frame))
    section.print()
    if frame["measured"].notna().any():
        root.mkdir(parents=True, exist_ok=True)
        _files.write_text(root / f"{table}.md", section.to_markdown())
        text = frame.to_csv(index=False, lineterminator="\n")
        _files.write_text(root / f"{table}.csv", text)
        print(f"Written: {root / table}.md, {root / table}.csv")
    for failure in failures:
        print(f"mm_tf: failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def measured(cells):
    """Returns what runs have measured beside what is published, a row a cell."""
    import pandas as pd

    rows = []
    for cell, config in cells.items():
        comparison = paper.compare_ablation(config)
        try:
            result = RunFolder(config).finished_result()
        except (ValueError, DatasetUnavailableError):
            result = None
        error = float("nan") if result is None else result.top1_error
        rows.append(
            {
                **dict(zip(("setting", "beta", "delta"), cell, strict=True)),
                "seed": config.seed,
                "measured": error,
                "published": comparison.published,
                "difference": error - comparison.published,
                "protocol_differences": "; ".join(comparison.differences),
            }
        )
    return pd.DataFrame(rows)


def _notes(frame):
    differences = dict.fromkeys(filter(None, frame["protocol_differences"]))
    return (
        "Top-1 error on the test images in %, last epoch, one seed. Nothing is chosen "
        "here, but the paper chose its beta and delta on these images, so the smallest "
        "number of each setting flatters.",
        *(f"Not the paper's protocol: {text}." for text in differences),
        *(() if differences else (paper.ALWAYS_DIFFERENT,)),
    )


def _texts(frame):
    forms = dict.fromkeys(("beta", "delta"), "{:g}")
    forms |= {"measured": "{:.2f}", "published": "{:.2f}", "difference": "{:+.2f}"}
    texts = {
        name: ["-" if value != value else form.format(value) for value in frame[name]]
        for name, form in forms.items()
    }
    return frame[["setting", *forms]].assign(**texts)
