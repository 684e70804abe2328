"""Files from strangers are data: bounded, checked, and nothing in them is executed."""

import dataclasses
import json
import os
import re
import shutil

import keras
import made_up
import numpy as np
import pandas as pd
import pytest
from absl import flags
from flag_parsing import parse
from helpers import OLD_RUN

from mm_tf.experiments import report, table
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import progress, sections
from mm_tf.experiments.machine import command
from mm_tf.experiments.runs import finished, summary
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


def test_a_flagfile_without_a_name_is_refused():
    for words in (["--flagfile"], ["--flagfile="]):
        with pytest.raises(ValueError, match="Received: flagfile=''"):
            parse(*words)


FLAGS_OF_A_RUN = [
    (lambda path: None, "No such file"),
    (lambda path: path.mkdir(), "it is not a regular file"),
    (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
    (os.mkfifo, "it is not a regular file"),
    (lambda path: path.write_bytes(b"#" * 2**17), "larger than 65,536 bytes"),
    (lambda path: path.write_bytes(b"\xff\xfe--seed=1"), "it is not text"),
    (lambda path: path.symlink_to(path), "symbolic links"),
]


@pytest.mark.parametrize(("make", "reason"), FLAGS_OF_A_RUN)
def test_flags_of_a_run_that_are_refused(make, reason, tmp_path):
    make(tmp_path / "flags.txt")
    with pytest.raises(ValueError, match=f"flags.txt that can be read .*{reason}"):
        finished.read_config(tmp_path)
    with pytest.raises(ValueError, match=f"`flagfile` cannot be read .*{reason}"):
        parse("--flagfile=flags.txt")


LINES = {
    "--evil=1": "evil",
    "--epochs=os.system('mkdir executed')": "epochs",
    "--epochs=-1": "`epochs` must be",
    "--seed=$(mkdir executed)": "seed",
    "--flagfile=none.flags": "none.flags",
    # It would stand in a command to copy.
    "--dataset=tfds:$(mkdir executed)": "`dataset` must be one of",
    "--dataset=tfds:a');open('executed')": "`dataset` must be one of",
}


@pytest.mark.parametrize("line", LINES)
def test_lines_of_flagfiles_that_are_refused(line, tmp_path):
    (tmp_path / "a.flags").write_text(f"--model=resnet8\n{line}\n")
    with pytest.raises((ValueError, flags.Error, OSError), match=LINES[line]):
        parse("--flagfile=a.flags")


REFUSED = [
    *("--profile_file=executed", "--log_dir=executed", "--undefok=evil", "-v=3"),
    *("--flagfile=/dev/zero", "-flagfile=b", "--setting=quickstart", "--", "photos"),
    *("--ray_address=evil.example:1", "--noonly_check_args", "--weights=gs://evil/x"),
    *("--method", "--noepochs", "--epochs"),  # They would take the next typed word.
]


@pytest.mark.parametrize("line", REFUSED)
def test_flagfiles_set_only_flags_of_mm_tf_and_reach_no_other_machine(line, tmp_path):
    (tmp_path / "flags.txt").write_text(f"--model=resnet8\n{line}\n")
    message = rf"Received: {re.escape(line)}\)\. Received: "
    values = flags.FlagValues()
    table.define_flags(values)
    values.append_flag_values(flags.FLAGS)  # absl's own.
    with pytest.raises(ValueError, match=message):
        command.flagfiles_first(["table", "--flagfile=flags.txt"], values)
    with pytest.raises(ValueError, match=message):
        finished.read_config(tmp_path)


def test_a_bucket_counts_only_where_it_is_typed(strangers_run):
    line = "--data_dir=gs://evil/x"
    with (strangers_run / "flags.txt").open("a") as file:
        file.write(f"--dataset=tfds:made_up\n{line}\n")
    assert finished.read_config(strangers_run).data_dir is None
    assert "give --data_dir" in report.write_report([strangers_run]).read_text()
    flagfile = f"--flagfile={strangers_run / 'flags.txt'}"
    with pytest.raises(ValueError, match=f"must not set `data_dir`.* give {line} the"):
        parse(flagfile)
    mine = "--data_dir=gs://mine/x"
    for words in ([flagfile, mine], [mine, flagfile]):
        assert parse(*words).data_dir == "gs://mine/x"


def changed(**fields):
    """The text of a result with other fields."""
    return json.dumps(dataclasses.asdict(made_up.RESULT) | fields)


WITHOUT_SEED = dataclasses.asdict(made_up.RESULT)
del WITHOUT_SEED["seed"]
RESULTS = [
    ("__import__('os').mkdir('executed')", "JSON"),
    ("[]", "."),
    ('{"method": "er', "EOF"),
    ("[" * 100_000, "."),
    (json.dumps(WITHOUT_SEED), "seed: Field required"),
    (changed(top1_error="low"), "top1_error: Input should be a valid number"),
    (changed(top1_error=float("nan")), "top1_error: Input should be a finite number"),
    (changed(evaluated_on="train"), "evaluated_on: Input should be 'test' or"),
    (changed(class_names=[1, 2, 3]), "class_names.0: Input should be a valid string"),
    (changed(class_counts=[1, 2]), "class_counts is not a list of 3"),
    (changed(class_counts=[5, 2, 0]), "class_counts.2: Input should be greater than 0"),
    (changed(evaluated_counts=[5, 2]), "evaluated_counts is not a list of 3"),
    (changed(evaluated_counts=[5, 2, -1]), "evaluated_counts.2: Input should be"),
    (changed(class_names=["a"]), "class_names: List should have at least 2 items"),
]


@pytest.mark.parametrize(("text", "message"), RESULTS)
def test_results_that_are_refused(text, message, tmp_path):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match=f"holds no result of a run: .*{message}"):
        RunResult.read(tmp_path)


def test_a_result_without_end(tmp_path):
    (tmp_path / "result.json").symlink_to("/dev/zero")
    with pytest.raises(
        ValueError, match="holds no result of a run: it is not a regular file"
    ):
        RunResult.read(tmp_path)


PARTS = {
    "predictions.npz that is a bomb": lambda path: np.savez_compressed(
        path, **dict.fromkeys(("labels", "predictions"), np.zeros(2**22, "uint8"))
    ),
    "predictions.npz that is a pipe": os.mkfifo,
    "predictions.npz": lambda path: np.savez(path, labels=np.array([Executed()])),
    "history.csv": lambda path: path.write_text("epoch,loss\n" + "9" * 200_000 + ",0"),
    "flags.txt": lambda path: path.write_text("--evil=$(mkdir executed)\n"),
}


@pytest.fixture
def strangers_run(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(OLD_RUN, folder)
    return folder


@pytest.mark.parametrize("name", PARTS)
def test_a_report_says_which_file_it_cannot_read(name, strangers_run):
    make, name = PARTS[name], name.split()[0]
    (strangers_run / name).unlink()
    make(strangers_run / name)
    page = report.write_report([strangers_run]).read_text()
    assert f"{name} cannot be read" in page


def test_pipes_are_not_waited_for(strangers_run):
    pipes = [strangers_run / "model.keras", strangers_run / "report" / "index.html"]
    pipes[0].unlink()
    pipes[1].parent.mkdir()
    for pipe in pipes:
        os.mkfifo(pipe)
    with pytest.raises(ValueError, match="model.keras .*it is not a regular file"):
        finished.load_model(strangers_run)
    with pytest.raises(ValueError, match="`output` must be .* holds index.html"):
        report.write_report([strangers_run])


ESCAPE = "\x1b]0;owned\x07"


def test_no_escape_sequence_reaches_the_terminal(strangers_run, capsys):
    result = RunResult.read(strangers_run)
    names = [ESCAPE + name for name in result.class_names]
    result = dataclasses.replace(result, class_names=names)
    summary.print_plan(
        RunConfig(model="MobileNetV2", dataset="cifar10", weights=f"{ESCAPE}.h5")
    )
    summary.print_result(result, f"runs/{ESCAPE}")
    title = f"A table of {ESCAPE}"
    cells = pd.DataFrame({"name": [ESCAPE], "error": ["1\n2"]})
    sections.Section(title, ESCAPE, cells, (ESCAPE,)).print()
    with progress.Progress(1, []) as shown:
        shown.report(f"Failed: {ESCAPE}")
    with pytest.raises(SystemExit):
        command.fail(f"first\n{ESCAPE}")
    printed = capsys.readouterr()
    assert not {"\x1b", "\x07"} & set(printed.out + printed.err)
    assert printed.err == "mm_tf: first\n\ufffd]0;owned\ufffd\n"
    assert printed.out.count("owned") >= len(names) + 6


@pytest.mark.parametrize("dataset", ["tfds:mnist", "cifar10"])
def test_a_report_downloads_nothing(dataset, strangers_run, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    flags_of_run = strangers_run / "flags.txt"
    flags_of_run.write_text(f"{flags_of_run.read_text()}\n--dataset={dataset}\n")
    monkeypatch.setattr(tfds, "builder", lambda *_, **__: os.mkdir("executed"))
    page = report.write_report([strangers_run], data_dir=tmp_path).read_text()
    assert f"{dataset.removeprefix('tfds:')} is not prepared, and only a run" in page


def test_a_page_does_not_show_where_things_lie(strangers_run, tmp_path):
    photos = tmp_path / "of ada" / "my photos"
    np.savez(strangers_run / "predictions.npz", labels=[0], predictions=[0])
    (strangers_run / "flags.txt").write_text(
        f"--dataset=folder\n--data_dir={photos}\n--model=MobileNetV2\n"
        f"--weights={tmp_path / 'ada.weights.h5'}\n"
    )
    for place in (None, tmp_path / "of eve" / "more photos"):
        page = report.write_report([strangers_run], data_dir=place, output="page")
        page = page.read_text()
        assert str(tmp_path) not in page and "of ada" not in page
        shutil.rmtree("page")
        assert "of eve" not in page
        assert "data_dir=&#39;" + ("my" if place is None else "more") in page
    (strangers_run / "predictions.npz").write_bytes(b"no archive")
    page = report.write_report([strangers_run], post_hoc="la").read_text()
    assert str(tmp_path) not in page
    assert "predictions.npz cannot be read: predictions.npz cannot be" in page
    assert ">my photos<" in page and ">ada.weights.h5<" in page


def test_a_model_with_code_in_it_is_refused(strangers_run):
    model = keras.Sequential(
        [keras.Input([2]), keras.layers.Lambda(lambda x: [os.mkdir("executed"), x][1])]
    )
    model.save(strangers_run / "model.keras")
    os.rmdir("executed")  # Building it ran the code here, where it is our own.
    with pytest.raises(ValueError, match="`run` must hold a model.keras .*[Ll]ambda"):
        finished.load_model(strangers_run)
