"""The command `mm_tf`: what it starts, with which flags, also from the wheel."""

import os
import pathlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import pytest
from flag_parsing import parse
from helpers import OLD_RUN, ROOT, environment, python, refused
from PIL import Image

from mm_tf import _text
from mm_tf.experiments import __main__ as mm_tf_command
from mm_tf.experiments.machine import command, stopping
from mm_tf.experiments.paper import SETTINGS


@pytest.fixture
def started(monkeypatch):
    """The modules that the command started, and what was typed then."""
    calls = []
    monkeypatch.setattr(sys, "argv", ["mm_tf"])
    monkeypatch.setattr(_text, "typed", [])
    monkeypatch.setattr(
        runpy, "run_module", lambda module, **_: calls.append((module, sys.argv[1:]))
    )
    return calls


@pytest.mark.parametrize("name", mm_tf_command.COMMANDS)
def test_a_command_is_its_module_with_the_same_words(name, started):
    mm_tf_command.main([name, "--seed=1", "a b"])
    module = "data.inspect" if name == "inspect" else f"experiments.{name}"
    assert started == [(f"mm_tf.{module}", ["--seed=1", "a b"])]


HEAVY = ("keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib", "pandas")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--metod=mm"], "Did you mean method?"),
        (["tune", "--tunner=grid"], "Did you mean tuner?"),
        (["table", "--settings=digit_lt20"], "`settings` must be a data set"),
        (["report", "none"], "`run` must be the folder of a finished run"),
        (["predict", "none", "photo.jpg"], "`run` must be the folder of a"),
        (["export", "none"], "`run` must be the folder of a finished run"),
        (["inspect", "--dataset=foldr"], "Did you mean folder?"),
        (["rum"], "Did you mean run? Received: 'rum'"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_a_wrong_call_costs_one_line_and_nothing_heavy(words, message):
    code = f"""
import sys
from mm_tf.experiments.__main__ import main
try:
    main({words})
finally:
    print(*set({HEAVY}) & set(sys.modules))
"""
    done = python("-c", code)
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "\n"


def test_the_line_to_resume_with_is_the_one_that_was_typed(started):
    def resume_line():
        message = refused(
            stopping.leave, stopping.StoppedError(2), "a.module", "So.", status=130
        )
        return shlex.split(message.splitlines()[-1])

    sys.argv[1:] = ["--seed=1"]
    assert resume_line()[1:] == ["-m", "a.module", "--seed=1"]
    mm_tf_command.main(["run", "--setting=quickstart", "--output_dir=a b"])
    typed = ["mm_tf", "run", "--setting=quickstart", "--output_dir=a b"]
    assert resume_line() == typed


def test_all_settings_of_the_paper_and_the_quickstart_are_there():
    files = {path.stem for path in (ROOT / "experiments").glob("*.flags")}
    fast = {f"{setting}_fast" for setting in SETTINGS}
    assert set(command.settings()) == files == {*SETTINGS, *fast, "quickstart"}


@pytest.mark.parametrize(
    "words", [["--setting=cifar10_lt100"], ["--setting", "cifar10_lt100"]]
)
def test_other_flags_beat_the_setting_wherever_they_stand(words):
    config = parse("--epochs=10", *words, "--beta=2")
    assert (config.dataset, config.epochs, config.beta) == ("cifar10", 10, 2.0)
    assert config.delta == 0.6
    flagfile = parse(f"--flagfile={ROOT}/experiments/cifar10_lt100.flags")
    assert parse(*words) == flagfile


def test_unknown_settings_are_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean quickstart?.*'quikstart'"):
        parse("--setting=quikstart")
    with pytest.raises(ValueError, match="Received: setting=''"):
        parse("--setting")


@pytest.mark.long
def test_the_wheel_in_an_empty_folder(tmp_path):
    # A copy, as setuptools leaves files in the folder, and finds them again.
    source = tmp_path / "source"
    for name in ("mm_tf", "experiments"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = ("-m", "pip", "--quiet")
    built = python(
        *(*pip, "wheel", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", tmp_path, source),
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    installed = python(*pip, "install", "--no-deps", "--target", site, wheel)
    assert installed.returncode == 0, installed.stderr

    def mm_tf(*words):
        # Nothing of the checkout, which is first on the path of the tests.
        paths = [
            path for path in sys.path if not pathlib.Path(path).is_relative_to(ROOT)
        ]
        variables = environment(PYTHONPATH=os.pathsep.join([str(site), *paths]))
        done = python(site / "bin" / "mm_tf", *words, env=variables, cwd=empty)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for name in mm_tf_command.COMMANDS:
        assert re.search(rf"^  {name} +\w", mm_tf("--help"), re.MULTILINE)
    mm_tf("run", "--setting=quickstart", "--epochs=1", "--model=resnet8", "--seed=3")
    (run,) = empty.rglob("seed3")
    flags = (run / "flags.txt").read_text().split()
    assert {"--epochs=1", "--model=resnet8", "--batch_size=31"} <= set(flags)
    assert not [flag for flag in flags if "setting" in flag]
    mm_tf("report", str(run))
    assert (run / "report" / "index.html").exists()


@pytest.mark.parametrize("name", ["report", "predict", "export", "inspect"])
def test_help_shows_the_command_as_it_was_typed(name):
    module = mm_tf_command.COMMANDS[name][0]
    for typed in (["mm_tf.experiments", name], [module]):
        usage = python("-m", *typed, "--help").stdout.partition("\n")[0]
        command_line = f"mm_tf {name}" if name in typed else f"python -m {module}"
        assert usage.startswith(f"usage: {command_line} [-h]")


@pytest.mark.parametrize("words", [["run", "--help"], ["inspect", "--dataset=digits"]])
def test_a_reader_that_leaves_early_is_no_error(words):
    process = subprocess.Popen(
        [sys.executable, "-m", "mm_tf.experiments", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    process.stdout.close()  # As `head` does.
    assert process.stderr.read() == b""
    process.wait()


@pytest.mark.parametrize("name", ["report", "predict", "export", "inspect"])
def test_help_without_docstrings(name):
    done = python("-OO", "-m", mm_tf_command.COMMANDS[name][0], "--help")
    assert done.returncode == 0 and "usage" in done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("name", ["predict", "inspect"])
def test_names_that_the_terminal_cannot_show_are_replaced(name, encoding, tmp_path):
    for kind in ("雀", "Möwe"):
        (tmp_path / kind).mkdir()
        for grey in (0, 100):
            Image.new("RGB", (8, 8), (grey, 0, 0)).save(tmp_path / kind / f"{grey}.png")
    words = {
        "predict": ("-m", "mm_tf.experiments.predict", OLD_RUN, tmp_path),
        "inspect": ("-m", "mm_tf.data.inspect", f"--data_dir={tmp_path}"),
    }
    variables = environment(PYTHONIOENCODING=encoding)
    done = python(*words[name], env=variables, errors="replace")
    assert done.returncode == 0, done.stderr
    # `predict` writes text to be read by programs, always as UTF-8.
    assert ("雀" if name == "predict" else "?") in done.stdout
