import pytest

from mm_tf.data import holdout_counts
from mm_tf.experiments.config import RunConfig


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


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (dict(dataset="folder", data_dir="/my/Photos"), "folder-Photos_as_is"),
        (dict(dataset="folder", data_dir="/my/a b: c/"), "folder-a-b-c_as_is"),
        (dict(dataset="csv", data_dir="x/list.csv"), "csv-list_as_is"),
        (dict(dataset="npz", data_dir="/"), "npz_as_is"),
        # Without a data set, the path says which kind it is.
        (dict(data_dir="/my/Photos"), "folder-Photos_as_is"),
        (dict(data_dir="x/list.CSV", imbalance="none"), "csv-list_balanced"),
        (dict(data_dir="~/all.npz"), "npz-all_as_is"),
        (dict(dataset="tfds:im/32x32:1.0.0"), "tfds-im-32x32-1.0.0_as_is"),
        (
            dict(dataset="tfds:mnist", imbalance="step", imbalance_ratio=5),
            "tfds-mnist_step5",
        ),
        # Nearly the paper's ratio is another setting.
        (dict(imbalance_ratio=100.00001), "digits_lt100.00001"),
    ],
)
def test_settings_are_names_of_folders(arguments, setting):
    assert RunConfig(**arguments).setting == setting


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


def test_identity_has_the_flags_that_decide_the_numbers():
    custom = {"image_size", "channels", "data_digest", "split_seed"}
    places = {"strict", "data_dir", "output_dir", "checkpoint_minutes"}
    identity = RunConfig().identity()
    assert not (custom | places) & identity.keys()
    assert identity["holdout"] == 0 and identity["strategy"] == "none"
    images = RunConfig(dataset="folder", data_dir="photos").identity()
    assert images.keys() == identity.keys() | custom | {
        *("test_fraction", "horizontal_flip")
    }
