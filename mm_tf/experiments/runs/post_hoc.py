"""Post-hoc logit adjustment: a finished run's errors without the prior of its images.

Nothing is trained: the outputs that the run saved are adjusted by
`mm_tf.calibration.logit_adjustment`, whatever the run's method.
"""

import dataclasses

import numpy as np

from mm_tf import calibration, class_errors
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs.probabilities import output_scale
from mm_tf.experiments.runs.result import EVALUATED_ON


@dataclasses.dataclass(frozen=True)
class PostHoc:
    """Errors of a run before and after its outputs are adjusted, in %.

    Attributes:
        tau: The strength of the adjustment.
        is_chosen: Whether tau was chosen on the hold-out that errors are measured on.
        evaluated_on: As of the `RunResult`.
        before, after: Top-1 errors.
        balanced_before, balanced_after: Means over the classes.
    """

    tau: float
    is_chosen: bool
    evaluated_on: str
    before: float
    after: float
    balanced_before: float
    balanced_after: float

    def __str__(self):
        chosen = ", chosen on these images" if self.is_chosen else ""
        return (
            f"post-hoc logit adjustment, tau {self.tau:g}{chosen}: error on the "
            f"{EVALUATED_ON[self.evaluated_on]} images {self.before:.2f} % before, "
            f"{self.after:.2f} % after"
        )


def adjusted(run, result, tau=None):
    """Adjusts the outputs of a finished run.

    Args:
        run: Its folder.
        result: Its `RunResult`.
        tau: The strength, >= 0. Defaults to `None`: of 0, 0.1, ..., 2 the one with the
            smallest balanced error on the hold-out; 1 for a run without a hold-out, as
            test images choose nothing.

    Returns:
        A `PostHoc`.

    Raises:
        ValueError: The run saved no outputs, or they cannot be read.
    """
    size = len(result.class_names)
    labels, predictions = finished.read_predictions(
        run, sum(result.evaluated_counts), size
    )
    outputs = finished.read_outputs(run, len(labels), size)
    logits = output_scale(result) * outputs

    def predict(tau):
        if not tau:
            # The outputs are rounded, the saved predictions are not.
            return predictions
        offset = calibration.logit_adjustment(result.class_counts, tau)
        return np.argmax(logits + offset, axis=-1)

    def balanced(predicted):
        errors = class_errors.per_class_error(labels, predicted, size)
        return class_errors.mean_error(errors)

    is_chosen = tau is None and result.evaluated_on == "holdout"
    if is_chosen:
        tau = class_errors.best_tau(labels, predict, size)
    tau = 1.0 if tau is None else tau
    before, after = predict(0), predict(tau)
    return PostHoc(
        tau,
        is_chosen,
        result.evaluated_on,
        100 * float(np.mean(before != labels)),
        100 * float(np.mean(after != labels)),
        balanced(before),
        balanced(after),
    )
