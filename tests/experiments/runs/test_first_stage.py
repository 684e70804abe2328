"""SSP: the stage before a run's own epochs, in its folder or from another run."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from helpers import TINY, Stopped, stop_after, weights_of
from made_up import RUN_FILES

from mm_tf.data import DATASETS, imbalanced, load, split_holdout
from mm_tf.experiments.run import RunConfig, run
from mm_tf.experiments.runs import data as runs_data
from mm_tf.experiments.runs import first_stage, training
from mm_tf.experiments.runs.folder import RunFolder

WEIGHTS = "first_stage.weights.h5"


@pytest.fixture(scope="module")
def ssp(tmp_path_factory):
    """A finished run of SSP, whose own epochs change next to nothing."""
    config = RunConfig(
        method="ldam_drw_ssp",
        **TINY,
        holdout=0.2,
        epochs=1,
        pretraining_epochs=2,
        learning_rate=1e-9,
        l2=0.0,
        output_dir=str(tmp_path_factory.mktemp("ssp") / "run"),
    )
    assert run_fast_first_stage(config) == 2
    return config


def run_fast_first_stage(config, data=None):
    """Runs a config with a first stage that learns; returns the stage's epochs."""
    pretrain, epochs = first_stage.pretrain_rotation, []

    def fast(*given, **arguments):
        epochs.append(arguments["epochs"])
        return pretrain(*given, **{**arguments, "learning_rate": 0.05})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_stage, "pretrain_rotation", fast)
        if data is not None:
            patch.setattr(runs_data, "imbalanced", lambda *_: data)
        run(config)
    return sum(epochs)


def kernel_of(model):
    return np.array(
        keras.ops.convert_to_numpy(model.get_layer("layer3_0_conv2").kernel)
    )


def test_a_run_starts_from_its_first_stage(ssp):
    names = {path.name for path in ssp.run_folder.iterdir()}
    assert names == RUN_FILES | {WEIGHTS}
    fresh = training.build_model(ssp, DATASETS["digits"])
    before = kernel_of(fresh)
    backbone = keras.Model(fresh.input, fresh.get_layer("features").output)
    backbone.load_weights(ssp.run_folder / WEIGHTS)
    assert np.abs(kernel_of(fresh) - before).max() > 1e-4
    trained = keras.saving.load_model(ssp.run_folder / "model.keras")
    np.testing.assert_allclose(kernel_of(trained), kernel_of(fresh), atol=1e-6)


def test_the_hold_out_has_no_part_in_the_first_stage(ssp, tmp_path):
    drawn = imbalanced(load("digits"), ssp.drawn_class_counts, ssp.subset_seed)
    _, held_out = split_holdout(drawn.train_labels, ssp.holdout, ssp.subset_seed)
    images = drawn.train_images.copy()
    images[held_out] = 255 - images[held_out]
    spoiled = dataclasses.replace(drawn, train_images=images)
    other = dataclasses.replace(ssp, output_dir=str(tmp_path / "run"))
    run_fast_first_stage(other, spoiled)
    backbones = [training.build_model(ssp, DATASETS["digits"]) for _ in range(2)]
    for model, config in zip(backbones, (ssp, other), strict=True):
        backbone = keras.Model(model.input, model.get_layer("features").output)
        backbone.load_weights(config.run_folder / WEIGHTS)
    for mine, expected in zip(*map(weights_of, backbones), strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_another_run_takes_its_first_stage(ssp, tmp_path, monkeypatch):
    monkeypatch.setattr(first_stage, "pretrain_rotation", None)
    # Another loss, and other epochs of its own.
    other = dataclasses.replace(
        ssp,
        max_class_margin=0.3,
        epochs=2,
        output_dir=str(tmp_path / "run"),
        pretrained_dir=str(ssp.run_folder),  # The old name.
    )
    run(other)
    of_both = [
        keras.saving.load_model(each.run_folder / "model.keras")
        for each in (ssp, other)
    ]
    np.testing.assert_allclose(*map(kernel_of, of_both), atol=1e-6)
    # From which a third one can take it.
    third = dataclasses.replace(
        other, first_stage=other.output_dir, output_dir=str(tmp_path / "third")
    )
    run(third)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed=0 there, 1 here"),
        ({"model": "resnet20"}, "model='resnet8' there, .resnet20. here"),
        ({"imbalance_ratio": 10.0}, "imbalance_ratio=20.0 there, 10.0 here"),
        ({"holdout": 0.0}, "holdout=0.2 there, 0.0 here"),
        ({"cutout": 4}, "cutout=0 there, 4 here"),
        ({"pretraining_epochs": 3}, "pretraining_epochs=2 there, 3 here"),
    ],
)
def test_a_first_stage_of_other_flags_is_refused(change, message, ssp):
    other = dataclasses.replace(ssp, **change, first_stage=str(ssp.run_folder))
    model = training.build_model(other, DATASETS["digits"])
    with pytest.raises(ValueError, match=f"`first_stage` must be.*{message}"):
        first_stage.start(other, None, model, verbose=0)


def test_what_is_no_finished_first_stage(ssp, tmp_path):
    model = training.build_model(ssp, DATASETS["digits"])
    for name in ("none", "without", "damaged"):
        there = tmp_path / name
        if name != "none":
            shutil.copytree(ssp.run_folder, there)
            (there / WEIGHTS).unlink()
        if name == "damaged":
            (there / WEIGHTS).write_bytes(b"not HDF5")
        message = {
            "none": "`first_stage` must be the folder of a finished run.*flags.txt",
            "without": "`first_stage` must be the folder.*It has no first_stage",
            "damaged": "first stage's weights cannot be read.*Received: .*damaged",
        }[name]
        other = dataclasses.replace(ssp, first_stage=str(there))
        with pytest.raises(ValueError, match=message):
            first_stage.start(other, None, model, verbose=0)


def test_a_stopped_first_stage_resumes(ssp, tmp_path, monkeypatch, capsys):
    configs = [
        dataclasses.replace(ssp, learning_rate=0.1, output_dir=str(tmp_path / name))
        for name in ("once", "stopped")
    ]
    run(configs[0])
    train = training.train
    with monkeypatch.context() as patch:
        patch.setattr(
            training,
            "train",
            lambda config, data, folder, *_: train(config, data, folder, stop_after(9)),
        )
        with pytest.raises(Stopped):
            run(configs[1])
    folder = RunFolder(configs[1])
    assert folder.has_checkpoint and not (folder.path / WEIGHTS).exists()
    run(configs[1])
    assert "epoch 1, step 3 (counted from 0)" in capsys.readouterr().out
    once, stopped = (
        keras.saving.load_model(config.run_folder / "model.keras") for config in configs
    )
    for there, here in zip(once.get_weights(), stopped.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)
    assert {path.name for path in folder.path.iterdir()} == RUN_FILES | {WEIGHTS}


def test_a_first_stage_that_is_trained_is_not_trained_again(ssp, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(ssp.run_folder / WEIGHTS, folder)
    monkeypatch.setattr(first_stage, "pretrain_rotation", None)
    model = training.build_model(ssp, DATASETS["digits"])
    first_stage.start(ssp, None, model, 0, folder)
    trained = keras.saving.load_model(ssp.run_folder / "model.keras")
    np.testing.assert_allclose(kernel_of(trained), kernel_of(model), atol=1e-6)
