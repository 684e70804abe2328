"""Wrong calls of the command: one clear message, no traceback."""

import os
import platform
import re
import subprocess
import sys

import pytest
from absl import flags
from flag_parsing import parse
from helpers import ROOT, python

from mm_tf.experiments.machine import command

FLAGFILE = ROOT / "experiments" / "cifar10_lt100.flags"
TINY = ("--model=resnet8", "--imbalance_ratio=20", "--epochs=1")


def call(*arguments, cwd=None):
    return python("-m", "mm_tf.experiments.run", *arguments, cwd=cwd)


WRONG = {
    "unknown method": (["--method=sgd"], "should be one of"),
    "unknown data set": (["--dataset=foldr"], "Did you mean folder?"),
    "unknown imbalance": (["--imbalance=longtail"], "should be one of"),
    "misspelt flag": (["--metod=mm"], "method ?"),
    "ratio 0": (["--imbalance_ratio=0"], "`imbalance_ratio` must be"),
    "ratio below 1": (["--imbalance_ratio=0.5"], "`imbalance_ratio` must be"),
    "ratio that is no number": (["--imbalance_ratio=nan"], "`imbalance_ratio` must be"),
    "ratio that empties a class": (["--imbalance_ratio=500"], "`imbalance_ratio` must"),
    "beta below 0": (["--beta=-1"], "`beta` must be"),
    "delta below 0": (["--delta=-0.1"], "`delta` must be"),
    "scale 0": (["--scale=0"], "`scale` must be"),
    "beta that is a word": (["--beta=large"], "--beta=large"),
    "no epochs": (["--epochs=0"], "`epochs` must be"),
    "half an epoch": (["--epochs=1.5"], "--epochs=1.5"),
    "negative seed": (["--seed=-3"], "`seed` must be"),
    "empty batches": (["--batch_size=0"], "`batch_size` must be"),
    "learning rate 0": (["--learning_rate=0"], "`learning_rate` must be"),
    "second drop first": (["--second_drop_epoch=9"], "`second_drop_epoch` must not"),
    "unknown network": (["--model=resnet33"], "Did you mean resnet3"),
    "unknown backend": (["--backend=mxnet"], "should be one of"),
    "empty flagfile": (["--flagfile="], "`flagfile` cannot be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_flags(name):
    arguments, message = WRONG[name]
    with pytest.raises((flags.Error, ValueError), match=re.escape(message)):
        parse(*command.flagfiles_first(["run", *arguments])[1:])


WRONG_CALLS = {
    "missing flagfile": (["--flagfile=experiments/none.flags"], "none.flags"),
    "output folder of a long name": (["--output_dir=" + 300 * "x"], "`output_dir`"),
    "output folder /": (["--output_dir=/"], "`output_dir` must be"),
    "a word that is no flag": (["mm_drw"], "Only flags are expected"),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_wrong_calls(name, tmp_path):
    arguments, message = WRONG_CALLS[name]
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())


def test_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = call(f"--output_dir={tmp_path}/file/run")
    assert done.returncode == 2
    assert "`output_dir` cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["run", "file"])
def test_output_folder_in_other_use(tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    done = call(f"--output_dir={tmp_path / name}")
    assert done.returncode == 2
    assert "`output_dir`" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"


def test_a_flag_behind_the_flagfile_beats_it():
    config = parse(f"--flagfile={FLAGFILE}", "--beta=2.5")
    assert (config.dataset, config.beta, config.delta) == ("cifar10", 2.5, 0.6)


@pytest.mark.parametrize("form", [["--flagfile={}"], ["--flagfile", "{}"]])
def test_a_flag_before_the_flagfile_beats_it_too(form):
    flagfile = [part.format(FLAGFILE) for part in form]
    arguments = command.flagfiles_first(["run", "--epochs=10", *flagfile, "--beta=2"])
    config = parse(*arguments[1:])
    assert (config.dataset, config.epochs, config.beta) == ("cifar10", 10, 2.0)


def test_flagfiles_that_cannot_be_read(tmp_path):
    binary = tmp_path / "model.keras"
    binary.write_bytes(b"PK\xff\xfe\x00")
    for path in ("", str(tmp_path / "none.flags"), str(tmp_path), str(binary)):
        with pytest.raises(ValueError, match="`flagfile` cannot be read.*Received"):
            command.flagfiles_first(["run", f"--flagfile={path}"])
    with pytest.raises(ValueError, match="Received: flagfile=''"):
        command.flagfiles_first(["run", "--flagfile"])


def test_missing_data_folder(tmp_path):
    done = call("--dataset=cifar10", f"--data_dir={tmp_path}/none", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path}/none" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "saved_models").exists() or not list(
        (tmp_path / "saved_models").rglob("*.txt")
    )


def test_help_names_every_flag():
    done = call("--help")
    for flag in ("--imbalance_ratio", "--method", "--beta", "--output_dir"):
        assert flag in done.stdout


def test_a_run_from_the_command(tmp_path):
    arguments = ("--method=mm_drw", *TINY, f"--output_dir={tmp_path}/run")
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "top-1, last epoch (0)" in done.stdout
    assert "published" not in done.stdout and "paper" not in done.stdout
    # Again: the result is printed, nothing is trained.
    again = call(*arguments)
    assert again.returncode == 0
    assert "top-1, last epoch (0)" in again.stdout
    assert "Epoch 1/1" not in again.stdout
    # Another run into the same folder is refused with the difference.
    other = call(*arguments, "--beta=2")
    assert other.returncode == 2
    assert "--beta=1.5" in other.stderr and "--overwrite" in other.stderr


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is tried on x86-64"
)
@pytest.mark.parametrize("given", [None, "0"])
def test_tensorflow_computes_with_onednn_unless_told_otherwise(given, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if given is not None:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = given
    command.set_up(None)
    script = (
        "from tensorflow.python.util import _pywrap_util_port as port;"
        "print(port.IsMklEnabled())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True" if given is None else "False"], done.stderr
