"""What importing costs, and what Keras knows afterwards."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from mm_tf import layers, losses, metrics, optimizers

HEAVY = ("keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib")


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.split()


@pytest.mark.parametrize(
    "module",
    ["mm_tf", "mm_tf.class_weights", "mm_tf.data", "mm_tf.experiments.config.flags"],
)
def test_light_modules_import_nothing_heavy(module):
    code = f"import sys, {module}; print(*set(sys.modules) & set({HEAVY}))"
    assert run_python(code) == []


MODULES = {
    "LDAM": "mm_tf.losses.label_distribution",
    "NormalizedDense": "mm_tf.layers.cosine_head",
    "BalancedAccuracy": "mm_tf.metrics",
    "SGD": "mm_tf.optimizers",
}
KNOWN = (
    "import keras; found = [keras.saving.get_registered_object(f'mm_tf>{name}') "
    f"for name in {list(MODULES)}]; "
    "print(*(each and each.__module__ for each in found))"
)


def test_keras_knows_the_classes_if_it_was_imported_first():
    assert run_python(f"import keras, mm_tf; {KNOWN}") == [*MODULES.values()]


def test_keras_knows_the_classes_of_an_imported_part():
    found = run_python(f"import mm_tf.losses; {KNOWN}")
    assert MODULES["LDAM"] in found


def test_load_model_in_a_process_that_imports_nothing_else(tmp_path):
    model = keras.Sequential([keras.Input([2]), layers.NormalizedDense(2)])
    loss = losses.ClassWeighted(losses.MaximumMargin(), 2)
    model.compile(optimizers.SGD(0.1), loss, metrics=[metrics.BalancedAccuracy(2)])
    model.fit(np.eye(2), np.arange(2), verbose=0)
    model.save(tmp_path / "model.keras")
    code = (
        "import mm_tf; "
        f"model = mm_tf.load_model({str(tmp_path / 'model.keras')!r}); "
        "kinds = type(model.loss.loss), type(model.optimizer), type(model.layers[-1]); "
        "print(*(kind.__name__ for kind in kinds))"
    )
    assert run_python(code) == ["MaximumMargin", "SGD", "NormalizedDense"]


@pytest.mark.parametrize(
    "modules",
    [
        ("mm_tf", "mm_tf.data", ""),
        ("mm_tf", "keras", ""),
        ("mm_tf.losses", "mm_tf.callbacks", ""),
        # Keras is there: `import mm_tf` imports the parts, as the other thread does.
        ("mm_tf", "mm_tf.losses", "keras"),
        pytest.param(("keras", "mm_tf.layers", ""), marks=pytest.mark.long),
        pytest.param(
            ("mm_tf.metrics", "mm_tf.models", "keras"), marks=pytest.mark.long
        ),
    ],
    ids=" ".join,
)
def test_import_from_two_threads(modules):
    *modules, first = modules
    code = f"""
import importlib, sys, threading
{first and f"import {first}"}
sys.setswitchinterval(1e-6)
start, imported = threading.Barrier(2), []
def run(name):
    start.wait()
    imported.append(importlib.import_module(name).__name__)
threads = [threading.Thread(target=run, args=[name]) for name in {modules}]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*sorted(imported))
"""
    assert run_python(code) == sorted(modules)


def test_parts_from_two_threads_where_keras_is_there():
    code = """
import importlib, sys, threading
import keras
sys.setswitchinterval(1e-6)
names, imported = ["mm_tf.losses", "mm_tf.callbacks"], []
def run(name):
    imported.append(importlib.import_module(name).__name__)
threads = [threading.Thread(target=run, args=[name]) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*sorted(imported))
"""
    for _ in range(3):
        assert run_python(code) == ["mm_tf.callbacks", "mm_tf.losses"]


def test_unknown_attribute():
    import mm_tf

    with pytest.raises(AttributeError, match="no attribute 'lossess'"):
        _ = mm_tf.lossess
    assert {"losses", "layers", "callbacks", "data"} <= set(dir(mm_tf))
