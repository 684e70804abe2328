"""From the outputs of a run's model to probabilities, for the priors that are expected.

Outputs have a prior of the classes of their own: that of the training images, as far
as the method did not balance it in training.
"""

import csv
import os

import numpy as np
import scipy.special

from mm_tf import _files, calibration
from mm_tf._checks import as_numbers, in_class_order
from mm_tf.experiments.paper.registry import EVERYWHERE
from mm_tf.experiments.runs import finished

PRIOR_WORDS = "uniform|train|3,1,1|FILE"
# What `RunResult.output_prior` says where the outputs have none.
UNKNOWN = "unknown"


def output_scale(result):
    """The number by which a run's outputs become logits.

    Cosines lie in [-1, 1], and their softmax would be nearly even. The losses multiply
    them by a scale of their own (`--scale`, or `--ldam_scale`) before their softmax,
    so it belongs to the network's answer. The margins do not: they belong to the
    training, where the class is known.
    """
    if result.scale is not None:
        return result.scale
    # Results of 0.1.0 do not have it.
    if result.row.head == "linear":
        return 1.0
    for name in ("scale", "ldam_scale"):
        value = result.hyperparameters.get(name)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    raise ValueError(
        "A run's result must have the scale of its cosines. "
        f"Received: method={result.method!r}, hyperparameters={result.hyperparameters}"
    )


def probabilities(outputs, scale=1.0, offset=0.0):
    """The softmax of scaled outputs plus an offset, in float64."""
    logits = scale * np.asarray(outputs, "float64") + offset
    return scipy.special.softmax(logits, axis=-1)


def output_prior(config, class_counts, loss=None):
    """The prior of the classes that a run's outputs have, [K], or None without one.

    It is that of the training images, or what a loss says that has a method
    `output_prior`, times the class weights of a method that weights or re-samples by
    them.
    """
    is_known = hasattr(loss, "output_prior") or config.method in EVERYWHERE
    if config.row.second_stage == "normalized":
        return None
    if config.row.loss.takes_class_counts and not is_known:
        # A user's loss may adjust the prior in any way.
        return None
    counts = np.asarray(class_counts, dtype="float64")
    prior = loss.output_prior() if hasattr(loss, "output_prior") else counts
    if prior is None:
        return None
    method = config.row
    is_never = method.is_deferred and config.first_reweighted_epoch >= config.epochs
    if method.is_balanced and not is_never:
        prior = prior * config.class_weights_for(counts)
    return prior / prior.sum()


def prior_of(run, result):
    """The prior that the outputs of a finished run have."""
    if result.output_prior == UNKNOWN:
        raise ValueError(
            "`prior` needs outputs with a known prior of the classes, and this method "
            "does not say it (a loss of yours says it by `output_prior()`, see "
            f"docs/own_method.md). Received: method={result.method!r}"
        )
    if result.output_prior is not None:
        return np.asarray(result.output_prior)
    # Results of 0.1.0 do not say it, and no loss of its methods adjusts a prior.
    return output_prior(finished.read_config(run), result.class_counts)


def prior_offset(run, result, prior):
    """What is added to a run's logits for images with the `prior` of a user."""
    return calibration.prior_adjustment(prior_of(run, result), prior)


def check_prior(prior, result):
    """The prior of a user as K numbers that sum to 1."""
    size = len(result.class_names)
    expected = (
        f"`prior` must be uniform, train, {size} numbers > 0, one for each class (of a "
        "dict or Series at the keys 0 to K - 1), or a CSV file with a line for each "
        "class, its name and a number."
    )
    received = f"Received: prior={prior!r}"
    numbers = prior
    if isinstance(prior, str | os.PathLike):
        numbers = {"uniform": np.ones(size), "train": result.class_counts}.get(
            os.fspath(prior)
        )
        if numbers is None:
            try:
                numbers = [float(part) for part in os.fspath(prior).split(",")]
            except ValueError:
                numbers = _in_file(prior, result.class_names, expected)
    numbers = as_numbers(in_class_order(numbers))
    if (
        numbers is None
        or numbers.shape != (size,)
        or not np.all(np.isfinite(numbers) & (numbers > 0))
    ):
        raise ValueError(f"{expected} {received}")
    return numbers / numbers.sum()


def _in_file(path, class_names, expected):
    """The numbers that a file has for the classes."""
    try:
        path = os.path.expanduser(path)
        text = _files.read_text(path, _files.MOST_BYTES_OF_TEXT)
        rows = [row for row in csv.reader(text.splitlines()) if row]
        numbers = {name: float(number) for name, number in rows}
        if len(numbers) != len(rows) or numbers.keys() != set(class_names):
            raise ValueError("its names are not the run's classes, each once")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{expected} Received: prior={path!r} ({reason})") from None
    return [numbers[name] for name in class_names]
