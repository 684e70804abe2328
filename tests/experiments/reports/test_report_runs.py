"""What a report reads of its runs."""

import pytest
from made_up_runs import make_data, make_run
from page_parsing import Page

from mm_tf.experiments import report
from mm_tf.experiments.reports import figures, runs

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def test_runs_that_only_their_folder_tells_apart(tmp_path):
    folders = [tmp_path / "short", tmp_path / "long"]
    for folder in folders:
        make_run(folder)
    page = Page(report.write_report(folders, tmp_path / "out", data=make_data()))
    assert "ERM (short)" in page.text and "ERM (long)" in page.text


def test_what_is_missing_is_said(run):
    make_run(run)
    (run / "history.csv").unlink()
    (run / "predictions.npz").write_bytes(b"PK damaged")
    (run / "flags.txt").write_text("--no_such_flag=1\n")
    page = Page(report.write_report([run]))
    assert "history.csv is missing" in page.text
    assert "predictions.npz cannot be read" in page.text
    assert "flags.txt cannot be read" in page.text
    assert "There is no history to draw." in page.text
    assert "The runs kept no predictions." in page.text
    assert "no_such_flag" in page.text


def test_as_many_runs_as_colors():
    assert len(figures.COLORS) == runs.MOST_RUNS
