"""Methods in your own files: `--method=FILE:NAME` on a command line.

The file is imported, so its code runs. It is therefore named on the command line
itself: in a flag file or in the files of a run such a name is refused, and the commands
that read a run never import anything.
"""

import hashlib
import importlib.util
import inspect
import pathlib
import re
import sys
import traceback

from mm_tf._checks import nearest
from mm_tf._text import first_line
from mm_tf.experiments.paper import registry


def is_named(text):
    """Whether a value of `--method` names a file."""
    return ":" in text


def load(text):
    """Registers the method that `"FILE:NAME"` names, and returns its `Method`.

    NAME is what the file registers, or a class or function of the file. One that is
    not registered there is registered by its own name: `MyLoss` as `my_loss`.

    Raises:
        ValueError: There is no such file or name, or the file cannot be imported.
    """
    file, _, name = text.rpartition(":")
    path = pathlib.Path(file).expanduser().resolve()
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(
            "`method` must name a file .py that is there, as my_methods.py:MyLoss. "
            f"Received: method={text!r}"
        )
    before = dict(registry.METHODS)
    module = _imported(path, text)
    registered = {
        row.name: row
        for row in registry.METHODS.values()
        if before.get(row.name) is not row
    }
    if name not in registered:
        loss = getattr(module, name, None)
        of_loss = [row.name for row in registered.values() if row.loss.loss is loss]
        if loss is None or len(of_loss) > 1:
            names = of_loss or [*registered, *_losses(module)]
            raise ValueError(
                f"`method` must name one of {', '.join(names)} in that file."
                f"{nearest(name, names)} Received: method={text!r}"
            )
        name = of_loss[0] if of_loss else _snake_case(name)
        if not of_loss:
            registry.register_method(name, loss)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    for each in {*registered, name}:
        registry.came_from(each, f"{path}:{each}", digest)
    return registry.METHODS[name]


def _imported(path, text):
    """Imports a file under a name that hides no other module."""
    name = f"mm_tf_methods_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Behind all others: the file may import its neighbours.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path)
        ]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        raise ValueError(
            f"`method`: the file cannot be imported ({type(error).__name__}{where}: "
            f"{first_line(error)}). Received: method={text!r}"
        ) from error
    return module


def _losses(module):
    """The names of the classes and functions that a file defines."""
    return [
        name
        for name, each in vars(module).items()
        if (inspect.isclass(each) or inspect.isfunction(each))
        and each.__module__ == module.__name__
        and not name.startswith("_")
    ]


def _snake_case(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
