"""A backbone that rests in the first epochs."""

import weakref

import keras

from mm_tf import _checks
from mm_tf.optimizers import SGD


class FrozenBackbone(keras.callbacks.Callback):
    """Trains only the head in the first epochs, then the backbone with it.

    Frozen, the backbone's weights stay as they are, and its batch normalization is
    the one of inference: fresh heads have large gradients, which would spoil what the
    backbone knows. Which epoch is frozen depends only on its number, so a training
    that was stopped resumes as it was. Layers that you froze yourself stay frozen. A
    `fit` of no more than `epochs` epochs warns of it.

    Args:
        epochs: The number of first epochs, >= 0, in which the backbone is frozen.
        layer: The name of the backbone's layer. None: the layer of the model that is
            itself a `keras.Model`, as of `mm_tf.models.with_cosine_head`.

    Raises:
        ValueError: An argument is not as described; when training begins, the model is
            not built or has no such layer, the backbone has nothing to train, the
            optimizer was built without some of the model's variables, or, on JAX, is
            not `mm_tf.optimizers.SGD`.

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

    def on_train_begin(self, logs=None):
        _checks.warn_if_never(self, "epochs", self.epochs)
        backbone, model = self._backbone(), self.model
        # Where the `fit` before was stopped in a frozen epoch.
        was_frozen = _set_frozen(backbone, False)
        if not model.built:
            raise ValueError(
                "The model must be built before its backbone is frozen: call "
                f"`model(images[:1])` before `fit`. Received: model={model!r}"
            )
        flags = [weight.trainable for weight in backbone.weights]
        if flags and not any(flags):
            raise ValueError(
                "The backbone must have a layer that is trainable: FrozenBackbone "
                "trains nothing that was frozen before. "
                f"Received: {backbone.name} with trainable=False in every layer"
            )
        optimizer = model.optimizer
        if not optimizer.built:
            # With all variables, so that it knows them when they are trained.
            optimizer.build(model.trainable_variables)
        known = set(map(id, optimizer._trainable_variables))
        unknown = [v.path for v in model.trainable_variables if id(v) not in known]
        if unknown:
            raise ValueError(
                "The optimizer must know all variables: compile the model again, as "
                "some were frozen when it was built. "
                f"Received: an optimizer that does not know {unknown[0]}"
            )
        if keras.backend.backend() == "jax" and not isinstance(optimizer, SGD):
            raise ValueError(
                "On JAX the optimizer must be `mm_tf.optimizers.SGD` for a backbone to "
                f"be frozen for a while. Received: optimizer={optimizer!r}"
            )

        if was_frozen:
            self._take_trainable()

    def on_epoch_begin(self, epoch, logs=None):
        if _set_frozen(self._backbone(), epoch < self.epochs):
            self._take_trainable()

    def on_train_end(self, logs=None):
        # As the model is to be saved.
        if _set_frozen(self._backbone(), False):
            self._take_trainable()

    def _take_trainable(self):
        """Makes the steps anew: a compiled one has the old variables in it."""
        model = self.model
        if isinstance(model.optimizer, SGD):
            model.optimizer.train_only(model.trainable_variables)
        model.make_train_function(force=True)
        if keras.backend.backend() == "jax":
            # On several devices these, too, are compiled for the variables there were.
            model.test_function = model.predict_function = None


# What `trainable` each layer of a frozen backbone had before: also for the next `fit`,
# as one that is stopped in a frozen epoch does not come to its end.
_FLAGS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _set_frozen(backbone, is_frozen):
    """Returns whether that changed something."""
    if is_frozen == (backbone in _FLAGS):
        return False
    layers = backbone._flatten_layers()
    if is_frozen:
        _FLAGS[backbone] = [layer.trainable for layer in layers]
        backbone.trainable = False
        return True
    flags = _FLAGS.pop(backbone)
    if not any(layer.trainable for layer in layers):  # Else they were set since.
        # A layer sets those in it, which come behind it.
        for layer, flag in zip(layers, flags, strict=True):
            layer.trainable = flag
    return True
