"""Runs on a user's images and weights, from the command's flags and from Python."""

import dataclasses
import os
import shutil

import keras
import numpy as np
import pytest
from flag_parsing import parse
from made_up import RESULT
from made_up_images import save_classes

from mm_tf import backbones, checkpoints
from mm_tf.data import ImageFiles
from mm_tf.data.loading import data_digest
from mm_tf.experiments import report
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import grid
from mm_tf.experiments.predict import predict
from mm_tf.experiments.run import run
from mm_tf.experiments.runs import data as run_data
from mm_tf.experiments.runs import finished, summary
from mm_tf.experiments.runs import run as run_module
from mm_tf.experiments.runs.data import read, with_digests
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
def copied(config, tmp_path):
    """The config of the same photos in another place, where they may be changed."""
    folder = tmp_path / "My photos!"
    shutil.copytree(config.data_dir, folder)
    return dataclasses.replace(config, data_dir=str(folder))


@pytest.fixture
def in_folder(copied):
    """A class's name that is not Unicode."""
    folder = RunFolder(copied).path.with_name("My photos!")
    (folder / "cow").rename(folder / os.fsdecode(b"\xff"))
    return copied, "ant/broken.jpg (unknown image format)"


@pytest.fixture
def in_npz(config, tmp_path):
    """Grey images of 8 x 8 pixels, names like markup, a long tail, a hold-out."""
    labels = np.repeat(["[old]", "[/x]", "[b]c"], [30, 25, 20])
    noise = np.random.default_rng(0).integers(0, 256, (75, 8, 8), dtype=np.uint8)
    path = tmp_path / "grey.npz"
    np.savez(path, images=noise, labels=labels)
    given = dict(imbalance="long_tailed", imbalance_ratio=4.0, holdout=0.25)
    given |= dict(dataset="npz", data_dir=str(path), image_size=None)
    printed = "a hold-out of 7 more training images, 4 to 1 a class"
    return dataclasses.replace(config, **given), printed


EXPECTED = {
    "in_folder": (
        "folder-My-photos_as_is",
        {"ant": 12, "bee": 8, r"\udcff": 4},
        (16, 16, 3),
    ),
    "in_npz": ("npz-grey_lt4", {"[/x]": 12, "[b]c": 6, "[old]": 3}, (8, 8, 1)),
}


@pytest.mark.filterwarnings("error::mm_tf.data.DataWarning")
@pytest.mark.parametrize("source", EXPECTED)
def test_from_a_source_to_what_is_done_with_a_run(
    source, request, photos, capsys, monkeypatch, coarse_pictures
):
    (config, printed), (setting, counts, shape) = (
        request.getfixturevalue(source),
        EXPECTED[source],
    )
    result = run(config)
    summary.print_result(result, config.run_folder)
    said = " ".join(capsys.readouterr().out.split())
    assert printed in said
    assert "published" not in said and "paper" not in said
    assert result.setting == setting
    assert dict(zip(result.class_names, result.class_counts, strict=True)) == counts
    assert result.imbalance == config.imbalance
    assert result.imbalance_ratio == max(counts.values()) / min(counts.values())
    assert RunResult.read(config.run_folder) == result
    # The flagfile repeats it from anywhere, and nothing is trained again.
    flagfile = config.run_folder / "flags.txt"
    monkeypatch.chdir("/")
    again = parse(f"--flagfile={flagfile}", f"--output_dir={config.output_dir}")
    assert again.data_digest == data_digest(config.dataset, config.data_dir)
    with monkeypatch.context() as patch:
        patch.setattr(run_data, "load", None)
        assert run(again) == result
    header = (config.run_folder / "per_class_error.csv").read_bytes().splitlines()[0]
    names = [os.fsencode(name) for name in read(config)[1].class_names]
    assert header == b",".join([b"epoch", *names])
    page = report.write_report([config.run_folder]).read_text()
    assert "They are not shown" not in page
    model = finished.load_model(config.run_folder)
    assert model.input_shape == (None, *shape)
    (found,) = predict(config.run_folder, [photos / "bee" / "000.png"], 3).predictions
    assert sorted(found.classes) == sorted(counts)
    assert sum(found.probabilities) == pytest.approx(1)


def test_classes_of_a_finished_run_keep_their_order(config, tmp_path):
    folder = save_classes(tmp_path / "numbers", {"2": 10, "10": 5})
    config = dataclasses.replace(config, data_dir=str(folder))
    assert read(config)[1].class_names == ("2", "10")
    again = run_data.read_again(config, ("10", "2"))
    assert again.class_names == ("10", "2")
    assert again.class_counts.tolist() == [4, 8]


def test_photos_that_changed_are_noticed(config, copied):
    before = with_digests(config)
    moved = dataclasses.replace(before, data_dir=copied.data_dir)
    # Where they lie does not matter.
    assert with_digests(moved) == moved
    path = RunFolder(config).path.with_name("My photos!") / "bee" / "003.png"
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="`data_digest`: the images are not those"):
        with_digests(moved)
    path.unlink()
    changed = with_digests(dataclasses.replace(moved, data_digest=None))
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


def test_digest_covers_classes_and_archives(photos, copied, tmp_path):
    other = tmp_path / "My photos!"
    assert data_digest("folder", other) == data_digest("folder", photos)
    (other / "bee").rename(other / "boa")
    assert data_digest("folder", other) != data_digest("folder", photos)
    digests = set()
    for value in (0, 1):
        noise = np.full((4, 8, 8), value, np.uint8)
        np.savez(tmp_path / "all.npz", images=noise, labels=["a", "b"] * 2)
        digests.add(data_digest("npz", tmp_path / "all.npz"))
    assert [len(digest) for digest in digests] == [16, 16]
    assert data_digest("tfds:mnist", None) is None


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({}, [12, 8, 4]),
        (dict(holdout=0.25), [9, 6, 3]),
        (dict(imbalance="none"), [4, 4, 4]),
        (dict(imbalance="long_tailed", imbalance_ratio=4), [4, 2, 1]),
        (dict(imbalance="step", imbalance_ratio=2), [4, 2, 2]),
    ],
)
def test_class_counts_come_with_the_images(given, counts, config):
    config = dataclasses.replace(config, **given)
    assert not config.has_class_counts
    with pytest.raises(ValueError, match="are known after reading the data"):
        config.class_counts  # noqa: B018
    known, data = read(config)
    assert known.class_counts.tolist() == data.class_counts.tolist() == counts
    assert isinstance(data.test_images, ImageFiles)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(imbalance="long_tailed"), "at most 4 for the smallest class"),
        (
            dict(imbalance="long_tailed", imbalance_ratio=4, holdout=0.2),
            "`holdout` needs at least two images",
        ),
        (
            dict(image_size="8x10", method="ldam_drw_ssp"),
            "square.*Received: images of 8 x 10 pixels",
        ),
        (dict(image_size=8, model="MobileNet"), "at least 32 x 32 pix.*Rec.*: 8 x 8"),
    ],
)
def test_what_the_images_do_not_allow(given, message, config):
    with pytest.raises(ValueError, match=message):
        run(dataclasses.replace(config, **given))
    assert not RunFolder(config).path.exists()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of weights of two networks."""
    folder = tmp_path_factory.mktemp("weights")
    for name, network in (("one", "MobileNetV3Small"), ("other", "MobileNet")):
        made = backbones.build(network, (32, 32, 3)).layers[-1]
        made.save_weights(folder / f"{name}.weights.h5")
    return folder


@pytest.fixture
def with_weights(config, weights, tmp_path):
    path = shutil.copy(weights / "one.weights.h5", tmp_path / "my.weights.h5")
    return dataclasses.replace(
        config, model="MobileNetV3Small", image_size=32, weights=str(path)
    )


def test_other_weights_at_the_same_path_are_noticed(
    with_weights, weights, tmp_path, monkeypatch
):
    def train(config, data, folder):
        known = {"flags": config.identity(), "setting": config.setting}
        return dataclasses.replace(RESULT, backend="tensorflow", **known)

    monkeypatch.setattr(run_module, "_train", train)
    monkeypatch.chdir(tmp_path)
    relative = dataclasses.replace(with_weights, weights="my.weights.h5")
    result = run(relative)
    assert len(result.flags["weights_digest"]) == 32 and "weights" not in result.flags
    # The flagfile repeats it from anywhere, and the file may have been moved.
    monkeypatch.chdir("/")
    monkeypatch.setattr(run_module, "_train", None)
    place = f"--output_dir={relative.output_dir}"
    again = parse(f"--flagfile={relative.run_folder / 'flags.txt'}", place)
    assert again.weights == with_weights.weights
    assert run(again) == run(with_weights) == result
    moved = str(shutil.copy(with_weights.weights, tmp_path / "moved.weights.h5"))
    assert run(dataclasses.replace(with_weights, weights=moved)) == result
    shutil.copy(weights / "other.weights.h5", with_weights.weights)
    with pytest.raises(ValueError, match="another run.*the weights are not those"):
        run(with_weights)
    with pytest.raises(ValueError, match="`weights_digest`: the weights are not those"):
        run(again)


def test_a_grid_knows_its_weights(with_weights):
    (found,) = grid._with_digests([with_weights])
    assert found == with_digests(with_weights)
    assert len(found.weights_digest) == 32 and len(found.data_digest) == 16


def test_weights_that_cannot_be_used_are_named(with_weights, weights, monkeypatch):
    def fail(*arguments, **named):
        raise OSError("there is no network")

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", fail)
    wrong = str(weights / "other.weights.h5")
    for given, message in (
        ("imagenet", "MobileNetV3Small on ImageNet cannot be downloaded"),
        ("nowhere.h5", "that is there. Received: weights='nowhere"),
    ):
        with pytest.raises(ValueError, match=message):
            run(dataclasses.replace(with_weights, weights=given))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="`weights` must be of MobileNetV3Small"):
        run(dataclasses.replace(with_weights, weights=wrong))
    assert not RunFolder(with_weights).path.exists()


def test_a_run_never_holds_all_images(copied, monkeypatch, tmp_path):
    # Nor does its pre-training: each image is decoded for each batch anew.
    (tmp_path / "My photos!" / "ant" / "broken.jpg").unlink()
    large = dict(memory_limit=0, method="ldam_drw_ssp", verify=False)

    def whole(*_, **__):
        raise AssertionError("All images were asked for at once.")

    monkeypatch.setattr(ImageFiles, "__array__", whole)
    fit, seen = checkpoints.fit, []
    monkeypatch.setattr(
        checkpoints,
        "fit",
        lambda *given, **more: (seen.append(given[1]), fit(*given, **more)),
    )
    assert run(dataclasses.replace(copied, **large)).class_counts == [12, 8, 4]
    assert [type(each) for each in seen] == [ImageFiles, ImageFiles]
