"""Makes Keras know mm_tf's classes without importing Keras early.

Keras finds a custom class of a saved model only among the registered ones, and
classes register themselves when their module is imported. Importing them with
``import mm_tf`` would import Keras and its backend, seconds that a user who
only wants class counts or ``--help`` should not wait. So they are imported as
soon as Keras is there: at once if it is, otherwise right after its import.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys

_MODULES_WITH_CLASSES = (
    "mm_tf.losses",
    "mm_tf.layers",
    "mm_tf.metrics",
    "mm_tf.optimizers",
)


def _import_classes():
    for module in _MODULES_WITH_CLASSES:
        importlib.import_module(module)


class _LoaderThenClasses(importlib.abc.Loader):
    """Executes Keras as its own loader does, then imports mm_tf's classes."""

    def __init__(self, loader, finder):
        self._loader = loader
        self._finder = finder

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        sys.meta_path.remove(self._finder)
        _import_classes()

    def __getattr__(self, name):
        return getattr(self._loader, name)


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Wraps the loader of ``keras`` until it was executed; leaves others alone.

    Some packages look for Keras before they import it, TensorFlow among them.
    """

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LoaderThenClasses(spec.loader, self)
        return spec


def register_with_keras():
    """Imports the classes now if Keras is imported, else right after it is."""
    keras = sys.modules.get("keras")
    if keras is None:
        sys.meta_path.insert(0, _KerasFinder())
    elif hasattr(keras, "saving"):
        _import_classes()
