"""The section of a table on post-hoc logit adjustment: errors before and after."""

import contextlib

import pandas as pd

from mm_tf._text import first_line
from mm_tf.experiments.grids.progress import name_of
from mm_tf.experiments.grids.sections import Section
from mm_tf.experiments.runs import post_hoc
from mm_tf.experiments.runs.result import RunResult


def section(configs, results, tau):
    """Adjusts the runs of configs whose results are in the table."""
    cells: dict[tuple[str, str], list[post_hoc.PostHoc]] = {}
    notes, titles = [], {}
    for config in configs:
        result = None
        with contextlib.suppress(ValueError):
            result = RunResult.read(config.run_folder)
        if result is None or result not in results:
            continue
        titles[result.method] = result.row.title
        found = cells.setdefault((result.setting, result.method), [])
        try:
            found.append(post_hoc.adjusted(config.run_folder, result, tau))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            notes.append(f"Not adjusted: {name_of(config)}: {reason}.")
    rows = [
        (setting, titles[method], str(len(found)), *_texts(found))
        for (setting, method), found in cells.items()
    ]
    heads = ["setting", "method", "n", "tau", "before", "after", "difference"]
    return Section(
        "After post-hoc logit adjustment",
        "Top-1 error in %, last epoch, before and after post-hoc logit adjustment: "
        "mean ± sample standard deviation over n seeds. "
        "Nothing is trained: the outputs z that runs saved become s z - tau log pi for "
        "the class priors pi of the training images. tau is chosen on the hold-out of "
        "runs that have one, which flatters, and is 1 for others if it is not given.",
        pd.DataFrame(rows, columns=heads),
        tuple(notes),
        left=(0, 1),
    )


def _texts(found):
    if not found:
        return ("-",) * 4
    errors = pd.DataFrame([(each.before, each.after) for each in found])
    errors["difference"] = errors[1] - errors[0]
    means, spreads = errors.mean(), errors.std()
    texts = (
        f"{mean:.2f}" + ("" if spread != spread else f" ± {spread:.2f}")
        for mean, spread in zip(means[[0, 1]], spreads[[0, 1]], strict=True)
    )
    taus = ", ".join(dict.fromkeys(f"{each.tau:g}" for each in found))
    return (taus, *texts, f"{means['difference']:+.2f}")
