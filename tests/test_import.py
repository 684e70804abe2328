"""What importing costs, and what Keras knows afterwards."""

import keras
import numpy as np
import pytest
from helpers import environment, python

from mm_tf import layers, losses, metrics, models, optimizers

HEAVY = ("keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib")


def run_python(code, **variables):
    finished = python("-c", code, env=environment(**variables), timeout=120)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()


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


def test_on_jax_the_core_leaves_tensorflow_out():
    pytest.importorskip("jax")
    code = """
import sys
import keras, numpy as np
from mm_tf import callbacks, layers, losses, metrics, models, optimizers
model = models.resnet_cifar(2, depth=8, input_shape=(8, 8, 1))
loss = losses.ClassWeighted(losses.MaximumMargin(), 2)
model.compile(optimizers.SGD(0.1), loss, metrics=[metrics.BalancedAccuracy(2)])
x, y = np.zeros((4, 8, 8, 1), "uint8"), np.array([0, 1, 0, 1])
watchers = [callbacks.DeferredReweighting([1, 2], 1), callbacks.WarmUpStepDecay(0.1)]
watchers += [callbacks.TestError(x, y, [5, 2]), callbacks.EpochLog()]
model.fit(x, y, epochs=2, callbacks=watchers, verbose=0)
print(keras.backend.backend(), "tensorflow" in sys.modules)
"""
    assert run_python(code, KERAS_BACKEND="jax") == ["jax", "False"]


@pytest.mark.parametrize(
    "backend", ["jax", pytest.param("torch", marks=pytest.mark.long)]
)
def test_another_backend_opens_a_saved_model(backend, tmp_path):
    pytest.importorskip(backend)
    model = models.resnet_cifar(3, depth=8, input_shape=(8, 8, 1), seed=0)
    model.compile(optimizers.SGD(0.1), losses.LDAM([5, 3, 2]))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("uint8")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    code = f"""
import mm_tf, numpy as np
model = mm_tf.load_model({str(tmp_path / "model.keras")!r})
images = np.load({str(tmp_path / "images.npy")!r})
print(*model.predict(images, verbose=0).ravel(), type(model.loss).__name__)
"""
    *outputs, loss = run_python(code, KERAS_BACKEND=backend)
    expected = model.predict(images, verbose=0).ravel()
    np.testing.assert_allclose([float(x) for x in outputs], expected, atol=1e-4)
    assert loss == "LDAM"


@pytest.mark.parametrize(
    "name",
    [
        "folders.list_folder",
        "tables.list_csv",
        "splitting.stratified_split",
        "inspection.inspect_data",
    ],
)
def test_dotted_names_of_version_0_1_0(name):
    module, function = name.split(".")
    code = f"from mm_tf.data.{module} import {function} as f; print(f.__name__)"
    assert run_python(code) == [function]


def test_mm_tf_imported_before_keras_registers_nothing():
    assert set(run_python(f"import mm_tf, keras; {KNOWN}")) == {"None"}


def test_unknown_attribute():
    import mm_tf

    with pytest.raises(AttributeError, match="no attribute 'lossess'"):
        _ = mm_tf.lossess
    assert {"losses", "layers", "callbacks", "data"} <= set(dir(mm_tf))
