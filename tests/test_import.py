"""What importing costs, and what Keras knows afterwards."""

import subprocess
import sys

import pytest

HEAVY = ("keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib")


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.parametrize(
    "module",
    ["mm_tf", "mm_tf.class_weights", "mm_tf.data", "mm_tf.experiments.config.flags"],
)
def test_light_modules_import_nothing_heavy(module):
    code = f"import sys, {module}; print(*set(sys.modules) & set({HEAVY}))"
    assert run_python(code) == []


@pytest.mark.parametrize(
    "imports",
    [
        "import mm_tf, keras",
        *(
            # Each starts TensorFlow anew.
            pytest.param(imports, marks=pytest.mark.long)
            for imports in (
                "import keras, mm_tf",
                "import mm_tf.losses",
                "import mm_tf, importlib.util; importlib.util.find_spec('keras')",
                "import mm_tf, tensorflow as tf; tf.keras.layers",
            )
        ),
    ],
)
def test_keras_knows_the_classes_in_either_order(imports):
    code = (
        f"{imports}; import keras; "
        "print(*(keras.saving.get_registered_object(f'mm_tf>{name}').__module__ "
        "for name in ('LDAM', 'NormalizedDense', 'SGD', 'BalancedAccuracy')))"
    )
    assert run_python(code) == [
        "mm_tf.losses.label_distribution",
        "mm_tf.layers.cosine_head",
        "mm_tf.optimizers",
        "mm_tf.metrics",
    ]


def test_unknown_attribute():
    import mm_tf

    with pytest.raises(AttributeError, match="no attribute 'lossess'"):
        _ = mm_tf.lossess
    assert {"losses", "layers", "callbacks", "data"} <= set(dir(mm_tf))
