"""The Makefile: what it removes. A stub stands for Python, so nothing is installed."""

import pathlib
import shutil
import subprocess

import pytest
from helpers import ROOT

STUB = """#!/bin/sh
[ "$2" != venv ] || { mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; }
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")


@pytest.fixture
def make(tmp_path, monkeypatch):
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    stub = tmp_path / "stub"
    stub.write_text(STUB)
    stub.chmod(0o755)
    monkeypatch.delenv("MAKEFLAGS", raising=False)

    def make(target, folder):
        command = ["make", target, f"PYTHON={stub}", f"VENV={folder}"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return make


@pytest.mark.parametrize("target", ["test", "quickstart", "clean"])
def test_a_users_folder_is_not_emptied(target, make, tmp_path):
    mine = tmp_path / "envs" / "thesis" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    done = make(target, tmp_path / "envs")
    assert done.returncode and "Received: VENV=" in done.stderr
    assert mine.read_text() == "mine"


def test_an_environment_that_make_made_is_mended_and_removed(make, tmp_path):
    folder = pathlib.Path(tmp_path, "envs", "mine")
    assert not make("install", folder).returncode
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "old").write_text("half")
    done = make("install", folder)
    assert not done.returncode, done.stderr
    assert [path.name for path in (folder / "bin").iterdir()] == ["python"]
    assert "Making a virtual environment" not in make("install", folder).stdout
    assert not make("clean", folder).returncode
    assert not folder.exists()
