"""A run that is killed at any call that changes a file: the same command ends it."""

import dataclasses
import io
import os
import shutil

import made_up
import numpy as np
import pytest

from mm_tf import _files
from mm_tf.experiments.run import RunConfig, run
from mm_tf.experiments.runs import run as run_module
from mm_tf.experiments.runs.result import CHECKPOINTS, RunFolder

CALLS = ("mkdir", "replace", "unlink", "rmdir", "open", "fsync")


class Killed(BaseException):
    """Nothing catches it, and nothing can be changed behind it."""


class Killer:
    """Lets so many calls pass, and none behind them."""

    def __init__(self, patch, last):
        self.left = last
        for name in CALLS:
            patch.setattr(os, name, self._counted(getattr(os, name)))
        patch.setattr(io, "open", self._counted(io.open))

    def _counted(self, call):
        def counted(*arguments, **named):
            is_read = call is not os.open and call.__name__ == "open"
            if not is_read or set("wxa") & set(str(arguments[1:])):
                self.left -= 1
                if self.left < 0:
                    raise Killed
            return call(*arguments, **named)

        counted.__name__ = call.__name__
        return counted


def train(config, data, folder):
    """Writes what a training writes, and trains nothing."""
    kept = folder.incomplete / CHECKPOINTS
    kept.mkdir(exist_ok=True)
    _files.write_arrays(kept / "epoch00001-step0000000.npz", {"a": np.zeros(2)})
    for name in ("history.csv", "model.keras"):
        _files.write_text(folder.incomplete / name, "all of it")
    return dataclasses.replace(
        made_up.RESULT, backend="tensorflow", method=config.method
    )


def nothing(config):
    pass


def finished(config):
    run(dataclasses.replace(config, method="erm", overwrite=False))


def unfinished(config):
    config = dataclasses.replace(config, method="erm", overwrite=False)
    folder = RunFolder(config)
    with folder.locked():
        folder.prepare()
        train(config, None, folder)


@pytest.mark.parametrize("before", [nothing, finished, unfinished])
def test_killed_at_any_call(before, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "_train", train)
    root = tmp_path / "root"
    config = RunConfig(method="focal", output_dir=str(root / "run"), overwrite=True)
    for last in range(1000):
        root.mkdir()
        before(config)
        with monkeypatch.context() as patch:
            Killer(patch, last)
            try:
                run(config)
            except Killed:
                was_killed = True
            else:
                was_killed = False
        # Given again without --overwrite where it may be finished already.
        again = dataclasses.replace(config, overwrite=before is not nothing)
        assert run(again).method == "focal", last
        assert [path.name for path in root.iterdir()] == ["run"], last
        names = {path.name for path in (root / "run").iterdir()}
        assert names == {"flags.txt", "result.json", "history.csv", "model.keras"}, last
        shutil.rmtree(root)
        if not was_killed:
            break
    assert last > 20


def test_a_run_that_ends_leaves_the_next_ones_folder_alone(tmp_path, monkeypatch):
    config = RunConfig(method="erm", output_dir=str(tmp_path / "run"))
    begun = []

    def finish_and_let_another_begin(self, result):
        finish(self, result)
        other = RunFolder(dataclasses.replace(config, method="focal", overwrite=True))
        begun.append(other.locked())
        begun[0].__enter__()
        other.prepare()

    finish = RunFolder.finish
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_train", train)
        patch.setattr(RunFolder, "finish", finish_and_let_another_begin)
        run(config)
    assert (tmp_path / "run.incomplete" / "flags.txt").exists()
    begun[0].__exit__(None, None, None)
