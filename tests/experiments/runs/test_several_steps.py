"""How many steps a run takes at once."""

import keras
import pytest

from mm_tf.data import DATASETS
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.machine import environment
from mm_tf.experiments.runs import training

# 417 images.
TINY = dict(model="resnet8", imbalance_ratio=20.0)


@pytest.mark.parametrize(
    ("batch_size", "steps", "at_once"), [(32, 14, 14), (8, 53, 1), (4, 105, 15)]
)
def test_on_a_gpu_the_largest_divisor_of_an_epoch_is_the_default(
    batch_size, steps, at_once, monkeypatch
):
    config = RunConfig(batch_size=batch_size, **TINY)
    assert config.steps_per_epoch == steps
    if keras.backend.backend() == "torch":
        at_once = 1
    for has_gpu, expected in ((True, at_once), (False, 1)):
        monkeypatch.setattr(environment, "has_accelerator", lambda has=has_gpu: has)
        model = training.build_model(config, DATASETS["digits"])
        assert model.steps_per_execution == expected


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras takes one step at a time there"
)
def test_a_given_number_is_taken():
    config = RunConfig(batch_size=32, steps_per_execution=7, **TINY)
    model = training.build_model(config, DATASETS["digits"])
    assert model.steps_per_execution == 7


def test_a_number_that_does_not_divide_an_epoch_is_refused():
    with pytest.raises(ValueError, match="14: be one of 1, 2, 7, 14. .*ution=4$"):
        RunConfig(batch_size=32, steps_per_execution=4, **TINY)


def test_it_is_no_part_of_what_a_run_is():
    config = RunConfig(batch_size=32, steps_per_execution=7, **TINY)
    assert config.identity() == RunConfig(batch_size=32, **TINY).identity()


def test_torch_takes_one_at_a_time():
    with pytest.raises(ValueError, match="must be 1 on torch.*execution=7$"):
        RunConfig(batch_size=32, steps_per_execution=7, backend="torch", **TINY)
