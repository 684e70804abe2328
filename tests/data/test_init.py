"""Tests of what `import mm_tf.data` brings along."""

import subprocess
import sys

import pytest

import mm_tf.data


def test_importing_the_package_imports_nothing_heavy():
    script = (
        "import sys, mm_tf.data\n"
        "mm_tf.data.DATASETS['cifar10'], mm_tf.data.EpochOrder([0, 1], 1, 0).order(0)\n"
        "heavy = {'tensorflow', 'keras', 'tensorflow_datasets', 'sklearn', 'jax',\n"
        "         'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", mm_tf.data.__all__)
def test_public_names_are_there(name):
    assert name in dir(mm_tf.data)
    assert getattr(mm_tf.data, name) is not None


def test_unknown_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        mm_tf.data.no_such_name  # noqa: B018
