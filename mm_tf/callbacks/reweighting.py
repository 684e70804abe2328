"""Deferred re-weighting (DRW)."""

import sys
import types

import keras
import numpy as np

from mm_tf import _checks
from mm_tf.callbacks.divergence import warn_of_head
from mm_tf.losses import ClassWeighted
from mm_tf.losses.class_weighted import check_class_weights


class DeferredReweighting(keras.callbacks.Callback):
    """Weighs the classes from a given epoch on (DRW).

    The model must be compiled with a `mm_tf.losses.ClassWeighted` loss. Before
    `start_epoch` all classes weigh 1, from then on `class_weights`. Only the epoch's
    number decides, so that `fit(..., initial_epoch=170)` has the weights too. A `fit`
    that ends before `start_epoch` warns of it.

    In the validation of a `fit` all classes weigh 1 in every epoch, so that its
    `val_loss` does not jump at `start_epoch`. An `evaluate` of your own has the
    weights, unless this callback is among its callbacks.

    Args:
        class_weights: The weight of each class, [K]: `effective_number(counts)`
            or `inverse_frequency(counts)` of `mm_tf.class_weights`.
        start_epoch: The first epoch, counted from 0, with these weights.
        loss: The `ClassWeighted` whose weights change: needed where the model has
            several, one for each output, and where a `train_step` of your own has it.
            None: the one that the model was compiled with.

    Raises:
        ValueError: `start_epoch` is negative, `class_weights` are not numbers >= 0 of
            which one is above 0, or `loss` is no `ClassWeighted`; when training
            begins: the model has none or several, it has another number of classes, or
            `fit` has a `class_weight`, which would weigh a second time.

    Example:

    >>> import keras
    >>> import mm_tf
    >>> counts = [500, 50]
    >>> model = keras.Sequential([keras.Input([8]), mm_tf.layers.NormalizedDense(2)])
    >>> loss = mm_tf.losses.ClassWeighted(mm_tf.losses.MaximumMargin(), 2)
    >>> model.compile(optimizer="sgd", loss=loss)
    >>> weights = mm_tf.class_weights.inverse_frequency(counts)
    >>> drw = mm_tf.callbacks.DeferredReweighting(weights, start_epoch=1)
    >>> x, y = keras.ops.ones([4, 8]), keras.ops.zeros([4])
    >>> history = model.fit(x, y, epochs=2, callbacks=[drw], verbose=0)
    >>> print(loss.class_weights.round(3))
    [0.182 1.818]

    Source: Kang, Vu, Yoo 2021, Algorithm 1 (after Cao et al. 2019).
    """

    def __init__(self, class_weights, start_epoch=160, loss=None):
        super().__init__()
        num_classes = np.size(_checks.in_class_order(class_weights))
        self.class_weights = check_class_weights(class_weights, num_classes, "float64")
        self.start_epoch = _checks.check_integer("start_epoch", start_epoch, low=0)
        if loss is not None and not isinstance(loss, ClassWeighted):
            raise ValueError(
                "`loss` must be a `mm_tf.losses.ClassWeighted`, or None. "
                f"Received: loss={loss!r}"
            )
        self.loss = loss
        # The model's own compiled test step, and ours beside it.
        self._test_functions = None, None

    def on_train_begin(self, logs=None):
        self._end_validation()  # Where the `fit` before was stopped in one.
        warn_of_head(self.model)
        loss = self._class_weighted()
        if self.class_weights.shape != (loss.num_classes,):
            raise ValueError(
                f"`class_weights` must be {loss.num_classes} numbers, one for each "
                "class of the loss. Received: "
                f"class_weights.shape={self.class_weights.shape}"
            )
        _check_no_class_weight(self.model)
        _checks.warn_if_never(self, "start_epoch", self.start_epoch)

    def on_epoch_begin(self, epoch, logs=None):
        is_on = epoch >= self.start_epoch
        weights = self.class_weights if is_on else np.ones_like(self.class_weights)
        loss = self._class_weighted()
        if np.allclose(loss.class_weights, weights, rtol=1e-6, atol=0):
            return
        if self.loss is not None or keras.backend.backend() != "jax":
            loss.set_class_weights(weights)
            return
        # Keras's own steps are all that have the weights: others stay compiled.
        loss._assign(weights)
        self.model.make_train_function(force=True)
        self.model.test_function = None

    def on_test_begin(self, logs=None):
        model, loss = self.model, self._class_weighted()
        step, before = model.test_step, model.test_function

        def unweighted_step(*arguments):
            with loss._unweighted():
                return step(*arguments)

        model.test_step = unweighted_step
        if before is not self._test_functions[0]:
            model.make_test_function(force=True)
            self._test_functions = before, model.test_function
        model.test_function = self._test_functions[1]

    def on_test_end(self, logs=None):
        self._end_validation()

    def _end_validation(self):
        # The first of several such callbacks gives all back.
        if "test_step" in vars(self.model):
            del self.model.test_step
            self.model.test_function = self._test_functions[0]

    def _class_weighted(self):
        if self.loss is not None:
            return self.loss
        compiled = getattr(self.model, "loss", None)
        losses = keras.tree.flatten(compiled)
        found = {id(loss): loss for loss in losses if isinstance(loss, ClassWeighted)}
        if not found:
            raise ValueError(
                "DeferredReweighting needs a model compiled with a "
                "`mm_tf.losses.ClassWeighted` loss, for example "
                "`loss=ClassWeighted(MaximumMargin(), num_classes)`. "
                f"Received: loss={compiled!r}"
            )
        if len(found) > 1:
            raise ValueError(
                "`loss` must be given where a model has several `ClassWeighted` "
                "losses, and a DeferredReweighting for each one. "
                f"Received: loss=None, and a model with {len(found)} of them"
            )
        return next(iter(found.values()))


def _check_no_class_weight(model):
    """Refuses the `class_weight` of the `fit` that is running.

    Keras makes sample weights of it and gives it to nobody else.
    """
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        given = frame.f_locals if frame.f_code.co_name == "fit" else {}
        class_weight = given.get("class_weight")
        if class_weight is not None and given.get("self") is model:
            raise ValueError(
                "`class_weight` of `fit` must not be given with a `ClassWeighted` "
                "loss: both would weigh the classes. "
                f"Received: class_weight={class_weight!r}"
            )
        frame = frame.f_back
