"""The page on a method of one's own, as it stands."""

import re
import shlex

import pytest
from helpers import ROOT, python

from mm_tf.experiments.config import method_files
from mm_tf.experiments.runs.result import RunResult

PAGE = (ROOT / "docs" / "own_method.md").read_text("utf-8")
FIRST, SECOND = re.findall(r"```python\n(.*?)```", PAGE, re.S)
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]


def call(line, folder):
    program, *words = shlex.split(line)
    assert program == "mm_tf"
    return python("-m", "mm_tf.experiments", *words, cwd=folder)


@pytest.mark.long
def test_the_page_from_nothing_to_a_line_in_the_table(tmp_path):
    (tmp_path / "my_methods.py").write_text(FIRST)
    said = {}
    for line in COMMANDS:
        done = call(line, tmp_path)
        # absl's help ends with status 1.
        assert done.returncode == int("--helpshort" in line), done.stderr
        said[line.split()[1], "--helpshort" in line] = done.stdout
    assert "--adjusted_tau: Adjusted:" in said["run", True]
    assert "nothing is trained" in said["run", False]
    folder = tmp_path / "saved_models" / "digits_lt20" / "adjusted"
    assert RunResult.read(folder / "seed0").hyperparameters == {"adjusted_tau": 1.0}
    assert "--adjusted_tau=1.0\n" in (folder / "seed0" / "flags.txt").read_text()
    trials = (folder / "search" / "trials.csv").read_text()
    assert trials.startswith("trial,adjusted_tau,") and len(trials.splitlines()) == 4
    table = (tmp_path / "saved_models" / "table.md").read_text()
    assert re.search(r"\| Adjusted +\| +\d", table)


def test_the_second_example_is_a_method(tmp_path, registered):
    (tmp_path / "mine.py").write_text(SECOND)
    row = method_files.load(f"{tmp_path}/mine.py:Arc")
    assert (row.name, row.head, row.weighting) == ("arc_drw", "normalized", "deferred")
    assert list(row.hyperparameters) == ["arc_drw_angle", "arc_drw_scale"]
    loss = row.loss.loss(angle=0.0, scale=10.0)
    # Without an angle it is cross-entropy: of two equal cosines log 2.
    assert float(loss([0], [[0.3, 0.3]])) == pytest.approx(0.6931, abs=1e-3)
