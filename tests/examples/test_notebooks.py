"""The notebooks of examples/: kept with the outputs of a whole run, and run again."""

import re

import nbclient
import nbformat
import pytest
from helpers import ROOT

FOLDER = ROOT / "examples"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def read(name):
    return nbformat.read(FOLDER / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook):
    return "".join(
        output.text
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )


def mean_errors(text):
    """The balanced errors, the mean over seeds of each training."""
    line = re.search(r"^mean (.*)$", text, re.MULTILINE)[1]
    return [float(number) for number in line.split()]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_committed_as_one_run_left_it(name):
    notebook = read(name)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    counted = [cell.execution_count for cell in cells]
    assert counted == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    # No errors, no warnings, no path of a machine.
    assert {output.output_type for output in outputs} == {"stream"}
    assert {output.name for output in outputs} == {"stdout"}
    assert not re.search(r"(^|[\s\"'])/\w+/", printed(notebook))


@pytest.mark.long
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_and_finds_what_it_says(name):
    kept = mean_errors(printed(read(name)))
    notebook = read(name)
    for cell in code_cells(notebook):
        cell.outputs = []
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()
    found = mean_errors(printed(notebook))
    assert len(found) == len(kept)
    # On another processor rounding differs, and a network's error by some points.
    assert found == pytest.approx(kept, abs=5)
