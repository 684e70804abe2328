"""Runs that begin with weights of a backbone from a file: `--weights`.

The network is a small one in place of MobileNet, which takes half a minute to train;
`test_strategies.py` has MobileNet itself.
"""

import dataclasses

import keras
import numpy as np
import pytest
from helpers import weights_of
from made_up_backbone import backbone_run, save_backbone

from mm_tf import backbones
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.run import run


def small_network(include_top, input_shape, pooling, weights):
    assert (include_top, pooling, weights) == (False, "avg", None)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(4, 3, strides=4, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
        ]
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "MobileNet", small_network)
        save_backbone(folder)
        yield RunConfig(
            **backbone_run(folder),
            frozen_epochs=1,
            epochs=2,
            warmup_epochs=1,
            batch_size=12,
            output_dir=str(folder / "run"),
        )


def trained(config):
    """The weights of the backbone after a run, and those in the file."""
    run(config)
    model = keras.saving.load_model(config.run_folder / "model.keras")
    (backbone,) = (each for each in model.layers if isinstance(each, keras.Model))
    assert backbone.trainable
    in_file = backbones.build(config.model, (32, 32, 3), config.weights)
    return weights_of(backbone), weights_of(in_file)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_frozen_epoch_and_then_one_of_all_weights(epochs, config, capsys):
    folder = config.run_folder.with_name(f"epochs{epochs}")
    after, before = trained(
        dataclasses.replace(config, epochs=epochs, output_dir=str(folder))
    )
    printed = " ".join(capsys.readouterr().out.split())
    begins = (
        f"begins with the weights {config.weights}, its backbone frozen for 1 epoch"
    )
    assert begins in printed
    # The kernel, and four vectors of batch normalization.
    assert len(after) == len(before) == 5
    for one, other in zip(after, before, strict=True):
        assert np.array_equal(one, other) == (epochs == 1)
