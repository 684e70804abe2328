"""What a network computes in, and that a run in half precision can be stopped."""

import keras
import numpy as np
import pytest
from helpers import Stopped, stop_after, weights_of

from mm_tf import layers
from mm_tf.data import DATASETS
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.machine import environment, precision
from mm_tf.experiments.runs import training
from mm_tf.experiments.runs.data import read

TINY = dict(
    model="resnet8",
    imbalance_ratio=100.0,
    batch_size=128,
    warmup_epochs=0,
    reweight_epoch=1,
    epochs=2,
    learning_rate=0.01,
)


def trained(folder, stop=lambda: None, **flags):
    config = RunConfig(**TINY, **flags)
    folder.mkdir(exist_ok=True)
    result = training.train(config, read(config)[1], folder, stop)
    return result, keras.saving.load_model(folder / "model.keras")


@pytest.mark.parametrize(
    "half", ["bfloat16", pytest.param("float16", marks=pytest.mark.long)]
)
def test_a_run_in_half_precision_resumes_exactly(half, tmp_path):
    before = keras.config.dtype_policy()
    result, model = trained(tmp_path / "once", precision=half)
    assert result.precision == result.flags["precision"] == half
    assert keras.config.dtype_policy() == before
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | layers.BatchNormalization):
            assert layer.compute_dtype == half
            assert all(weight.dtype == "float32" for weight in layer.weights)
    cosines = model(np.zeros((2, 8, 8, 1), "uint8"))
    assert keras.backend.standardize_dtype(cosines.dtype) == "float32"

    with pytest.raises(Stopped):
        trained(tmp_path / "again", stop_after(2), precision=half)
    again, model_again = trained(tmp_path / "again", precision=half)
    for mine, same in zip(weights_of(model), weights_of(model_again), strict=True):
        np.testing.assert_array_equal(mine, same)
    assert again.per_class_error == result.per_class_error


def test_by_default_a_gpu_computes_in_bfloat16(monkeypatch):
    monkeypatch.setattr(environment, "has_accelerator", lambda: True)
    assert precision.resolved(None) == "bfloat16"
    assert precision.resolved("float32") == "float32"
    model = training.build_model(RunConfig(**TINY), DATASETS["digits"])
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
    monkeypatch.setattr(environment, "has_accelerator", lambda: False)
    assert precision.resolved(None) == "float32"


def test_a_checkpoint_of_another_precision_is_refused(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, KeyboardInterrupt, precision="bfloat16")
    from mm_tf.checkpoints import UnusableCheckpointError

    with pytest.raises(UnusableCheckpointError, match="precision='bfloat16' there"):
        trained(tmp_path)
