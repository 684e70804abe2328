import pathlib

import pytest
from flag_parsing import parse

from mm_tf.data import holdout_counts
from mm_tf.experiments.config import RunConfig, flag_fields, flagfiles_first

FLAGFILE = pathlib.Path(__file__).parents[2] / "experiments" / "cifar10_lt100.flags"


@pytest.mark.parametrize(
    ("epochs", "drops", "reweighted"),
    [(200, (160, 180), 160), (10, (8, 9), 8), (100, (80, 90), 80), (1, (1, 1), 1)],
)
def test_epochs_move_in_proportion(epochs, drops, reweighted):
    config = RunConfig(epochs=epochs)
    assert config.drops == ((drops[0], 1e-2), (drops[1], 1e-4))
    assert config.first_reweighted_epoch == reweighted


def test_given_epochs_stay():
    config = RunConfig(
        epochs=100, first_drop_epoch=30, second_drop_epoch=60, reweight_epoch=0
    )
    assert config.drops == ((30, 1e-2), (60, 1e-4))
    assert config.first_reweighted_epoch == 0
    assert RunConfig(epochs=10).warmup_epochs == 5


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (dict(dataset="cifar10"), "saved_models/cifar10_lt100/mm_ldam_drw/seed0"),
        (
            dict(imbalance="step", imbalance_ratio=2.5, method="erm", seed=3),
            "saved_models/digits_step2.5/erm/seed3",
        ),
        (dict(imbalance="none"), "saved_models/digits_balanced/mm_ldam_drw/seed0"),
        (dict(output_dir="mine"), "mine"),
    ],
)
def test_folder_of_a_run(arguments, folder):
    assert RunConfig(**arguments).run_folder.as_posix() == folder


def test_class_counts():
    assert RunConfig(dataset="cifar10").class_counts.sum() == 12_406
    balanced = RunConfig(imbalance="none", imbalance_ratio=500).class_counts
    assert set(balanced) == {124}


def test_a_hold_out_is_not_trained_on():
    config = RunConfig(imbalance_ratio=20, holdout=0.2)
    drawn = RunConfig(imbalance_ratio=20).class_counts
    assert config.drawn_class_counts.tolist() == drawn.tolist()
    held_out = config.drawn_class_counts - config.class_counts
    assert held_out.tolist() == holdout_counts(drawn, 0.2).tolist()
    assert (config.evaluated_on, RunConfig().evaluated_on) == ("holdout", "test")


def test_a_flag_that_came_later_does_not_change_what_runs_before_it_are():
    assert "holdout" not in RunConfig().identity()
    assert "holdout" not in RunConfig().to_flagfile()
    assert "--holdout=0.2\n" in RunConfig(imbalance_ratio=20, holdout=0.2).to_flagfile()


def test_flags_without_values_are_the_defaults():
    assert parse() == RunConfig()


def test_every_field_is_a_flag_and_its_flagfile_repeats_it(tmp_path):
    config = RunConfig(
        dataset="folder",
        imbalance="step",
        imbalance_ratio=10.5,
        image_size=(48, 64),
        channels=1,
        test_fraction=0.3,
        split_seed=5,
        horizontal_flip=False,
        data_digest="0123456789abcdef",
        subset_seed=2,
        holdout=0.25,
        method="cb_focal",
        beta=1.1,
        delta=2.4,
        scale=19.0,
        max_class_margin=0.3,
        ldam_scale=20.0,
        focal_gamma=2.0,
        class_weighting="inverse_frequency",
        effective_number_beta=0.999,
        model="MobileNet",
        weights="/there/my.h5",
        weights_digest="0123456789abcdef",
        frozen_epochs=3,
        epochs=30,
        warmup_epochs=2,
        first_drop_epoch=20,
        second_drop_epoch=25,
        reweight_epoch=22,
        pretraining_epochs=7,
        batch_size=64,
        learning_rate=0.05,
        momentum=0.8,
        l2=1e-4,
        jit=False,
        deterministic=True,
        precision="bfloat16",
        augment=False,
        seed=7,
        backend="jax",
        data_dir="/some/where",
        strategy="data_parallel",
        devices=4,
    )
    places = {
        "strict",
        "verify",
        "memory_limit",
        "num_threads",
        "output_dir",
        "pretrained_dir",
        "checkpoint_minutes",
        "steps_per_execution",
        "coordinator_address",
        "num_processes",
        "process_id",
        "overwrite",
    }
    for field in flag_fields():
        if field.name not in places:
            assert getattr(config, field.name) != field.default, field.name
    flagfile = tmp_path / "flags.txt"
    flagfile.write_text(config.to_flagfile())
    assert parse(f"--flagfile={flagfile}") == config


def test_places_in_a_flagfile_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = dict(dataset="tfds:made_up", data_dir="kept", model="VGG16")
    lines = RunConfig(**given, weights="my.h5").to_flagfile().splitlines()
    assert f"--data_dir={tmp_path}/kept" in lines
    assert f"--weights={tmp_path}/my.h5" in lines
    given["data_dir"] = "gs://bucket/tfds"
    lines = RunConfig(**given, weights="imagenet").to_flagfile().splitlines()
    assert "--data_dir=gs://bucket/tfds" in lines and "--weights=imagenet" in lines


def test_a_flag_behind_the_flagfile_beats_it():
    config = parse(f"--flagfile={FLAGFILE}", "--beta=2.5")
    assert (config.dataset, config.beta, config.delta) == ("cifar10", 2.5, 0.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(method="sgd"), "`method` must be one of erm, .*Received: method='sgd'"),
        (dict(dataset="imagenet"), "`dataset` must be one of"),
        (dict(imbalance_ratio=0), "`imbalance_ratio` must be.*Received"),
        (dict(imbalance_ratio=1000.0), "`imbalance_ratio` must be at most 124"),
        (dict(beta=-1.0), "`beta` must be.*Received: beta=-1.0"),
        (dict(epochs=0), "`epochs` must be an integer >= 1"),
        (dict(epochs=2.5), "`epochs` must be an integer >= 1"),
        (dict(learning_rate=0.0), "`learning_rate` must be"),
        (dict(momentum=1.5), "`momentum` must be"),
        (dict(effective_number_beta=1.0), "`effective_number_beta` must be below 1"),
        (dict(first_drop_epoch=190), "`second_drop_epoch` must not come before"),
        (dict(seed=-1), "`seed` must be"),
        (dict(augment="yes"), "`augment` must be a bool"),
        (dict(holdout=-0.1), "`holdout` must be.*Received: holdout=-0.1"),
        (dict(holdout=1), "`holdout` must be below 1.*Received: holdout=1.0"),
        (dict(holdout=0.2), "digits_lt100 1 of 10 classes have one.*holdout=0.2"),
        (dict(output_dir=" "), "`output_dir` must name a folder"),
        (dict(backend="mxnet"), "`backend` must be one of"),
        (dict(weights_digest="0" * 32), "`weights_digest` must not be.*weights=None"),
        (
            dict(dataset="cifar10", model="VGG16", weights="a\nb.h5"),
            "`weights` must name imagenet or a file, in UTF-8 and on one line",
        ),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**arguments)


@pytest.mark.parametrize("form", [["--flagfile={}"], ["--flagfile", "{}"]])
def test_a_flag_before_the_flagfile_beats_it_too(form):
    flagfile = [part.format(FLAGFILE) for part in form]
    arguments = flagfiles_first(["run", "--epochs=10", *flagfile, "--beta=2"])
    config = parse(*arguments[1:])
    assert (config.dataset, config.epochs, config.beta) == ("cifar10", 10, 2.0)


def test_flagfiles_that_cannot_be_read(tmp_path):
    binary = tmp_path / "model.keras"
    binary.write_bytes(b"PK\xff\xfe\x00")
    for path in ("", str(tmp_path / "none.flags"), str(tmp_path), str(binary)):
        with pytest.raises(ValueError, match="`flagfile` cannot be read.*Received"):
            flagfiles_first(["run", f"--flagfile={path}"])
    with pytest.raises(ValueError, match="Received: flagfile=''"):
        flagfiles_first(["run", "--flagfile"])


def test_nearly_the_papers_ratio_is_another_setting():
    assert RunConfig(imbalance_ratio=100.00001).setting == "digits_lt100.00001"
