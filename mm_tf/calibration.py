"""Probabilities that can be believed: temperature, another prior, and measures."""

import numpy as np
from scipy import optimize, special

from mm_tf import _checks

# A network is not a hundred times too sure of itself, or too little.
_LOG_TEMPERATURES = (-np.log(100.0), np.log(100.0))


def fit_temperature(logits, labels, offset=0.0):
    r"""Finds the temperature by which held-out logits are to be divided.

    It minimizes the negative log-likelihood of

    $$ p_j = \operatorname{softmax}_j(z_j / T + a_j) $$

    over T from 0.01 to 100. Without an offset the predicted class stays the same.

    Args:
        logits: z, [N, K], of images that the training has not seen.
        labels: Their classes, integers [N] from 0 to K - 1.
        offset: a, added to the logits after the division: a number or [K], as
            `prior_adjustment` gives it. Defaults to 0.

    Returns:
        T, a float; above 1 where the network is too sure of itself.

    Raises:
        ValueError: An argument is not as described.

    Example:

    Three of four are right, and the logits say 98%.

    >>> import numpy as np
    >>> from mm_tf.calibration import fit_temperature
    >>> logits = [[4.0, 0.0]] * 4
    >>> round(fit_temperature(logits, [0, 0, 0, 1]), 2)
    3.64

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2.
    """
    logits, labels = _checked("logits", logits, labels)
    rows = np.arange(len(labels))

    def loss(log_temperature):
        scaled = logits / np.exp(log_temperature) + offset
        return -special.log_softmax(scaled, axis=-1)[rows, labels].mean()

    found = optimize.minimize_scalar(
        loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-8}
    )
    return float(np.exp(found.x))


def prior_adjustment(from_prior, to_prior):
    r"""Returns what to add to logits for images with another prior of the classes.

    $$ p'(j \mid x) \propto p(j \mid x) \, \pi'_j / \pi_j
       \quad\Rightarrow\quad a_j = \log \pi'_j - \log \pi_j $$

    With a uniform \(\pi'\) it is the logit adjustment of the source, with its
    \(\tau = 1\). It holds for outputs that are the posterior of a network for images
    with the prior \(\pi\), as those of cross entropy approach.

    Args:
        from_prior: The prior of the outputs, K numbers > 0; only their proportions
            count, so class counts do.
        to_prior: The prior that is wanted, likewise.

    Returns:
        float64 array [K].

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> from mm_tf.calibration import prior_adjustment
    >>> print(prior_adjustment([900, 100], [1, 1]).round(3))
    [-0.588  1.609]

    Source: Menon et al., "Long-Tail Learning via Logit Adjustment", 2021, the
    adjustment after training.
    """
    before, after = _prior("from_prior", from_prior), _prior("to_prior", to_prior)
    if len(before) != len(after):
        raise ValueError(
            "`to_prior` must have a number for each class. "
            f"Received: {len(before)} and {len(after)} numbers"
        )
    return np.log(after) - np.log(before)


def logit_adjustment(class_counts, tau=1.0):
    r"""Returns what to add to logits so that rare classes win more often.

    $$ a_j = -\tau \log \pi_j, \quad \pi_j = n_j / \textstyle\sum_i n_i $$

    Nothing is trained: it is for a network whose loss did not do that already, as
    `mm_tf.losses.LogitAdjusted` does. With \(\tau = 1\) it differs from
    `prior_adjustment` to a uniform prior by a number that is the same for all classes.
    Cosines are multiplied by their scale before it is added.

    Args:
        class_counts: Training images n of each class, K whole numbers >= 1.
        tau: The strength, >= 0; with 0 nothing changes. Defaults to 1.

    Returns:
        float64 array [K].

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> from mm_tf.calibration import logit_adjustment
    >>> print(logit_adjustment([900, 100]).round(3))
    [0.105 2.303]

    Source: Menon et al., "Long-Tail Learning via Logit Adjustment", 2021, Eq. 9.
    """
    counts = _checks.check_class_counts(class_counts)
    tau = _checks.check_number("tau", tau, low=0.0)
    return -tau * np.log(_prior("class_counts", counts))


def negative_log_likelihood(probabilities, labels):
    """Returns the mean of -log p of the true class, in nats.

    Args:
        probabilities: [N, K], in [0, 1].
        labels: Integers [N] from 0 to K - 1.

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> from mm_tf.calibration import negative_log_likelihood
    >>> round(negative_log_likelihood([[0.5, 0.5], [0.9, 0.1]], [0, 0]), 3)
    0.399
    """
    probabilities, labels = _checked_probabilities(probabilities, labels)
    of_true = probabilities[np.arange(len(labels)), labels]
    # A probability of 0 is one below what its type can hold.
    return float(-np.log(np.maximum(of_true, np.finfo("float64").tiny)).mean())


def expected_calibration_error(probabilities, labels, bins=15):
    r"""Returns how far predicted probabilities are from the share that is right.

    Images are put into bins of equal width by the probability of their likeliest
    class:

    $$ \mathrm{ECE} = \sum_b \frac{n_b}{N}
       \left| \mathrm{accuracy}_b - \mathrm{confidence}_b \right| $$

    Args:
        probabilities: [N, K], in [0, 1].
        labels: Integers [N] from 0 to K - 1.
        bins: Their number, >= 1. Defaults to 15.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> from mm_tf.calibration import expected_calibration_error
    >>> sure = [[0.8, 0.2]] * 4
    >>> round(expected_calibration_error(sure, [0, 0, 1, 1]), 3)
    0.3

    Source: Naeini et al. 2015; with 15 bins as in Guo et al. 2017, Eq. 3.
    """
    probabilities, labels = _checked_probabilities(probabilities, labels)
    bins = _checks.check_integer("bins", bins, low=1)
    confidence = probabilities.max(axis=-1)
    is_right = probabilities.argmax(axis=-1) == labels
    # Bins are open below and closed above.
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=is_right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _checked(name, values, labels):
    numbers = _checks.as_numbers(values)
    if (
        numbers is None
        or numbers.ndim != 2
        or not numbers.size
        or not np.all(np.isfinite(numbers))
    ):
        raise ValueError(
            f"`{name}` must be finite numbers [N, K], N >= 1. "
            f"Received: {name}={values!r}"
        )
    labels = np.asarray(labels)
    if (
        labels.shape != numbers.shape[:1]
        or labels.dtype.kind not in "iu"
        or labels.min() < 0
        or labels.max() >= numbers.shape[1]
    ):
        raise ValueError(
            f"`labels` must be {len(numbers)} integers from 0 to "
            f"{numbers.shape[1] - 1}. Received: labels={labels!r}"
        )
    return numbers.astype("float64"), labels


def _checked_probabilities(probabilities, labels):
    numbers, labels = _checked("probabilities", probabilities, labels)
    if numbers.min() < 0 or numbers.max() > 1 + 1e-6:
        raise ValueError(
            "`probabilities` must be from 0 to 1. "
            f"Received: from {numbers.min()} to {numbers.max()}"
        )
    return numbers, labels


def _prior(name, values):
    numbers = _checks.as_numbers(_checks.in_class_order(values))
    if (
        numbers is None
        or numbers.ndim != 1
        or not np.all(np.isfinite(numbers))
        or not np.all(numbers > 0)
    ):
        raise ValueError(
            f"`{name}` must be a finite number > 0 for each class. "
            f"Received: {name}={values!r}"
        )
    return numbers / numbers.sum()
