"""Files from strangers are data: bounded, checked, and nothing in them is executed."""

import dataclasses
import json
import os
import subprocess
import sys

import keras
import made_up
import numpy as np
import pytest

from mm_tf.experiments import report
from mm_tf.experiments.machine import command
from mm_tf.experiments.run import RunConfig
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.result import RunResult


class Executed:
    """What a pickle of a stranger may hold."""

    def __reduce__(self):
        return (os.mkdir, ("executed",))


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "executed").exists()


FLAGFILES = {
    "a folder": (lambda path: path.mkdir(), "it is no file"),
    "a device without end": (
        lambda path: path.symlink_to("/dev/zero"),
        "it is no file",
    ),
    "a pipe that nobody writes to": (os.mkfifo, "it is no file"),
    "larger than any flagfile": (
        lambda path: path.write_bytes(b"#" * 2**17),
        "larger than 65,536 bytes",
    ),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe--seed=1"), "it is no text"),
    "a link to itself": (lambda path: path.symlink_to(path), "symbolic links"),
}


@pytest.mark.parametrize("name", FLAGFILES)
def test_flagfiles_that_are_none(name, tmp_path):
    make, reason = FLAGFILES[name]
    make(tmp_path / "a.flags")
    with pytest.raises(ValueError, match=f"`flagfile` cannot be read .*{reason}"):
        command.flagfiles_first(["run", f"--flagfile={tmp_path}/a.flags"])


LINES = {
    "a flag that there is not": ("--evil=1", "evil"),
    "a value of another kind": ("--epochs=os.system('mkdir executed')", "epochs"),
    "a value out of range": ("--epochs=-1", "`epochs` must be"),
    "shell": ("--seed=$(mkdir executed)", "seed"),
    "a word": ("mkdir executed", "Only flags are expected"),
    "a flagfile that is not there": ("--flagfile=none.flags", "none.flags"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_of_flagfiles(name, tmp_path):
    line, message = LINES[name]
    (tmp_path / "a.flags").write_text(line + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mm_tf.experiments.run", "--flagfile=a.flags"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


RESULTS = {
    "no JSON": ("__import__('os').mkdir('executed')", "JSON"),
    "a list": ("[]", "."),
    "cut": ('{"method": "er', "EOF"),
    "nested deeply": ("[" * 100_000, "."),
    "a field missing": (lambda fields: fields.pop("seed"), "seed: Field required"),
    "a text for a number": (
        lambda fields: fields.update(top1_error="low"),
        "top1_error: Input should be a valid number",
    ),
    "not a number": (
        lambda fields: fields.update(top1_error=float("nan")),
        "top1_error: Input should be a finite number",
    ),
    "names that are none": (
        lambda fields: fields.update(class_names=[1, 2, 3]),
        "class_names.0: Input should be a valid string",
    ),
    "lists of two lengths": (
        lambda fields: fields.update(class_counts=[1, 2]),
        "class_counts is not a list of 3",
    ),
    "a class without images": (
        lambda fields: fields.update(class_counts=[5, 2, 0]),
        "class_counts has one below 1",
    ),
    "test images of other classes": (
        lambda fields: fields.update(evaluated_counts=[5, 2]),
        "evaluated_counts is not a list of 3",
    ),
    "fewer test images than none": (
        lambda fields: fields.update(evaluated_counts=[5, 2, -1]),
        "evaluated_counts has one below 0",
    ),
    "one class": (
        lambda fields: fields.update(class_names=["a"]),
        "class_names has fewer than 2",
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_are_none(name, tmp_path):
    text, message = RESULTS[name]
    if callable(text):
        fields = dataclasses.asdict(made_up.RESULT)
        text(fields)
        text = json.dumps(fields)
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match=f"holds no result of a run: .*{message}"):
        RunResult.read(tmp_path)


def test_a_result_without_end(tmp_path):
    (tmp_path / "result.json").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="holds no result of a run: it is no file"):
        RunResult.read(tmp_path)


def a_run(folder):
    """A run's folder with a result, and nothing else."""
    run = RunConfig(dataset="digits", imbalance_ratio=10.0, output_dir=str(folder))
    names, size = [str(digit) for digit in range(10)], 10
    result = dataclasses.replace(
        made_up.RESULT,
        class_names=names,
        class_counts=[100] * size,
        per_class_error=[10.0] * size,
        evaluated_counts=[50] * size,
    )
    with RunFolder(run).locked():
        RunFolder(run).prepare()
        RunFolder(run).finish(result)
    return folder


PARTS = {
    "predictions.npz": lambda path: np.savez(path, labels=np.array([Executed()])),
    "history.csv": lambda path: path.write_text("epoch,loss\n0," + "9" * 200_000),
    "flags.txt": lambda path: path.write_text("--evil=$(mkdir executed)\n"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_report_says_which_file_it_cannot_read(name, tmp_path):
    run = a_run(tmp_path / "run")
    PARTS[name](run / name)
    page = report.write_report([run]).read_text()
    assert f"{name} cannot be read" in page


def test_names_of_a_stranger_are_text_on_the_page(tmp_path):
    run = a_run(tmp_path / "run")
    fields = json.loads((run / "result.json").read_text())
    fields["class_names"][0] = fields["device"] = "<script>alert(1)</script>"
    (run / "result.json").write_text(json.dumps(fields))
    page = report.write_report([run]).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert" in page


def test_a_model_with_code_in_it_is_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input([2]), keras.layers.Lambda(lambda x: [os.mkdir("executed"), x][1])]
    )
    model.save(tmp_path / "model.keras")
    os.rmdir("executed")  # Building it ran the code here, where it is our own.
    with pytest.raises(ValueError, match="[Ll]ambda"):
        keras.saving.load_model(tmp_path / "model.keras")
