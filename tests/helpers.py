"""What tests of several rooms share: processes, refusals, weights, scripts."""

import contextlib
import importlib.util
import io
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A finished run that version 0.1.0 made: MM-LDAM-DRW on digits, three epochs.
OLD_RUN = ROOT / "tests" / "fixtures" / "run_of_0_1_0"


def environment(*folders, **variables):
    """The variables of a process that imports from here, and first from `folders`."""
    paths = os.pathsep.join(map(str, [*folders, *sys.path]))
    return {**os.environ, "PYTHONPATH": paths, **variables}


def python(*arguments, env=None, **options):
    """Runs Python with arguments, as `["-m", "mm_tf.experiments.run"]`; its output is
    in `stdout` and `stderr`, its exit status in `returncode`."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env or environment(),
        **options,
    )


def refused(call, *arguments, status=2, **named):
    """Checks that a call ends its process with a status; returns what it printed to
    standard error."""
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        with pytest.raises(SystemExit) as stopped:
            call(*arguments, **named)
    assert stopped.value.code == status, printed.getvalue()
    assert "Traceback" not in printed.getvalue()
    return printed.getvalue()


def check_refuses(call, argument, *values):
    """Checks that a call refuses each value by a ValueError that names the argument."""
    for value in values:
        with pytest.raises(ValueError, match=rf"\b{argument}\b") as caught:
            call(**{argument: value})
        # What was received ends the message, for whoever sees only its last line.
        assert re.search(r"[Rr]eceived: [^\n]+$", str(caught.value)), value
        # An error that was only reworded would show the other one above it.
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def module_at(path):
    """Imports a script that is in no package."""
    path = pathlib.Path(path)
    name = f"{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    # A data class looks its module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def weights_of(model):
    """Copies of a model's weights, as NumPy arrays."""
    import keras

    return [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]


# The flags of a run on digits that takes seconds.
TINY = dict(model="resnet8", imbalance_ratio=20.0, batch_size=64)


class Stopped(Exception):
    """A training was stopped by `stop_after`."""


def stop_after(steps):
    """A `stop` of `Checkpoints` that raises at this step of one call of `fit`."""
    asked = iter(range(10**9))
    return lambda: Stopped() if next(asked) + 1 == steps else None
