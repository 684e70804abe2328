"""Runs on images of one's own, from the command's flags and from Python."""

import dataclasses
import shutil

import numpy as np
import pytest
from flag_parsing import parse
from made_up_images import save_classes

from mm_tf import checkpoints
from mm_tf.data import DataWarning, ImageFiles, load
from mm_tf.data.identification import data_digest
from mm_tf.experiments import grid, images, pretrained, report, table
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.results import RunFolder, RunResult
from mm_tf.experiments.run import run

COUNTS = {"ant": 15, "bee": 10, "cow": 5}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = save_classes(tmp_path_factory.mktemp("data") / "My photos!", COUNTS)
    (folder / "ant" / "broken.jpg").write_text("no image")
    return folder


@pytest.fixture
def config(photos, tmp_path):
    return RunConfig(
        dataset="folder",
        data_dir=str(photos),
        image_size=16,
        model="resnet8",
        epochs=1,
        batch_size=16,
        output_dir=str(tmp_path / "run"),
    )


@pytest.mark.filterwarnings("error::mm_tf.data.DataWarning")
def test_a_run_on_a_folder_and_a_report_of_it(config, photos, capsys, monkeypatch):
    result = run(config)
    said = " ".join(capsys.readouterr().out.split())
    assert "24 training images, 12 to 4 a class" in said
    assert "ant/broken.jpg (its content is none of these)" in said
    assert result.class_counts == [12, 8, 4]
    assert (result.imbalance, result.imbalance_ratio) == ("as_is", 3.0)
    assert result.setting == "folder-My-photos_as_is"
    assert result.class_names == ["ant", "bee", "cow"]
    assert RunResult.read(config.run_folder) == result
    # The flagfile repeats it from anywhere, and nothing is trained again.
    flagfile = config.run_folder / "flags.txt"
    monkeypatch.chdir("/")
    again = parse(f"--flagfile={flagfile}", f"--output_dir={config.output_dir}")
    assert again.data_digest == data_digest("folder", photos)
    monkeypatch.setattr(images, "load_whole", None)
    assert run(again) == result
    monkeypatch.undo()
    page = report.write_report([config.run_folder]).read_text()
    assert "They are not shown" not in page
    assert "that are taken for" in page or result.top1_error == 0


def test_photos_that_changed_are_noticed(config, photos, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(photos, copy)
    before = images.identified(config)
    moved = dataclasses.replace(before, data_dir=str(copy))
    # Where they lie does not matter; what they are does, though the sizes be equal.
    assert images.identified(moved) == moved
    path = copy / "bee" / "003.png"
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="`data_digest`: the images are not those"):
        images.identified(moved)
    path.unlink()
    changed = images.identified(dataclasses.replace(moved, data_digest=None))
    with RunFolder(before).locked():
        RunFolder(before).prepare()
        with pytest.raises(ValueError, match="the images are others than those"):
            RunFolder(changed).prepare()


def test_digest_covers_classes_and_archives(photos, tmp_path):
    other = tmp_path / "photos"
    shutil.copytree(photos, other)
    (other / "bee").rename(other / "boa")
    assert data_digest("folder", other) != data_digest("folder", photos)
    archive = tmp_path / "all.npz"
    for first in (0, 1):
        noise = np.full((4, 8, 8), first, np.uint8)
        np.savez(archive, images=noise, labels=["a", "b"] * 2)
        if not first:
            before = data_digest("npz", archive)
    assert len(before) == 16
    assert data_digest("npz", archive) != before
    assert data_digest("tfds:mnist", None) is None
    with pytest.raises(ValueError, match="`data_dir` must say"):
        data_digest("csv", None)


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (dict(dataset="folder", data_dir="/my/Photos"), "folder-Photos_as_is"),
        (dict(dataset="folder", data_dir="/my/a b: c/"), "folder-a-b-c_as_is"),
        (dict(dataset="csv", data_dir="x/list.csv"), "csv-list_as_is"),
        (dict(dataset="npz", data_dir="/"), "npz_as_is"),
        (dict(dataset="tfds:im/32x32:1.0.0"), "tfds-im-32x32-1.0.0_as_is"),
        (
            dict(dataset="tfds:mnist", imbalance="step", imbalance_ratio=5),
            "tfds-mnist_step5",
        ),
    ],
)
def test_settings_are_names_of_folders(arguments, setting):
    assert RunConfig(**arguments).setting == setting


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(dataset="foldr"), "`dataset` must be one of.*Did you mean folder?"),
        (dict(dataset="folder"), "`data_dir` must say where the images"),
        (dict(dataset="digits", image_size="64"), "`image_size` is for images of your"),
        (dict(dataset="cifar10", strict=True), "`strict` is for images of your own"),
        (dict(dataset="digits", imbalance="as_is"), "`imbalance` must be one of long"),
        (dict(dataset="tfds:mnist", image_size="64,64"), "`image_size` must be a num"),
        (dict(dataset="tfds:mnist", image_size=0), "`image_size` must be an integer"),
        (dict(dataset="tfds:mnist", channels=2), "`channels` must be 3"),
        (dict(dataset="tfds:mnist", test_fraction=1.0), "`test_fraction` must be"),
        (
            dict(dataset="tfds:a", image_size="8x9", method="ldam_drw_ssp"),
            "must be square.*Received: images of 8 x 9",
        ),
    ],
)
def test_errors_before_anything_is_read(arguments, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**arguments)


def test_counts_are_those_of_the_images(config):
    assert not config.knows_counts
    with pytest.raises(ValueError, match="are known when they have been read"):
        config.class_counts  # noqa: B018
    whole = images.load_whole(config)
    assert config.on(whole).class_counts.tolist() == [12, 8, 4]
    held_out = dataclasses.replace(config, holdout=0.25)
    data = images.read(held_out)
    assert isinstance(data.test_images, ImageFiles)
    assert held_out.on(whole).class_counts.tolist() == data.class_counts.tolist()
    assert data.class_counts.tolist() == [9, 6, 3]


@pytest.mark.parametrize(
    ("imbalance", "ratio", "counts"),
    [("none", 100, [4, 4, 4]), ("long_tailed", 4, [4, 2, 1]), ("step", 2, [4, 2, 2])],
)
def test_imbalances_take_as_many_as_every_class_has(config, imbalance, ratio, counts):
    drawn = dataclasses.replace(config, imbalance=imbalance, imbalance_ratio=ratio)
    assert images.read(drawn).class_counts.tolist() == counts


def test_imbalances_that_cannot_be(config):
    long_tailed = dataclasses.replace(config, imbalance="long_tailed")
    with pytest.raises(ValueError, match="at most 4 for the smallest class"):
        images.read(long_tailed)
    single = dataclasses.replace(long_tailed, imbalance_ratio=4, holdout=0.2)
    with pytest.raises(ValueError, match="`holdout` needs at least two images"):
        images.read(single)


def test_identities_of_other_runs_stay_what_they_were():
    added = {"image_size", "channels", "data_digest", "split_seed", "strict"}
    assert not added & set(RunConfig().identity())
    assert RunConfig().imbalance == "long_tailed"


def test_a_backbone_is_that_of_its_images(config):
    ssp = dataclasses.replace(config, method="ldam_drw_ssp", data_digest="a" * 16)
    keys = {
        pretrained.weights_path(dataclasses.replace(ssp, **change))[0].name
        for change in (
            {},
            {"data_digest": "b" * 16},
            {"image_size": 24},
            {"split_seed": 1},
            {"horizontal_flip": False},
        )
    }
    assert len(keys) == 5


def test_images_that_are_not_square_cannot_be_turned(tmp_path, config):
    noise = np.random.default_rng(0).integers(0, 256, (20, 8, 10), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=noise, labels=["a", "b"] * 10)
    oblong = dataclasses.replace(
        config,
        dataset="npz",
        data_dir=str(tmp_path / "a.npz"),
        image_size=None,
        method="ldam_drw_ssp",
    )
    with pytest.raises(ValueError, match="square.*Received: images of 8 x 10 pixels"):
        run(oblong)


def test_a_run_never_holds_all_images(config, monkeypatch):
    # Nor does its pre-training: each image is decoded for each batch anew.
    large = dataclasses.replace(
        config, memory_limit=0, method="ldam_drw_ssp", verify=False
    )
    (folder := tmp_folder(config)).joinpath("ant", "broken.jpg").unlink()
    large = dataclasses.replace(
        large, data_dir=str(folder), pretrained_dir=str(folder.parent / "kept")
    )

    def whole(*_, **__):
        raise AssertionError("All images were asked for at once.")

    monkeypatch.setattr(ImageFiles, "__array__", whole)
    fit, seen = checkpoints.fit, []
    monkeypatch.setattr(
        checkpoints,
        "fit",
        lambda *given, **more: (seen.append(given[1]), fit(*given, **more)),
    )
    assert run(large).class_counts == [12, 8, 4]
    assert [type(each) for each in seen] == [ImageFiles, ImageFiles]


def tmp_folder(config):
    place = RunFolder(config).path.with_name("copy")
    shutil.copytree(config.data_dir, place)
    return place


def test_a_grid_of_ones_own(photos, tmp_path, capsys):
    given = dict(
        dataset="folder", data_dir=str(photos), image_size=8, model="resnet8", epochs=1
    )
    setting = RunConfig(**given).setting
    configs = grid.grid(["erm"], {setting: given}, [0], tmp_path)
    results, failures = grid.run_grid(configs)
    assert not failures
    assert results[0].setting == setting
    assert (tmp_path / setting / "erm" / "seed0" / "model.keras").exists()
    with pytest.raises(ValueError, match="give --dataset and --data_dir instead"):
        grid.parse_settings([setting])
    assert table.grid is grid


def test_loading_from_python_still_warns(photos):
    with pytest.warns(DataWarning, match="cannot be decoded"):
        load("folder", photos)
