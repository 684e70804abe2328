"""The report: its folder and its command, from small made-up runs."""

import os
import subprocess
import sys
import time

import pytest
from made_up_runs import make_data, make_run
from page_parsing import Page

from mm_tf.data import DATASETS
from mm_tf.experiments import report
from mm_tf.experiments.reports import pictures

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def test_an_earlier_report_is_replaced_and_nothing_else(run):
    make_run(run)
    page = report.write_report([run], data=make_data())
    assert report.write_report([run], gallery=False) == page
    assert not list(page.parent.glob("confused_*"))
    (page.parent / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes.txt"):
        report.write_report([run], gallery=False)
    assert (page.parent / "notes.txt").read_text() == "mine"


def test_nothing_is_left_of_a_report_that_fails(run, monkeypatch):
    make_run(run)
    before = sorted(run.iterdir())
    monkeypatch.setattr(pictures, "draw_confusions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write_report([run])
    assert sorted(run.iterdir()) == before


def make_wrong_calls(folder):
    """Runs for the wrong calls below, and a file and a folder in the way."""
    make_run(folder / "a")
    make_run(folder / "b", seed=1)
    make_run(folder / "other", setting="digits_lt5")
    make_run(folder / "words", top1_error="low")
    make_run(folder / "names", class_names=["cat", "dog"])
    make_run(folder / "unfinished")
    (folder / "unfinished" / "result.json").unlink()
    make_run(folder / "photos", dataset="folder")
    flags = f"--dataset=folder\n--data_dir={folder / 'flat'}\n"
    (folder / "photos" / "flags.txt").write_text(flags)
    (folder / "flat" / "cat").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "file").write_text("mine")


WRONG = {
    "no run": ([], "RUN"),
    "misspelt flag": (["a", "--outptu=x"], "--outptu"),
    "no such folder": (["none"], "there is none at"),
    "a folder that is no run": (["empty"], "has no result.json"),
    "a run that has not finished": (["unfinished"], "has not finished (it has no"),
    "output that would become a class": (["photos", "--output=flat/x"], "a class."),
    "a result that was edited": (
        ["words"],
        "top1_error: Input should be a valid number",
    ),
    "lists of two lengths": (["names"], "class_counts is no list of 2"),
    "two settings": (["a", "other", "--output=x"], "digits_lt5"),
    "the same twice": (["a", "./a", "--output=x"], "twice"),
    "too many": (["a"] * 7, "1 to 6 folders. Received: 7"),
    "several without output": (["a", "b"], "`output` must be given"),
    "output that is a file": (["a", "--output=file"], "`output` is not a folder"),
    "output in other use": (["a", "--output=b"], "holds other files"),
    "output below a file": (["a", "--output=file/x"], "`output` cannot be written"),
    "no name": (["a", "--output="], "`output` must name a folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name, tmp_path, monkeypatch, capsys):
    make_wrong_calls(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[name]
    with pytest.raises(SystemExit) as exit:
        report.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_wrong_call_is_told_at_once(tmp_path):
    program = (
        "import sys; from mm_tf.experiments import report\n"
        "try: report.main(['none'])\n"
        "except SystemExit as exit: code = exit.code\n"
        "heavy = {'keras', 'tensorflow', 'matplotlib', 'sklearn', 'jinja2'}\n"
        "sys.exit(f'imported: {heavy & set(sys.modules)}'"
        " if heavy & set(sys.modules) else code)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert seconds < 2


def test_the_command(run, capsys):
    make_run(run, names=[f"digit {number}" for number in range(10)],
             counts=[100] * 10)  # fmt: skip
    report.main([str(run)])
    said = capsys.readouterr()
    assert said.out == f"Written: {run / 'report' / 'index.html'}\n"
    # These labels are not those of the digits.
    assert said.err.startswith("mm_tf: The page shows no test images: The data set ")
    page = Page(run / "report" / "index.html")
    assert DATASETS["digits"].description.split()[0] in page.text
    assert "Without test images" in page.text
    report.main([str(run), "--no_gallery"])
    assert not capsys.readouterr().err
