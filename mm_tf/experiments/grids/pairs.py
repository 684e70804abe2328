"""The difference of two methods over the same seeds."""

import dataclasses
import math

import pandas as pd
from scipy import stats

from mm_tf.experiments.paper.methods import is_used
from mm_tf.experiments.runs.result import RunResult

CONFIDENCE = 0.95


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
            the flags that only one of the two methods uses; "" if in nothing.
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
    """How runs of two methods differ, except in what belongs to one method."""
    flags = [(result.method, result.flags) for result in results]
    for name in dict.fromkeys(name for _, known in flags for name in known):
        values = dict.fromkeys(
            "by default" if known[name] is None else f"{known[name]}"
            for method, known in flags
            if name in known and is_used(name, method)
        )
        is_own = name in ("method", "method_digest", "seed")
        if not is_own and len(values) > 1:
            yield f"{name} {' and '.join(values)}"
