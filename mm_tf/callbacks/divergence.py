"""A training that diverges is stopped at its first step, with the likely cause."""

import warnings

import keras
import numpy as np
from keras import ops

from mm_tf.layers import NormalizedDense
from mm_tf.losses.base import of_softmax


class DivergedError(ArithmeticError):
    """A training has a loss or a weight that is not finite.

    Args:
        model: The model.
        epoch: The epoch, from 0.
        what: What was found.
    """

    def __init__(self, model, epoch, what):
        rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
        super().__init__(
            f"Training diverged in epoch {epoch} (counted from 0): {what}, at learning "
            f"rate {rate:g}. {_likely_cause(model, epoch)}"
        )


class StopOnDivergence(keras.callbacks.Callback):
    """Stops a `fit` at its first loss that is not finite, with the likely cause.

    Before training it warns of a margin loss on a head whose outputs are no
    cosines, the most common cause, and of a loss of mm_tf on outputs of a softmax.
    The loss of a step is looked at while the next one is computed, so that no device
    waits for it; with a `steps_per_execution`, the last of so many, which is not finite
    either if one before it is not.

    Raises:
        DivergedError: In `fit`: a loss is NaN or infinite. The message says epoch,
            step, learning rate and the likely cause.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import mm_tf
    >>> model = keras.Sequential([keras.Input([2]), mm_tf.layers.NormalizedDense(2)])
    >>> model.compile("sgd", mm_tf.losses.MaximumMargin())
    >>> x, y = np.full((4, 2), np.inf), np.zeros(4)
    >>> model.fit(x, y, callbacks=[mm_tf.callbacks.StopOnDivergence()], verbose=0)
    Traceback (most recent call last):
        ...
    mm_tf.callbacks.divergence.DivergedError: Training diverged in epoch 0 ...
    """

    def __init__(self):
        super().__init__()
        # Steps of the epoch that were before this `fit`.
        self.first_step = 0
        self._epoch = 0
        self._last = None

    def on_train_begin(self, logs=None):
        self._last = None
        warn_of_head(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        step = self.first_step + batch
        before, self._last = self._last, (step, (logs or {}).get("loss"))
        self._check(before)

    def on_epoch_end(self, epoch, logs=None):
        before, self._last, self.first_step = self._last, None, 0
        self._check(before)

    def _check(self, last):
        if last is None or last[1] is None:
            return
        step, loss = last
        loss = float(ops.convert_to_numpy(loss))
        if not np.isfinite(loss):
            at_once = self.model.steps_per_execution > 1
            since = f"at or before step {step}" if at_once else f"from step {step} on"
            raise DivergedError(self.model, self._epoch, f"the loss is {loss} {since}")


def warn_of_head(model):
    """Warns of a compiled model's loss that is not meant for its outputs."""
    problem = _problem_of_head(model)
    if problem:
        warnings.warn(problem, stacklevel=3)


_HEAD = (
    "A margin loss is meant for cosines, and the last layer is a plain Dense: its "
    "outputs have no bound, times the loss's scale they overflow, and the loss may "
    "become NaN. Use mm_tf.layers.NormalizedDense(num_classes) as the last layer."
)


def _likely_cause(model, epoch):
    problem = _problem_of_head(model)
    if problem:
        return f"The likely cause: {problem[0].lower()}{problem[1:]}"
    if epoch == 0:
        return (
            "The likely cause: a learning rate or a loss's scale too large, a label "
            "outside [0, number of classes), or images that are not finite."
        )
    return "The likely cause: a learning rate too large: try a smaller one."


def _problem_of_head(model):
    """Says in which way a loss is not meant for the model's outputs, or None."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    head = _last_layer(model)
    for loss in losses:
        if _is_softmax(head):
            if not getattr(loss, "takes_probabilities", True):
                return of_softmax(loss)
        elif getattr(loss, "expects_cosines", False) and _is_plain_dense(head):
            return _HEAD
    return None


def _is_softmax(layer):
    activation = getattr(layer, "activation", None)
    is_softmax = activation is keras.activations.softmax
    return is_softmax or isinstance(layer, keras.layers.Softmax)


def _is_plain_dense(head):
    if not isinstance(head, keras.layers.Dense):
        return False
    # Unit columns, as by a constraint, with unit features before them are cosines.
    has_unit_columns = isinstance(head.kernel_constraint, keras.constraints.UnitNorm)
    return head.use_bias or not has_unit_columns


def _last_layer(model):
    """The layer that makes a model's output, or None where it is not known."""
    if not isinstance(model, keras.Sequential | keras.Model) or not model.built:
        return None
    outputs = getattr(model, "outputs", None)
    if not outputs or len(outputs) != 1:
        return None
    for layer in reversed(model.layers):
        if isinstance(layer, NormalizedDense):
            return layer
        if getattr(layer, "output", None) is outputs[0]:
            if isinstance(layer, keras.layers.Activation) and not _is_softmax(layer):
                # In mixed precision the last layer often only casts.
                outputs = [layer.input]
                continue
            is_model = isinstance(layer, keras.Model)
            return _last_layer(layer) if is_model else layer
    return None
