"""Draws the picture of docs/choosing.md from the runs in benchmarks/results.

`figures` gives what the page says of them, to which a test holds the page.

python docs/_site/choosing.py
"""

import argparse
import collections
import json
import pathlib
import re
import sys

import numpy as np

from mm_tf.experiments.grids.pairs import paired_difference
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs.result import RunResult

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
# Ratio 20, long-tailed, in batches of 31: in those of 32 a last batch of one image
# spoils the comparison.
RUNS = ("digits_ratios", "digits_lt20_batch31")
KINDS = {"lt": "long-tailed", "step": "step"}
COLORS = ("#666666", "#E69F00", "#0072B2", "#D55E00", "#009E73")


def runs_in(*folders):
    """Returns the `RunResult`s in folders of benchmarks/results."""
    return [
        RunResult.read(path)
        for folder in folders
        for path in sorted((RESULTS / folder).rglob("result.json"))
    ]


def figures():
    """Returns the figures of docs/choosing.md, {what: the text that stands there}."""
    return {
        **_last_batch(),
        **_ratios(),
        **_budget(),
        **_network(),
        **_two_dimensions(),
        **_search(),
    }


def _last_batch():
    means = {
        folder: _by_method(runs_in(folder))
        for folder in ("digits_lt20", "digits_lt20_batch31")
    }
    return {
        f"last batch, {method}": f"| {METHODS[method].title} | "
        + " | ".join(
            f"{np.mean(found[method]):.1f} ± {np.std(found[method], ddof=1):.1f}"
            for found in means.values()
        )
        + " |"
        for method in means["digits_lt20_batch31"]
    }


def _ratios():
    results = runs_in(*RUNS)
    means = {
        setting: {
            method: np.mean(values)
            for method, values in _by_method(
                run for run in results if run.setting == setting
            ).items()
        }
        for setting in dict.fromkeys(run.setting for run in results)
    }
    lt5, lt20, lt100 = (means[f"digits_lt{ratio}"] for ratio in (5, 20, 100))
    step = means["digits_step100"]

    def least_to_most(values):
        return f"{min(values):.1f} to {max(values):.1f}"

    def without_erm(values):
        return [mean for method, mean in values.items() if method != "erm"]

    def difference(setting, method, other):
        pair = paired_difference(results, method, other, setting)
        return f"{abs(pair.mean):.1f}", least_to_most([abs(pair.low), abs(pair.high)])

    margins = [lt100[name] for name in ("ldam_drw", "mm_drw", "mm_ldam_drw")]
    rarest = [
        run.per_class_error[-1] for run in results if run.setting == "digits_lt100"
    ]
    ldam, _ = difference("digits_lt20", "ldam_drw", "erm")
    harm, of_harm = difference("digits_step100", "cb_rw", "erm")
    gain, of_gain = difference("digits_step100", "mm_ldam_drw", "cb_rw")
    step20, of_step20 = difference("digits_step20", "ldam_drw", "erm")
    return {
        "ratio 5": f"({least_to_most(lt5.values())} %, long-tailed)",
        "ratio 20": f"({least_to_most(without_erm(lt20))} against {lt20['erm']:.1f} %;",
        "ratio 20, LDAM-DRW": f"only LDAM-DRW's, -{ldam} points,",
        "ratio 100": f"ERM has {lt100['erm']:.1f}, the margin losses "
        f"{least_to_most(margins)}, CB-RW {lt100['cb_rw']:.1f} %",
        "rarest digit": f"{min(rarest):.0f} to {max(rarest):.0f} % in the "
        f"{len(rarest)} long-tailed runs",
        "step 100": f"{step['ldam_drw']:.1f} % (LDAM-DRW) to {step['cb_rw']:.1f} % "
        "(CB-RW)",
        "step 100, CB-RW": f"{harm} points worse than cross-entropy there (95 % "
        f"interval {of_harm})",
        "step 100, MM-LDAM-DRW": f"{gain} points better than CB-RW ({of_gain})",
        "step 20, LDAM-DRW": f"{step20} points better than cross-entropy ({of_step20})",
    }


def _budget():
    (results,) = [runs_in("10_epochs")]
    errors = {run.method: run for run in results}
    named = ("erm", "cb_rw", "ldam_drw", "mm_ldam_drw")
    methods = [f"{METHODS[name].title} {errors[name].top1_error:.1f}" for name in named]
    ship, truck = errors["cb_rw"].per_class_error[-2:]
    return {
        "ten epochs": f"{', '.join(methods)} %",
        "ten epochs, rarest": f"({ship:.1f} and {truck:.1f} %)",
    }


def _network():
    path = RESULTS / "before_the_head" / "errors.json"
    errors = json.loads(path.read_text("utf-8"))["balanced_errors"]
    adam = {
        name.removeprefix("Adam, "): f"{np.mean(values):.1f} %"
        for name, values in errors.items()
        if name.startswith("Adam")
    }
    return {
        **{
            f"before the head: {name}": f"{min(errors[name]):.0f} to "
            f"{max(errors[name]):.0f} %{words}"
            for name, words in (
                ("ReLU", " over five seeds"),
                ("no activation", " without the activation"),
                ("batch normalization and ReLU", " with batch normalization"),
            )
        },
        "Adam": f"{adam['cross-entropy']}, {adam['class_weight']} with `class_weight`, "
        f"{adam['MM-LDAM-DRW']} with MM-LDAM-DRW",
    }


def _two_dimensions():
    text = (RESULTS / "decision_boundary" / "printed.txt").read_text("utf-8")
    plain, ldam, margin, optimum = re.findall(r"([\d.]+) %", text)
    return {
        "two dimensions": f"cross-entropy {float(plain):.1f}, LDAM {float(ldam):.1f}, "
        f"maximum margin {float(margin):.1f} %; the best possible is "
        f"{float(optimum):.1f} %"
    }


def _search():
    found, default = (
        ", ".join(f"{run.balanced_error:.1f}" for run in results[:-1])
        + f" and {results[-1].balanced_error:.1f} %"
        for results in (
            runs_in(f"tune_digits_lt20/{name}") for name in ("found", "default")
        )
    )
    return {
        "search, found": f"{found} over three seeds with the values found",
        "search, default": f"{default} with the default values",
    }


def _by_method(results):
    """{method: balanced errors of its seeds}."""
    found = collections.defaultdict(list)
    for run in results:
        found[run.method].append(run.balanced_error)
    return found


def errors():
    """Returns {(kind of imbalance, method): {ratio: balanced errors of the seeds}}."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs_in(*RUNS):
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
