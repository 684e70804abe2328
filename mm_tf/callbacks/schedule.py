"""The learning rate of each epoch."""

import keras

from mm_tf import _checks

PAPER_DROPS = ((160, 1e-2), (180, 1e-4))


def warm_up_step_decay(epoch, learning_rate, warmup_epochs=5, drops=PAPER_DROPS):
    """Returns the learning rate of an epoch: linear warm-up, then steps down.

    Args:
        epoch: The epoch, counted from 0.
        learning_rate: The rate after the warm-up.
        warmup_epochs: w: epoch e < w has the rate (e + 1) / w of it.
        drops: Pairs (epoch, factor), epochs ascending: from that epoch on the rate
            is `learning_rate * factor`. Factors do not multiply each other.

    Example:

    >>> import mm_tf
    >>> for epoch in (0, 4, 159, 160, 180):
    ...     print(epoch, f"{mm_tf.callbacks.warm_up_step_decay(epoch, 0.1):.0e}")
    0 2e-02
    4 1e-01
    159 1e-01
    160 1e-03
    180 1e-05

    Source: the code of Cao et al. 2019, which the authors of the paper use.
    """
    if epoch < warmup_epochs:
        return learning_rate * (epoch + 1) / warmup_epochs
    factor = 1.0
    for first_epoch, dropped in drops:
        if epoch >= first_epoch:
            factor = dropped
    return learning_rate * factor


class WarmUpStepDecay(keras.callbacks.LearningRateScheduler):
    """Sets the learning rate of each epoch: linear warm-up, then steps down.

    See `warm_up_step_decay`. By default the paper's 200 epochs: 5 of warm-up,
    x 0.01 from epoch 160, x 0.0001 from epoch 180. A drop inside the warm-up acts
    when that has ended.

    Args:
        learning_rate: The rate after the warm-up, > 0.
        warmup_epochs: The number of epochs of warm-up, >= 0.
        drops: Pairs (epoch, factor), epochs ascending.

    A `fit` that ends within the warm-up or before the last drop warns of it.

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> import mm_tf
    >>> schedule = mm_tf.callbacks.WarmUpStepDecay(0.1, drops=[(8, 0.01)])
    >>> round(schedule.schedule(9), 6)
    0.001
    """

    def __init__(self, learning_rate, warmup_epochs=5, drops=PAPER_DROPS):
        self.learning_rate = _checks.check_number(
            "learning_rate", learning_rate, low=0.0, low_allowed=False
        )
        self.warmup_epochs = _checks.check_integer(
            "warmup_epochs", warmup_epochs, low=0
        )
        self.drops = _checked_drops(drops)
        super().__init__(self._rate)

    def _rate(self, epoch, _=None):
        return warm_up_step_decay(
            epoch, self.learning_rate, self.warmup_epochs, self.drops
        )

    def on_train_begin(self, logs=None):
        if self.warmup_epochs:
            _checks.warn_if_never(self, "warmup_epochs", self.warmup_epochs - 1)
        if self.drops:
            _checks.warn_if_never(self, "drops", self.drops[-1][0])


def _checked_drops(drops):
    try:
        checked = tuple(
            (
                _checks.check_integer("epoch", epoch, low=0),
                _checks.check_number("factor", factor, low=0.0, low_allowed=False),
            )
            for epoch, factor in drops
        )
    except (TypeError, ValueError):
        checked = None
    if checked is None or list(checked) != sorted(checked, key=lambda drop: drop[0]):
        raise ValueError(
            "`drops` must be pairs (epoch >= 0, factor > 0), their epochs ascending. "
            f"Received: drops={drops!r}"
        )
    return checked
