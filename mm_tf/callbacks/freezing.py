"""A backbone that rests in the first epochs."""

import keras

from mm_tf import _checks
from mm_tf.optimizers import SGD


class FrozenBackbone(keras.callbacks.Callback):
    """Trains only the head in the first epochs, then the backbone with it.

    Frozen, the backbone's weights stay as they are, and its batch normalization is
    the one of inference: fresh heads have large gradients, which would spoil what the
    backbone knows. Which epoch is frozen depends only on its number, so a training
    that was stopped resumes as it was.

    Args:
        epochs: The number of first epochs, >= 0, in which the backbone is frozen.
        layer: The name of the backbone's layer. None: the layer of the model that is
            itself a `keras.Model`, as of `mm_tf.models.with_cosine_head`.

    Raises:
        ValueError: An argument is not as described; in `fit`, the model has no such
            layer, or, on JAX, its optimizer is not `mm_tf.optimizers.SGD`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import mm_tf
    >>> backbone = keras.Sequential([keras.Input([4, 4, 1]), keras.layers.Flatten()])
    >>> model = mm_tf.models.with_cosine_head(backbone, num_classes=2)
    >>> model.compile(mm_tf.optimizers.SGD(0.1), mm_tf.losses.MaximumMargin())
    >>> x, y = np.ones((2, 4, 4, 1)), np.arange(2)
    >>> frozen = mm_tf.callbacks.FrozenBackbone(epochs=1)
    >>> history = model.fit(x, y, epochs=2, callbacks=[frozen], verbose=0)
    >>> backbone.trainable
    True

    Source: Chollet, "Transfer learning & fine-tuning", keras.io, 2020.
    """

    def __init__(self, epochs, layer=None):
        super().__init__()
        self.epochs = _checks.check_integer("epochs", epochs, low=0)
        if layer is not None and not isinstance(layer, str):
            raise ValueError(
                f"`layer` must be the name of a layer. Received: layer={layer!r}"
            )
        self.layer = layer

    def _backbone(self):
        if self.layer is not None:
            return self.model.get_layer(self.layer)
        found = [each for each in self.model.layers if isinstance(each, keras.Model)]
        if len(found) != 1:
            raise ValueError(
                "`layer` must be given unless exactly one layer of the model is itself "
                f"a model. Received: a model with {len(found)}"
            )
        return found[0]

    def on_epoch_begin(self, epoch, logs=None):
        self._set(epoch >= self.epochs)

    def on_train_end(self, logs=None):
        # As the model is to be saved.
        self._set(True)

    def _set(self, is_trainable):
        backbone, model = self._backbone(), self.model
        if backbone.trainable == is_trainable:
            return
        optimizer = model.optimizer
        if not optimizer.built:
            # With all variables, so that it knows them when they are trained.
            optimizer.build(model.trainable_variables)
        backbone.trainable = is_trainable
        if isinstance(optimizer, SGD):
            optimizer.train_only(model.trainable_variables)
        elif keras.backend.backend() == "jax":
            backbone.trainable = not is_trainable
            raise ValueError(
                "On JAX the optimizer must be `mm_tf.optimizers.SGD` for a backbone to "
                f"be frozen for a while. Received: optimizer={optimizer!r}"
            )
        # The compiled step has the old variables in it.
        model.make_train_function(force=True)
        if hasattr(model, "_record_training_state_sharding_spec"):
            # JAX: where each trainable variable lies, which `fit` noted at its begin.
            model._record_training_state_sharding_spec()
        if keras.backend.backend() == "jax":
            # On several devices these, too, are compiled for the variables there were.
            model.test_function = model.predict_function = None
