"""Deferred re-weighting (DRW)."""

import keras
import numpy as np

from mm_tf import _checks
from mm_tf.callbacks.divergence import warn_of_head
from mm_tf.callbacks.schedule import warn_if_never
from mm_tf.losses import ClassWeighted
from mm_tf.losses.class_weighted import check_class_weights


class DeferredReweighting(keras.callbacks.Callback):
    """Weighs the classes from a given epoch on (DRW).

    The model must be compiled with a `mm_tf.losses.ClassWeighted` loss. Before
    `start_epoch` all classes weigh 1, from then on `class_weights`. Only the epoch's
    number decides, so that `fit(..., initial_epoch=170)` has the weights too. A `fit`
    that ends before `start_epoch` warns of it.

    Args:
        class_weights: The weight of each class, [K]: `effective_number(counts)`
            or `inverse_frequency(counts)` of `mm_tf.class_weights`.
        start_epoch: The first epoch, counted from 0, with these weights.

    Raises:
        ValueError: `start_epoch` is negative, or `class_weights` are not numbers
            >= 0 of which one is above 0; when training begins: the model's loss is
            not `ClassWeighted`, or it has another number of classes.

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

    def __init__(self, class_weights, start_epoch=160):
        super().__init__()
        num_classes = np.size(_checks.in_class_order(class_weights))
        self.class_weights = check_class_weights(class_weights, num_classes, "float64")
        self.start_epoch = _checks.check_integer("start_epoch", start_epoch, low=0)

    def on_train_begin(self, logs=None):
        warn_of_head(self.model)
        losses = self._class_weighted_losses()
        if not losses:
            raise ValueError(
                "DeferredReweighting needs a model compiled with a "
                "`mm_tf.losses.ClassWeighted` loss, for example "
                "`loss=ClassWeighted(MaximumMargin(), num_classes)`. "
                f"Received: loss={getattr(self.model, 'loss', None)!r}"
            )
        for loss in losses:
            if self.class_weights.shape != (loss.num_classes,):
                raise ValueError(
                    f"`class_weights` must be {loss.num_classes} numbers, one for each "
                    "class of the loss. Received: "
                    f"class_weights.shape={self.class_weights.shape}"
                )

        warn_if_never(self, "start_epoch", self.start_epoch)

    def on_epoch_begin(self, epoch, logs=None):
        is_on = epoch >= self.start_epoch
        weights = self.class_weights if is_on else np.ones_like(self.class_weights)
        changed = False
        for loss in self._class_weighted_losses():
            if not np.allclose(loss.class_weights, weights, rtol=1e-6, atol=0):
                loss.set_class_weights(weights)
                changed = True
        if changed and keras.backend.backend() == "jax":
            # JAX compiled the old weights into its steps as constants.
            self.model.make_train_function(force=True)
            self.model.test_function = None

    def _class_weighted_losses(self):
        losses = keras.tree.flatten(getattr(self.model, "loss", None))
        return [loss for loss in losses if isinstance(loss, ClassWeighted)]
