"""Runs on images of one's own, from the command's flags and from Python."""

import dataclasses
import os
import shutil

import keras
import numpy as np
import pytest
from flag_parsing import parse
from made_up import RESULT
from made_up_images import pixels, save_classes, store_in_tfds

from mm_tf import backbones, checkpoints
from mm_tf.data import DataWarning, ImageFiles, load
from mm_tf.data.loading import data_digest
from mm_tf.experiments import report, table
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import grid
from mm_tf.experiments.predict import predict
from mm_tf.experiments.run import run
from mm_tf.experiments.runs import finished, images, inputs, summary
from mm_tf.experiments.runs import run as run_module
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.result import RunResult

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


@pytest.fixture
def in_folder(photos, tmp_path):
    """A class's name that is no text."""
    folder = tmp_path / photos.name
    shutil.copytree(photos, folder)
    (folder / "cow").rename(folder / os.fsdecode(b"\xff"))
    return dict(data_dir=str(folder), image_size=16)


@pytest.fixture
def in_csv(tmp_path):
    """Names of classes that would be markup."""
    folder = save_classes(tmp_path / "images", COUNTS)
    labels = dict(zip(COUNTS, ["[old]", "[/x]", "[b]c"], strict=True))
    lines = [
        f"{path},{labels[path.parent.name]}" for path in sorted(folder.rglob("*.png"))
    ]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    return dict(data_dir=str(tmp_path / "list.csv"), image_size=16)


@pytest.fixture
def in_npz(tmp_path):
    """Grey images of 8 x 8 pixels, a long tail and a hold-out of them."""
    labels = np.repeat(["a", "b", "c"], [30, 25, 20])
    noise = np.random.default_rng(0).integers(0, 256, (75, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "grey.npz", images=noise, labels=labels)
    subset = dict(imbalance="long_tailed", imbalance_ratio=4.0, holdout=0.25)
    return dict(data_dir=str(tmp_path / "grey.npz"), **subset)


@pytest.fixture
def in_tfds(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    store_in_tfds(
        tmp_path / "tfds",
        "made_up",
        {"train": ([pixels(i) for i in range(30)], [0] * 15 + [1] * 10 + [2] * 5)},
        picture=tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
        kind=tfds.features.ClassLabel(names=["no", "yes", "perhaps"]),
    )
    return dict(data_dir=str(tmp_path / "tfds"), image_size=16, channels=1)


@dataclasses.dataclass(frozen=True)
class Expected:
    setting: str
    counts: list[int]
    names: list[str]
    told: str
    shape: tuple[int, int, int] = (16, 16, 3)


@pytest.mark.filterwarnings("error::mm_tf.data.DataWarning")
@pytest.mark.parametrize(
    ("dataset", "source", "expected"),
    [
        (
            "folder",
            "in_folder",
            Expected(
                "folder-My-photos_as_is",
                [12, 8, 4],
                ["ant", "bee", r"\udcff"],
                "ant/broken.jpg (its content is none of these)",
            ),
        ),
        (
            "csv",
            "in_csv",
            Expected(
                "csv-list_as_is", [8, 4, 12], ["[/x]", "[b]c", "[old]"], "[old] 12"
            ),
        ),
        (
            "npz",
            "in_npz",
            Expected(
                "npz-grey_lt4",
                [12, 6, 3],
                ["a", "b", "c"],
                "a hold-out of 7 more training images, 4 to 1 a class",
                (8, 8, 1),
            ),
        ),
        (
            "tfds:made_up",
            "in_tfds",
            Expected(
                "tfds-made_up_as_is",
                [12, 8, 4],
                ["no", "yes", "perhaps"],
                "24 training images, 12 to 4 a class",
                (16, 16, 1),
            ),
        ),
    ],
)
def test_from_a_source_to_what_is_done_with_a_run(
    dataset,
    source,
    expected,
    request,
    config,
    photos,
    capsys,
    monkeypatch,
    coarse_pictures,
):
    given = {"image_size": None, **request.getfixturevalue(source)}
    config = dataclasses.replace(config, dataset=dataset, **given)
    result = run(config)
    summary.print_result(result, config.run_folder)
    said = " ".join(capsys.readouterr().out.split())
    assert expected.told in said
    assert "published" not in said and "paper" not in said
    assert (result.setting, result.class_counts) == (expected.setting, expected.counts)
    assert result.class_names == expected.names
    assert result.imbalance == config.imbalance
    assert result.imbalance_ratio == max(expected.counts) / min(expected.counts)
    assert RunResult.read(config.run_folder) == result
    # The flagfile repeats it from anywhere, and nothing is trained again.
    flagfile = config.run_folder / "flags.txt"
    monkeypatch.chdir("/")
    again = parse(f"--flagfile={flagfile}", f"--output_dir={config.output_dir}")
    assert again.data_digest == data_digest(dataset, config.data_dir)
    with monkeypatch.context() as patch:
        patch.setattr(images, "load_whole", None)
        assert run(again) == result
    header = (config.run_folder / "per_class_error.csv").read_bytes().splitlines()[0]
    names = [os.fsencode(name) for name in images.load_whole(config).class_names]
    assert header == b",".join([b"epoch", *names])
    page = report.write_report([config.run_folder]).read_text()
    assert "They are not shown" not in page
    assert "that are predicted as" in page or result.top1_error == 0
    model = finished.load_model(config.run_folder)
    assert model.input_shape == (None, *expected.shape)
    (found,) = predict(config.run_folder, [photos / "bee" / "000.png"], 3).predictions
    assert sorted(found.classes) == sorted(expected.names)
    assert sum(found.probabilities) == pytest.approx(1)


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
        with pytest.raises(ValueError, match="the images are not those of that run"):
            RunFolder(changed).finished_result()


def test_a_run_must_not_become_a_class(config, photos):
    inside = dataclasses.replace(config, output_dir=str(photos / "run0"))
    message = "`output_dir` must not lie inside `data_dir`.*Received: output_dir="
    with pytest.raises(ValueError, match=message):
        run(inside)
    assert sorted(os.listdir(photos)) == sorted(COUNTS)


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


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of weights of two networks."""
    folder = tmp_path_factory.mktemp("weights")
    for name, network in (("one", "MobileNetV3Small"), ("other", "MobileNet")):
        made = backbones.build(network, (32, 32, 3)).layers[-1]
        made.save_weights(folder / f"{name}.weights.h5")
    return folder


@pytest.fixture
def of_weights(config, weights, tmp_path):
    path = shutil.copy(weights / "one.weights.h5", tmp_path / "my.weights.h5")
    return dataclasses.replace(
        config, model="MobileNetV3Small", image_size=32, weights=str(path)
    )


def test_other_weights_at_the_same_path_are_noticed(
    of_weights, weights, tmp_path, monkeypatch
):
    def train(config, data, folder):
        kept = {"flags": config.identity(), "setting": config.setting}
        return dataclasses.replace(RESULT, backend="tensorflow", **kept)

    monkeypatch.setattr(run_module, "_train", train)
    monkeypatch.chdir(tmp_path)
    relative = dataclasses.replace(of_weights, weights="my.weights.h5")
    result = run(relative)
    assert len(result.flags["weights_digest"]) == 32 and "weights" not in result.flags
    # The flagfile repeats it from anywhere, and the file may have been moved.
    monkeypatch.chdir("/")
    monkeypatch.setattr(run_module, "_train", None)
    place = f"--output_dir={relative.output_dir}"
    again = parse(f"--flagfile={relative.run_folder / 'flags.txt'}", place)
    assert again.weights == of_weights.weights
    assert run(again) == run(of_weights) == result
    moved = str(shutil.copy(of_weights.weights, tmp_path / "moved.weights.h5"))
    assert run(dataclasses.replace(of_weights, weights=moved)) == result
    shutil.copy(weights / "other.weights.h5", of_weights.weights)
    with pytest.raises(ValueError, match="another run.*the weights are not those"):
        run(of_weights)
    with pytest.raises(ValueError, match="`weights_digest`: the weights are not those"):
        run(again)


def test_a_grid_knows_its_weights(of_weights):
    (found,) = grid._identified([of_weights])
    assert (found.weights_digest, found.data_digest) == (
        inputs.identified(of_weights).weights_digest,
        data_digest("folder", of_weights.data_dir),
    )
    assert len(found.weights_digest) == 32


def test_weights_that_cannot_be_used_are_named(of_weights, weights, monkeypatch):
    def fail(*arguments, **named):
        raise OSError("there is no network")

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", fail)
    wrong = str(weights / "other.weights.h5")
    for given, message in (
        ("imagenet", "MobileNetV3Small on ImageNet cannot be had"),
        ("nowhere.h5", "that is there. Received: weights='nowhere"),
    ):
        with pytest.raises(ValueError, match=message):
            run(dataclasses.replace(of_weights, weights=given))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="`weights` must be of MobileNetV3Small"):
        run(dataclasses.replace(of_weights, weights=wrong))
    assert not RunFolder(of_weights).path.exists()


def test_images_too_small_for_the_network_are_an_error(config, in_npz):
    given = {**in_npz, "dataset": "npz", "image_size": None, "model": "MobileNet"}
    with pytest.raises(ValueError, match="at least 32 x 32 pixels.*Received: 8 x 8"):
        run(dataclasses.replace(config, **given))


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
    large = dataclasses.replace(large, data_dir=str(folder))

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


@pytest.mark.long
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
