"""The script for GPU machines, on tiny sizes, on whatever device is here."""

import importlib.util
import json

import numpy as np
import pytest
from helpers import ROOT, environment, python, refused

from mm_tf import data as mm_data
from mm_tf.experiments.runs.result import RunResult

pytestmark = pytest.mark.usefixtures("benchmarks_on_the_path")


@pytest.fixture
def packed(tmp_path):
    import packed_images

    packed_images.pack(mm_data.load("digits"), tmp_path / "digits.npz")
    return tmp_path / "digits.npz"


@pytest.mark.parametrize(("imbalance", "ratio"), [("long_tailed", 10), ("step", 100)])
def test_packed_subset_is_the_subset(packed, imbalance, ratio):
    import packed_images

    counts = mm_data.class_counts(imbalance, 124, 10, ratio)
    subset = packed_images.imbalanced(packed_images.unpack(packed), counts)
    expected = mm_data.imbalanced(mm_data.load("digits"), counts, seed=0)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(subset, name), getattr(expected, name))


def test_images_that_were_not_packed_are_missed(packed):
    import packed_images

    with pytest.raises(ValueError, match="images of this subset are not in"):
        packed_images.imbalanced(packed_images.unpack(packed), [124] * 10)


@pytest.mark.long
def test_measures_speed_and_fills_cells(packed, tmp_path, capsys):
    import gpu

    has_torch = importlib.util.find_spec("torch") is not None
    arguments = [
        f"--images={packed}",
        f"--output={tmp_path}/results",
        "--settings=digits_lt10",
        "--methods=mm_ldam_drw",
        "--epochs=1",
        "--model=resnet8",
        "--steps=2",
        "--rounds=1",
        "--torch",
        *(["eager", "bfloat16"] if has_torch else []),
    ]
    gpu.main(arguments)
    speed = json.loads((tmp_path / "results" / "speed.json").read_text())
    assert len(speed["images_per_second"]) == (3 if has_torch else 1)
    assert all(value > 0 for value in speed["images_per_second"].values())
    assert len(speed["times_as_fast_as"]) == len(speed["images_per_second"]) - 1
    folder = tmp_path / "results" / "digits_lt10" / "mm_ldam_drw" / "seed0"
    assert RunResult.read(folder).method == "mm_ldam_drw"
    assert (folder / "flags.txt").exists()
    assert not (folder / "model.keras").exists()
    capsys.readouterr()
    gpu.main([*arguments, "--minutes=0"])
    assert "0 cells" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed."
)
def test_on_jax_it_needs_no_tensorflow(packed, tmp_path):
    arguments = [
        f"--images={packed}",
        f"--output={tmp_path}/results",
        "--torch",
        "--steps=1",
        "--rounds=1",
        "--settings=digits_lt10",
        "--methods=mm",
        "--epochs=1",
        "--warmup_epochs=0",
        "--model=resnet8",
    ]
    # Not None in sys.modules, which Keras takes for a TensorFlow that is there.
    code = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_datasets"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import gpu
gpu.main({arguments})
"""
    done = python(
        "-c", code, env=environment(ROOT / "benchmarks", ROOT, KERAS_BACKEND="jax")
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "digits_lt10" / "mm" / "seed0"
    assert RunResult.read(folder).epochs == 1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--images=there_is_none.npz", "`images` must be a file that packed_images"),
        ("--settings=lt10", "`settings` must be a data set"),
        ("--settings=cifar10_lt100", "`settings` must be of the file's data set, "),
        ("--setting=digits_lt10", "unrecognized arguments: --setting=digits_lt10"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_measured(
    packed, tmp_path, argument, message
):
    import gpu

    given = [f"--images={packed}", f"--output={tmp_path}/results", argument]
    assert message in refused(gpu.main, given)
    assert not (tmp_path / "results").exists()


def test_torch_network_is_the_same_network():
    torch = pytest.importorskip("torch")
    from torch_resnet import ResNet

    from mm_tf.models import resnet_cifar

    model = ResNet(10, depth=32)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trainable = resnet_cifar(10, depth=32).trainable_weights
    assert parameters == sum(int(np.prod(weight.shape)) for weight in trainable)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
