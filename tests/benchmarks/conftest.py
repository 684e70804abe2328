"""What tests of the scripts in benchmarks/ share."""

import pathlib
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks_on_the_path(monkeypatch):
    """The scripts import each other by name, as where they are run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)
