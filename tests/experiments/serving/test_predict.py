"""The command that predicts classes of images with a run's model."""

import csv
import json
import os
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from helpers import OLD_RUN as RUN
from helpers import environment, python, refused
from PIL import Image

from mm_tf import data
from mm_tf.experiments import predict as predict_module
from mm_tf.experiments.predict import list_images, main, predict
from mm_tf.experiments.runs import finished
from mm_tf.experiments.serving import predict as serving


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The first test images of the run, a file each."""
    folder = tmp_path_factory.mktemp("photos")
    for number, pixels in enumerate(data.load("digits").test_images[:25]):
        Image.fromarray(pixels.squeeze()).save(folder / f"{number:02} =1+1.png")
    return folder


def test_predictions_are_those_of_the_run(photos):
    saved = np.load(RUN / "predictions.npz")["predictions"][:25]
    found = predict(RUN, [photos], top=10).predictions
    assert [each.classes[0] for each in found] == [str(label) for label in saved]
    for each in found:
        assert sum(each.probabilities) == pytest.approx(1)
        assert sorted(each.probabilities, reverse=True) == list(each.probabilities)
    # The scale is the run's own, 10.
    model = keras.saving.load_model(RUN / "model.keras")
    pixels = data.load("digits").test_images[:1]
    cosines = model.predict(pixels, verbose=0)[0].astype("float64")
    expected = np.exp(10 * cosines) / np.exp(10 * cosines).sum()
    np.testing.assert_allclose(found[0].probabilities, sorted(expected)[::-1], 1e-5)


def with_outputs(folder):
    """A copy of the run that saved its outputs."""
    shutil.copytree(RUN, folder)
    arrays = dict(np.load(RUN / "predictions.npz"))
    model = finished.load_model(RUN)
    outputs = model.predict(data.load("digits").test_images, verbose=0)
    np.savez(folder / "predictions.npz", **arrays, outputs=outputs.astype("float16"))
    return folder


def test_another_prior_and_post_hoc_logit_adjustment(photos, tmp_path, capsys):
    run, result = with_outputs(tmp_path / "run"), finished.read_result(RUN)
    plain = predict(RUN, [photos], top=10).predictions

    def odds(predictions):
        """Log of p of each class over p of the first, image by image."""
        rows = [dict(zip(x.classes, x.probabilities, strict=True)) for x in predictions]
        logs = np.log([[row[name] for name in result.class_names] for row in rows])
        return logs - logs[:, :1]

    adjusted = predict(run, [photos], top=10, post_hoc="la", post_hoc_tau=2)
    counts = np.array(result.class_counts)
    expected = odds(plain) - 2 * np.log(counts / counts[0])
    np.testing.assert_allclose(odds(adjusted.predictions), expected, rtol=1e-6)
    assert adjusted.post_hoc.tau == 2
    uniform = pd.Series(np.ones(10))
    found = predict(run, [photos], top=10, prior=uniform).predictions
    config = finished.read_config(run)
    before = counts * config.class_weights_for(counts)
    expected = odds(plain) - np.log(before / before[0])
    np.testing.assert_allclose(odds(found), expected, rtol=1e-6)
    given = [str(run), str(photos), "--format=csv"]
    main([*given, "--post_hoc=la"])
    printed = capsys.readouterr()
    assert "logit adjustment, tau 1: error on the test images" in printed.err
    assert printed.out.count("\n") == 26
    both = refused(main, [*given, "--post_hoc=la", "--prior=uniform"])
    assert "`prior` and `post_hoc` must not be given together" in both
    assert "`post_hoc_tau` needs" in refused(main, [*given, "--post_hoc_tau=1"])
    without = [str(RUN), str(photos), "--post_hoc=la"]
    assert "the run saved no outputs" in refused(main, without)


def test_csv_lines_of_json_and_tables(photos, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    given = [str(RUN), str(photos), str(broken), "--top=2"]
    main([*given, "--format=csv"])
    printed = capsys.readouterr()
    rows = list(csv.DictReader(printed.out.splitlines()))
    assert [row["path"] for row in rows] == list_images([photos])
    assert f"(unknown image format): {broken}" in printed.err
    output = tmp_path / "classes.jsonl"
    main([*given, "--format=json", f"--output={output}"])
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    for row, line in zip(rows, lines, strict=True):
        assert (row["path"], row["class"]) == (line["path"], line["class"])
        assert float(row["probability"]) == pytest.approx(line["probability"], abs=1e-6)
        assert [each["class"] for each in line["top"]] == [row["class"], row["class_2"]]
    found = predict(RUN, [photos], top=2).predictions
    table = predict_module.to_table(found, width=200)
    assert f"{found[0].path}   {found[0].classes[0]}" in table
    capsys.readouterr()
    main(given)
    assert "Class" in capsys.readouterr().out


def test_a_file_is_replaced_only_if_asked(photos, tmp_path, monkeypatch):
    output = tmp_path / "classes.csv"
    output.write_text("mine")
    given = [str(RUN), str(photos), "--format=csv", f"--output={output}"]
    with monkeypatch.context() as patch:
        # Refused before anything is predicted.
        patch.setattr(predict_module, "predict", None)
        assert "`output` must be a new file" in refused(main, given)
    assert output.read_text() == "mine"
    main([*given, "--overwrite"])
    assert len(output.read_text().splitlines()) == 26


def test_names_of_files_that_are_no_text(photos, tmp_path, capsysbinary):
    path = tmp_path / os.fsdecode(b"\xff.png")
    shutil.copy(list_images([photos])[0], path)
    main([str(RUN), str(path), "--format=csv"])
    assert b"/\xff.png," in capsysbinary.readouterr().out
    output = tmp_path / "classes.csv"
    main([str(RUN), str(path), "--format=csv", f"--output={output}"])
    assert b"/\xff.png," in output.read_bytes()


def test_where_the_locale_is_not_utf_8(photos, tmp_path):
    path = tmp_path / "fl\xfcgel.png"
    shutil.copy(list_images([photos])[0], path)
    script = (
        "import sys; from mm_tf.experiments.predict import main\n"
        "for form in ('csv', 'json', 'table'): main([*sys.argv[1:], '--format', form])"
    )
    ascii = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    run = tmp_path / "run"
    shutil.copytree(RUN, run)
    text = (run / "result.json").read_text()
    text = json.dumps(json.loads(text) | {"class_names": list("\xe4bcdefghij")})
    (run / "result.json").write_text(text)
    env = environment(**ascii)
    words = "-c", script, run, path.name
    done = python(*words, env=env, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _, row, line, *table = done.stdout.splitlines()
    assert "fl\xfcgel.png,\xe4," in row and json.loads(line)["class"] == "\xe4"
    assert "gel.png" in table[-2] and "\xe4" in table[-2]


WRONG_WORDS = {
    "--formt=csv": "those that --help lists. Did you mean --format? Received: --formt=",
    "--format=cvs": "table, csv, json. Did you mean csv? Received: format='cvs'",
    "--top=many": "`top` must be an integer. Received: top='many'",
    "--output": "argument --output: expected one argument",
}


@pytest.mark.parametrize("word", WRONG_WORDS)
def test_wrong_words_in_our_words_with_a_suggestion(word):
    printed = refused(main, ["run", "photo.png", word])
    assert printed.startswith("mm_tf: ") and printed.count("\n") == 1
    assert WRONG_WORDS[word] in printed


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["nowhere", "."], "`run` must be the folder of a finished run", 2),
        (["stopped", "."], "It has not finished.", 2),
        ([".", "PHOTOS"], "Runs below it: damaged. Received: .", 2),
        (["damaged", "PHOTOS"], "`run` must hold a model.keras that can be read", 2),
        (["RUN", "nowhere.png"], "`paths` must be existing files and folders", 2),
        (["RUN", "empty"], "`paths` must hold an image", 2),
        (["RUN", "PHOTOS", "--top=11"], "`top` must be an integer >= 1 and <= 10", 2),
        (["RUN", "broken.png", "--strict"], "With `strict`, every file must be", 2),
        (["RUN", "broken.png"], "No image can be decoded", 1),
        (
            ["RUN", "PHOTOS", "--output=nowhere/x.csv"],
            "folder that exists (nowhere)",
            2,
        ),
        (["RUN", "PHOTOS", "--output=empty"], "`output` must be a file in a folder", 2),
    ],
)
def test_what_the_command_refuses(
    arguments, message, status, photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "stopped", "damaged"):
        (tmp_path / name).mkdir()
    (tmp_path / "stopped" / "flags.txt").touch()
    shutil.copy(RUN / "result.json", tmp_path / "damaged")
    (tmp_path / "damaged" / "model.keras").write_bytes(b"damaged")
    (tmp_path / "broken.png").write_text("no image")
    places = {"RUN": RUN, "PHOTOS": photos}
    given = [str(places.get(each, each)) for each in arguments]
    assert message in refused(main, given, status=status)


def test_images_of_a_folder_come_in_the_order_of_their_names(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a.webp", "notes.txt", ".hidden.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = list_images([tmp_path, tmp_path / "a.webp"])
    expected = ["a.webp", "b/1.JPG", "b/2.png"]
    assert found == [str(tmp_path / name) for name in expected]


def test_what_is_linked_or_skipped_is_found_as_in_training(photos, tmp_path, capsys):
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "more").symlink_to(photos)
    (tmp_path / "album" / "scan.tif").touch()
    main([str(RUN), str(tmp_path / "album"), "--format=csv"])
    out, err = capsys.readouterr()
    assert out.count("/album/more/") == 25
    assert "Skipped for their suffixes: .tif 1." in err
    assert f"out of the folder are followed: {tmp_path}/album/more." in err
    (tmp_path / "album" / "more").unlink()
    said = refused(main, [str(RUN), str(tmp_path / "album")])
    assert ".png, .webp" in said and "suffixes: .tif 1." in said


def test_many_images_are_read_part_by_part(photos, monkeypatch):
    whole = predict(RUN, [photos])
    monkeypatch.setattr(serving, "_BATCH", 4)
    parts = predict(RUN, [photos])
    assert len(parts.predictions) == 25
    for one, other in zip(whole.predictions, parts.predictions, strict=True):
        assert (one.path, one.classes) == (other.path, other.classes)
        np.testing.assert_allclose(one.probabilities, other.probabilities, 1e-4)
