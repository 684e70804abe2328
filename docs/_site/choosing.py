"""Draws the picture of docs/choosing.md from the runs in benchmarks/results.

python docs/_site/choosing.py
"""

import argparse
import collections
import pathlib
import re
import sys

import numpy as np

from mm_tf.experiments.methods import METHODS
from mm_tf.experiments.results import RunResult

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
# Ratio 20, long-tailed, in batches of 31: in those of 32 a last batch of one image
# spoils the comparison.
RUNS = ("digits_ratios", "digits_lt20_batch31")
KINDS = {"lt": "long-tailed", "step": "step"}
COLORS = ("#666666", "#E69F00", "#0072B2", "#D55E00", "#009E73")


def errors():
    """Returns {(kind of imbalance, method): {ratio: balanced errors of the seeds}}."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for folder in RUNS:
        for path in sorted((RESULTS / folder).glob("*/*/seed*/result.json")):
            run = RunResult.read(path)
            kind, ratio = re.fullmatch(r"digits_(lt|step)(\d+)", run.setting).groups()
            found[kind, run.method][int(ratio)].append(run.balanced_error)
    return found


def draw(found):
    """Returns the picture: the error over the ratio, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    panels = figure.subplots(1, len(KINDS), sharey=True)
    methods = [name for name in METHODS if any(name == key[1] for key in found)]
    for axes, (kind, words) in zip(panels, KINDS.items(), strict=True):
        for place, method in enumerate(methods):
            of_ratios = found[kind, method]
            ratios = sorted(of_ratios)
            # Beside each other, so that dots do not hide dots.
            shift = 1.06 ** (place - len(methods) // 2)
            x = np.array(ratios) * shift
            color = COLORS[place]
            means = [np.mean(of_ratios[ratio]) for ratio in ratios]
            axes.plot(x, means, color=color, label=METHODS[method].title)
            for at, ratio in zip(x, ratios, strict=True):
                values = of_ratios[ratio]
                axes.scatter([at] * len(values), values, color=color, s=12)
        axes.set_xscale("log")
        axes.set_xticks(ratios, [str(ratio) for ratio in ratios])
        axes.minorticks_off()
        axes.set_title(words, fontsize="medium")
        axes.set_xlabel("imbalance ratio")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("balanced test error in %")
    panels[0].legend(frameon=False, fontsize="small", loc="upper left")
    return figure


def main(arguments=None):
    """The command."""
    import matplotlib

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", default=str(ROOT / "docs" / "choosing.svg"), help="the picture"
    )
    output = parser.parse_args(arguments).output
    # The same picture gives the same file.
    matplotlib.rcParams["svg.hashsalt"] = "mm_tf"
    draw(errors()).savefig(output, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
