"""The command that tells classes of images by a run's model."""

import csv
import json
import os
import shutil

import keras
import numpy as np
import pytest
from made_up_images import save, save_classes

from mm_tf import data
from mm_tf.experiments import predict as predict_module
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.predict import list_images, main, predict
from mm_tf.experiments.run import run
from mm_tf.experiments.runs.result import RunResult
from mm_tf.experiments.serving import predict as serving_predict
from mm_tf.experiments.serving.probabilities import output_scale, probabilities


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "own"
    return save_classes(folder, {"ant": 10, "bee": 10, "cow=1+1": 5})


@pytest.fixture(scope="module")
def finished(photos):
    config = RunConfig(
        dataset="folder",
        data_dir=str(photos),
        image_size=(16, 12),
        method="ldam",
        model="resnet8",
        epochs=2,
        learning_rate=0.01,
        output_dir=str(photos.parent / "run"),
    )
    run(config)
    return config.run_folder


def test_predictions_are_those_of_the_run(finished, photos):
    own = data.load("folder", photos, data.ReadOptions(image_size=(16, 12)))
    kept = np.load(finished / "predictions.npz")
    found = predict(finished, own.test_images.paths, top=3).predictions
    names = [own.class_names[j] for j in kept["predictions"]]
    assert [each.classes[0] for each in found] == names
    for each in found:
        assert sum(each.probabilities) == pytest.approx(1)
        assert sorted(each.probabilities, reverse=True) == list(each.probabilities)
    # The scale is the run's own, LDAM's 30, and no other one.
    result = RunResult.read(finished)
    assert output_scale(result) == 30
    model = keras.saving.load_model(finished / "model.keras")
    cosines = model.predict(own.test_images[:1], verbose=0)[0].astype("float64")
    expected = np.exp(30 * cosines) / np.exp(30 * cosines).sum()
    np.testing.assert_allclose(found[0].probabilities, sorted(expected)[::-1], 1e-5)


def test_probabilities_of_logits_that_are_large():
    found = probabilities([[1000.0, 1000.0, -1000.0]])
    np.testing.assert_array_equal(found, [[0.5, 0.5, 0.0]])


def test_the_command_writes_csv_and_lines_of_json(finished, photos, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    given = [str(finished), str(photos / "bee"), str(broken), "--top=2"]
    main([*given, "--format=csv"])
    said = capsys.readouterr()
    rows = list(csv.DictReader(said.out.splitlines()))
    assert [row["path"] for row in rows] == list_images([photos / "bee"])
    assert f"(its content is none of these): {broken}" in said.err
    output = tmp_path / "classes.jsonl"
    main([*given, "--format=json", f"--output={output}"])
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    for row, line in zip(rows, lines, strict=True):
        assert (row["path"], row["class"]) == (line["path"], line["class"])
        assert float(row["probability"]) == pytest.approx(line["probability"], abs=1e-6)
        assert [each["class"] for each in line["top"]] == [row["class"], row["class_2"]]
    capsys.readouterr()
    found = predict(finished, [photos / "bee"]).predictions
    table = predict_module.to_table(found, width=200)
    assert f"{found[0].path}   {found[0].classes[0]}" in table
    main(given)
    assert "Class" in capsys.readouterr().out


def test_a_file_is_replaced_only_if_told(
    finished, photos, tmp_path, capsys, monkeypatch
):
    output = tmp_path / "classes.csv"
    output.write_text("mine")
    given = [str(finished), str(photos / "bee"), "--format=csv", f"--output={output}"]
    with monkeypatch.context() as patch:
        # Refused before anything is predicted.
        patch.setattr(predict_module, "predict", None)
        with pytest.raises(SystemExit) as left:
            main(given)
    assert left.value.code == 2
    assert "`output` must be a new file" in capsys.readouterr().err
    assert output.read_text() == "mine"
    main([*given, "--overwrite"])
    assert len(output.read_text().splitlines()) == 11


def test_names_of_files_that_are_no_text(finished, photos, tmp_path, capsysbinary):
    path = tmp_path / os.fsdecode(b"\xff.png")
    shutil.copy(photos / "bee" / "000.png", path)
    main([str(finished), str(path), "--format=csv"])
    assert b"/\xff.png," in capsysbinary.readouterr().out
    output = tmp_path / "classes.csv"
    main([str(finished), str(path), "--format=csv", f"--output={output}"])
    assert b"/\xff.png," in output.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["nowhere", "."], "`run` must be the folder of a finished run", 2),
        (["stopped", "."], "It has not finished. Received: stopped", 2),
        (["RUN", "nowhere.png"], "`paths` must be existing files and folders", 2),
        (["RUN", "EMPTY"], "`paths` must hold an image", 2),
        (["RUN", "PHOTOS", "--top=4"], "`top` must be an integer >= 1 and <= 3", 2),
        (["RUN", "BROKEN", "--strict"], "With `strict`, every file must be", 2),
        (["RUN", "BROKEN"], "No image can be decoded", 1),
        (["RUN", "PHOTOS", "--output=nowhere/x.csv"], "there is no folder nowhere", 2),
        (["RUN", "PHOTOS", "--output=empty"], "`output` must be a file.", 2),
    ],
)
def test_what_the_command_refuses(
    arguments, message, status, finished, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "flags.txt").write_text("")
    (tmp_path / "broken.png").write_text("no image")
    places = {
        "RUN": finished,
        "PHOTOS": photos,
        "EMPTY": tmp_path / "empty",
        "BROKEN": tmp_path / "broken.png",
    }
    with pytest.raises(SystemExit) as left:
        main([str(places.get(each, each)) for each in arguments])
    assert left.value.code == status
    assert message in capsys.readouterr().err


def test_a_damaged_model_is_told(finished, photos, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    (copy / "model.keras").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"`run` must hold a model.keras that can"):
        predict(copy, [photos])


def test_images_of_a_folder_come_in_the_order_of_their_names(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a.webp", "notes.txt", ".hidden.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = list_images([tmp_path, tmp_path / "a.webp"])
    expected = ["a.webp", "b/1.JPG", "b/2.png"]
    assert found == [str(tmp_path / name) for name in expected]


def test_many_images_are_read_part_by_part(finished, photos, monkeypatch):
    whole = predict(finished, [photos])
    monkeypatch.setattr(serving_predict, "_BATCH", 4)
    parts = predict(finished, [photos])
    assert len(parts.predictions) == 25
    for one, other in zip(whole.predictions, parts.predictions, strict=True):
        assert (one.path, one.classes) == (other.path, other.classes)
        np.testing.assert_allclose(one.probabilities, other.probabilities, 1e-4)


@pytest.mark.long
def test_a_backbone_in_a_run_is_saved_and_loaded(photos, tmp_path):
    config = RunConfig(
        dataset="folder",
        data_dir=str(photos),
        image_size=32,
        method="mm",
        model="MobileNetV3Small",
        epochs=1,
        batch_size=10,
        output_dir=str(tmp_path / "run"),
    )
    result = run(config)
    assert result.flags["model"] == "MobileNetV3Small"
    model = keras.saving.load_model(config.run_folder / "model.keras")
    for size in (1, 3):
        images = save_images(tmp_path, size)
        assert images.dtype == np.uint8
        assert model.predict(images, verbose=0).shape == (size, 3)
    assert len(predict(config.run_folder, [photos / "ant"]).predictions) == 10


def save_images(folder, number):
    paths = [save(folder / f"{i}.png", i, 40, 40) for i in range(number)]
    return data.ImageFiles(paths, 32)[:]
