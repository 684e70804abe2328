"""A folder of photographs from the first look to the served answer, small."""

import contextlib
import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from helpers import ROOT, module_at, python, refused

from mm_tf import data
from mm_tf.data.inspect import scan, show
from mm_tf.experiments import export, predict
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.run import run

# The page's own programs, which know nothing of mm_tf.
SERVE, PIXELS, SERVE_ONNX, SERVE_TFLITE = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "photos.md").read_text("utf-8"), re.S
)
CLASSES = ("3", "1", "4", "0", "5", "9")
COUNTS = (12, 9, 6, 4, 3, 2)


@pytest.fixture(scope="module")
def example():
    return module_at(ROOT / "examples" / "make_photos.py")


@pytest.fixture(scope="module")
def made(example, tmp_path_factory):
    """A folder of enlarged digits, and what is wrong in it."""
    folder = tmp_path_factory.mktemp("made") / "photos"
    planted = example.make_photos(
        folder, data.load("digits"), CLASSES, COUNTS, test_images=3, seed=0
    )
    return folder, {file.as_posix(): what for file, what in planted}


def of_kind(planted, kind):
    return {file for file, what in planted.items() if what.startswith(kind)}


def test_the_folder_is_long_tailed_and_of_uneven_sizes(made):
    photos, planted = made
    counts = {
        name: len(list((photos / "train" / name).iterdir()))
        - sum(file.startswith(f"train/{name}/") for file in planted)
        for name in CLASSES
    }
    assert counts == dict(zip(CLASSES, COUNTS, strict=True))
    assert not [path for path in photos.parent.iterdir() if path != photos]
    found = scan.inspect_data("folder", photos)
    assert len(np.unique(found.sizes, axis=0)) > 20
    assert found.sizes.min() >= 40
    assert {path.stem for path in (photos / "new").iterdir()} == set(CLASSES)
    assert "Not used: new/." in found.notes


def test_the_same_arguments_make_the_same_photos(example, made, tmp_path):
    photos, _ = made
    example.make_photos(
        tmp_path / "again", data.load("digits"), CLASSES, COUNTS, 3, seed=0
    )
    files = [path.relative_to(photos) for path in photos.rglob("*.*")]
    # 3 test images and a new one of each class, and 6 that are wrong.
    assert len(files) == sum(COUNTS) + 4 * len(CLASSES) + 6
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (photos / file).read_bytes()


def test_a_look_finds_all_that_is_wrong(made, tmp_path, capsys):
    photos, planted = made
    show.main([f"--data_dir={photos}", f"--output={tmp_path}"])
    said = capsys.readouterr().out
    assert "unreadable: 3" in said
    rows = list(csv.DictReader((tmp_path / "problems.csv").read_text().splitlines()))
    found = {kind: set() for kind in ("unreadable", "duplicate", "leakage")}
    for row in rows:
        found[row["kind"]].add(row["file"])
    # Of files that are equal the later one by name is the duplicate.
    assert found == {
        "unreadable": of_kind(planted, "corrupt"),
        "duplicate": of_kind(planted, "duplicate"),
        "leakage": of_kind(planted, "leak"),
    }


@pytest.fixture(scope="module")
def served(made, tmp_path_factory):
    """A folder with the photos and a finished run, its result, and what was printed."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(made[0], folder / "photos")
    config = RunConfig(
        dataset="folder",
        data_dir=str(folder / "photos"),
        model="resnet8",
        epochs=1,
        batch_size=16,
        holdout=0.2,
        output_dir=str(folder / "served"),
    )
    with contextlib.redirect_stdout(io.StringIO()) as said:
        result = run(config)
    return folder, result, said.getvalue()


def test_from_training_to_predictions(made, served, capsys):
    planted = made[1]
    folder, result, said = served
    photos, corrupt = folder / "photos", of_kind(planted, "corrupt")
    assert all(file in said for file in corrupt)
    # With the duplicates, which are told and not taken away.
    held_out = np.load(folder / "served" / "predictions.npz")["labels"]
    counts = result.class_counts + np.bincount(held_out, minlength=len(CLASSES))
    assert dict(zip(result.class_names, counts.tolist(), strict=True)) == {
        name: count + (name in ("3", "9"))
        for name, count in zip(CLASSES, COUNTS, strict=True)
    }
    folders = [str(photos / "test"), *(str(photos / file) for file in sorted(corrupt))]
    predict.main([str(folder / "served"), *folders, "--format=json", "--top=6"])
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert len(lines) == 3 * len(CLASSES) + 1
    for line in lines:
        assert {each["class"] for each in line["top"]} == set(CLASSES)
        assert sum(each["probability"] for each in line["top"]) == pytest.approx(1)
    errors = [line for line in said.err.splitlines() if "cannot be decoded" in line]
    assert {error.split("): ")[-1] for error in errors} == {
        str(photos / file) for file in corrupt
    }


def printed(program, folder):
    done = python("-c", program, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def answers(served):
    """What the page's program prints, of the SavedModel: files, classes, how likely."""
    folder, *_ = served
    export.main([str(folder / "served"), "--format=saved_model"])
    *lines, last = printed(SERVE, folder)
    assert last == ["False"]
    return lines


@pytest.mark.long
def test_from_training_to_a_served_answer(served, answers, capsys):
    assert [file for file, *_ in answers] == [
        f"photos/new/{name}.jpg" for name in sorted(CLASSES)
    ]
    folder, *_ = served
    predict.main([str(folder / "served"), str(folder / "photos/new"), "--format=json"])
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    assert [name for _, name, _ in answers] == [line["class"] for line in lines]


@pytest.mark.long
@pytest.mark.parametrize(
    ("format", "program"), [("onnx", SERVE_ONNX), ("tflite", SERVE_TFLITE)]
)
def test_every_runtime_gives_the_same_answer(served, answers, format, program):
    pytest.importorskip({"onnx": "onnxruntime", "tflite": "ai_edge_litert"}[format])
    folder, *_ = served
    export.main([str(folder / "served"), f"--format={format}"])
    printed(PIXELS, folder)
    found = printed(program, folder)
    assert [name for name, _ in found] == [name for _, name, _ in answers]
    np.testing.assert_allclose(
        [float(probability) for *_, probability in found],
        [float(probability) for *_, probability in answers],
        atol=0.02,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output"),
        (["--output=none/photos"], "Received: none/photos"),
        (["--output=there"], "--output must be a new folder"),
        (["--output=photos", "--classes=rose"], "--classes must be two names"),
        (["--output=photos", "--images_of_largest=501"], "--images_of_largest must be"),
        (["--output=photos", "--ratio=300"], "Received: 300"),
        (["--output=photos", "--seed=-1"], "--seed must be >= 0"),
    ],
)
def test_wrong_calls(example, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert message in refused(example.main, arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.long
def test_real_photographs(example, cifar_dir, tmp_path, capsys):
    example.main(
        [
            f"--output={tmp_path / 'photos'}",
            "--classes=wolf,rose",
            "--images_of_largest=20",
            "--ratio=10",
        ]
    )
    said = capsys.readouterr().out
    assert "wolf               20\n  rose                2\n" in said
    assert "test/wolf/again.jpg: leak" in said
    found = scan.inspect_data("folder", tmp_path / "photos")
    assert found.train_counts.tolist() == [3, 21]
    wrong = [f"--output={tmp_path / 'more'}", "--classes=wolf,unicorn"]
    assert "Received: unicorn" in refused(example.main, wrong)
