"""Losses, layers, callbacks and experiments for class-imbalanced images.

``import mm_tf`` is cheap: it imports neither Keras nor TensorFlow. Its parts
are imported when they are first used (``mm_tf.losses``, ``mm_tf.layers``, ...),
and Keras, whenever it is imported, learns of mm_tf's classes, so that
``keras.saving.load_model`` finds them.
"""

import importlib

from mm_tf import _registration

__version__ = "0.1.0"

_PARTS = (
    "backbones",
    "calibration",
    "callbacks",
    "checkpoints",
    "class_weights",
    "data",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "pretraining",
)

_registration.register_with_keras()


def __getattr__(name):
    if name in _PARTS:
        return importlib.import_module(f"mm_tf.{name}")
    raise AttributeError(f"module 'mm_tf' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PARTS])
