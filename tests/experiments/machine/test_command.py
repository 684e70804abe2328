"""Wrong calls of the command: one clear message, no traceback."""

import os
import platform
import re

import pytest
from absl import flags
from flag_parsing import parse
from helpers import ROOT, python, refused

from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.machine import command

FLAGFILE = ROOT / "experiments" / "cifar10_lt100.flags"
TINY = ("--model=resnet8", "--imbalance_ratio=20", "--epochs=1")


def call(*arguments, cwd=None):
    return python("-m", "mm_tf.experiments.run", *arguments, cwd=cwd)


WRONG = {
    "--method=sgd": "must be one of",
    "--imbalance=longtail": "should be one of",
    "--imbalance_ratio=0.5": "`imbalance_ratio` must be",
    "--imbalance_ratio=nan": "`imbalance_ratio` must be",
    "--beta=-1": "`beta` must be",
    "--delta=-0.1": "`delta` must be",
    "--scale=0": "`scale` must be",
    "--beta=large": "--beta=large",
    "--epochs=0": "`epochs` must be",
    "--epochs=1.5": "--epochs=1.5",
    "--seed=-3": "`seed` must be",
    "--batch_size=0": "`batch_size` must be",
    "--learning_rate=0": "`learning_rate` must be",
    "--model=resnet33": "Did you mean resnet3",
    "--backend=mxnet": "should be one of",
}


@pytest.mark.parametrize("flag", WRONG)
def test_wrong_flags(flag):
    with pytest.raises((flags.Error, ValueError), match=re.escape(WRONG[flag])):
        parse(flag)


IN_OUR_WORDS = {
    "--epochs=3.5": "`epochs` must be an integer. Received: epochs='3.5'",
    "--beta=": "`beta` must be a number. Received: beta=''",
    "--augment=maybe": "`augment` must be true or false. Received: augment='maybe'",
    "--method=mm_drv": "your own. Did you mean mm_drw? Received: method='mm_drv'",
    "--lr=0.1": "Did you mean learning_rate? Received: --lr",
    "--batch=8": "Did you mean batch_size? Received: --batch",
    "--metod=mm": "Did you mean method? Received: --metod",
    "--zzz": "one of those that --help lists. Received: --zzz",
}


@pytest.mark.parametrize("flag", IN_OUR_WORDS)
def test_wrong_flags_in_our_words_with_a_suggestion(flag):
    values = flags.FlagValues()
    config_flags.define_flags(values)
    printed = refused(command.parse_flags, ["run", flag], values)
    assert printed.startswith("mm_tf: ") and printed.endswith(f"{IN_OUR_WORDS[flag]}\n")


WRONG_CALLS = [
    (["--flagfile=experiments/none.flags"], "none.flags"),
    (["--output_dir=" + 300 * "x"], "`output_dir`"),
    (["--output_dir=/"], "`output_dir` must be"),
    (["--output_dir=file/run"], "`output_dir` cannot be read (Not a directory)"),
    (["--output_dir=file"], "`output_dir` cannot be read (Not a directory)"),
    (["--output_dir=run"], "holds other files"),
    (["--dataset=cifar10", "--data_dir=none"], "none"),
    (["mm_drw"], "Only flags, as --method=mm, and one path"),
    (["run", "run"], "Received: run run"),
    (["--data_dir=run", "run"], "`data_dir` must not be given with a path"),
    (["--setting=quickstart", "run"], "Received: dataset='digits' and 'run'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_CALLS)
def test_wrong_calls(arguments, message, tmp_path):
    (tmp_path / "run").mkdir()
    files = [tmp_path / "run" / "thesis.txt", tmp_path / "file"]
    for file in files:
        file.write_text("mine")
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: path.read_text() for path in left} == dict.fromkeys(files, "mine")


@pytest.mark.parametrize("form", [["--flagfile={}"], ["--flagfile", "{}"]])
def test_flags_before_and_behind_the_flagfile_beat_it(form):
    flagfile = [part.format(FLAGFILE) for part in form]
    config = parse("--epochs=10", *flagfile, "--beta=2")
    assert (config.dataset, config.epochs, config.beta) == ("cifar10", 10, 2.0)


def test_a_path_among_the_flags_is_the_data(tmp_path):
    values = flags.FlagValues()
    config_flags.define_flags(values)
    command.take_path(values(["run", "--seed=1", str(tmp_path), "--epochs=3"]), values)
    config = config_flags.from_flags(values)
    assert (config.dataset, config.data_dir) == ("folder", str(tmp_path))
    assert (config.seed, config.epochs) == (1, 3)
    # As the same line reads it, the next time.
    assert "--dataset=folder\n" in config_flags.to_flagfile(config)


def test_help_names_every_flag():
    done = call("--help")
    for flag in ("--imbalance_ratio", "--method", "--beta", "--output_dir"):
        assert flag in done.stdout


def test_a_run_from_the_command(tmp_path):
    arguments = ("--method=mm_drw", *TINY, f"--output_dir={tmp_path}/run")
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "top-1, last epoch (0, counted from 0)" in done.stdout
    assert "published" not in done.stdout and "paper" not in done.stdout
    # Again: the result is printed, nothing is trained.
    again = call(*arguments)
    assert again.returncode == 0
    assert again.stdout.startswith("This run was finished before, so nothing is train")
    assert "top-1, last epoch (0, counted from 0)" in again.stdout
    assert "Epoch 1/1" not in again.stdout
    # Another run into the same folder is refused with the difference.
    other = call(*arguments, "--beta=2")
    assert other.returncode == 2
    assert "--beta=1.5 there; --beta=2.0 here" in other.stderr
    assert f"--overwrite, or --output_dir={tmp_path}/run_2. " in other.stderr


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
    script = "from tensorflow.python.util import _pywrap_util_port as port;"
    done = python("-c", f"{script}print(port.IsMklEnabled())", env=os.environ)
    assert done.stdout.split() == ["True" if given is None else "False"], done.stderr
