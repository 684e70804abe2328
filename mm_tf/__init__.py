"""Losses, layers, callbacks and experiments for class-imbalanced images.

``import mm_tf`` is cheap: it imports neither Keras nor TensorFlow. Its parts
are imported when they are first used (``mm_tf.losses``, ``mm_tf.layers``, ...).

Keras loads a saved model once it knows the classes in it. Losses, layers, metrics and
optimizers are known to Keras as soon as they are imported, which ``import mm_tf`` does
if Keras was imported before it, and `mm_tf.load_model` always.
"""

import importlib
import sys

__version__ = "0.2.0"

_PARTS_WITH_CLASSES = ("layers", "losses", "metrics", "optimizers")
_PARTS = (
    "backbones",
    "calibration",
    "callbacks",
    "checkpoints",
    "class_weights",
    "data",
    *_PARTS_WITH_CLASSES,
    "models",
    "pretraining",
)


def load_model(path, **kwargs):
    """Loads a saved model that has losses, layers or an optimizer of mm_tf.

    As `keras.saving.load_model`, which finds mm_tf's classes only once they are
    imported.

    Args:
        path: A `.keras` file.
        **kwargs: As for `keras.saving.load_model`.

    Returns:
        The `keras.Model`.

    Raises:
        ValueError: As `keras.saving.load_model`.

    Example:

    >>> import tempfile
    >>> import mm_tf
    >>> path = tempfile.mkdtemp() + "/model.keras"
    >>> mm_tf.models.resnet_cifar(10, depth=8).save(path)
    >>> mm_tf.load_model(path).name
    'resnet8'
    """
    import keras

    _register()
    return keras.saving.load_model(path, **kwargs)


def _register():
    for name in _PARTS_WITH_CLASSES:
        try:
            importlib.import_module(f"mm_tf.{name}")
        except RuntimeError as error:
            # Python's word that another thread is importing the part, and waits for
            # this import to end. There the part registers itself.
            if type(error).__name__ != "_DeadlockError":
                raise


def __getattr__(name):
    if name in _PARTS:
        return importlib.import_module(f"mm_tf.{name}")
    raise AttributeError(f"module 'mm_tf' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PARTS])


# Not while another thread imports Keras: it may wait for mm_tf, on its way to a part.
if hasattr(sys.modules.get("keras"), "saving"):
    _register()
