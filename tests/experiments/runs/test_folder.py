"""A run's folder: what is there before, what a run does then, and kills at any call.

Nothing is trained: `train` writes what a training writes.
"""

import dataclasses
import io
import os
import shutil

import made_up
import numpy as np
import pytest

from mm_tf import _files
from mm_tf.experiments.run import RunConfig, RunFailedError, run
from mm_tf.experiments.runs import run as run_module
from mm_tf.experiments.runs.folder import CHECKPOINTS, RunFolder
from mm_tf.experiments.runs.result import RunResult

LEFT = {"flags.txt", "result.json", "history.csv", "model.keras"}


def train(config, data, folder):
    """Resumes at a checkpoint if there is one, as `seed` of the result says."""
    resumed = folder.has_checkpoint
    (folder.path / CHECKPOINTS).mkdir(exist_ok=True)
    checkpoint = folder.path / CHECKPOINTS / "epoch00001-step0000000.npz"
    _files.write_arrays(checkpoint, {"a": np.zeros(2)})
    for name in ("history.csv", "model.keras"):
        _files.write_text(folder.path / name, "all of it")
    return dataclasses.replace(made_up.RESULT, method=config.method, seed=int(resumed))


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "_train", train)
    return RunConfig(method="focal", output_dir=str(tmp_path / "root" / "run"))


def names(folder):
    return {path.name for path in folder.iterdir()}


def nothing(config):
    pass


def empty(config):
    config.run_folder.mkdir(parents=True)


def finished(config):
    run(config)


def unfinished(config):
    folder = RunFolder(config)
    with folder.locked():
        folder.prepare()
        train(config, None, folder)
    # As of a process that was killed while it wrote.
    (folder.path / ".7.incomplete.history.csv").write_text("epo")


def other(before):
    """The same, of a run of other flags."""

    def other(config):
        before(dataclasses.replace(config, method="erm"))

    return other


TRAINED, RESUMED, RETURNED = "trained", "resumed", "returned"
OTHER_FLAGS = "--method=erm there; --method=focal here"
SITUATIONS = {
    "nothing": (nothing, TRAINED, TRAINED),
    "an empty folder": (empty, TRAINED, TRAINED),
    "finished": (finished, RETURNED, TRAINED),
    "unfinished": (unfinished, RESUMED, RESUMED),
    "finished, other flags": (other(finished), f"another run .{OTHER_FLAGS}", TRAINED),
    "unfinished, other flags": (
        other(unfinished),
        f"an unfinished run of other flags .{OTHER_FLAGS}",
        TRAINED,
    ),
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_there_before(name, overwrite, config, monkeypatch):
    before, *outcomes = SITUATIONS[name]
    before(config)
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(run_module, "_train", counted)
    outcome = outcomes[overwrite]
    again = dataclasses.replace(config, overwrite=overwrite)
    if outcome not in (TRAINED, RESUMED, RETURNED):
        there = names(config.run_folder)
        with pytest.raises(ValueError, match=f"{outcome}.*Received: output_dir="):
            run(again)
        assert names(config.run_folder) == there and not calls
        return
    result = run(again)
    assert result.method == "focal"
    assert len(calls) == (outcome != RETURNED)
    assert result.seed == (outcome == RESUMED)
    assert RunResult.read(config.run_folder) == result
    assert names(config.run_folder) == LEFT
    assert names(config.run_folder.parent) == {"run"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_without_a_run_is_refused(overwrite, config):
    config.run_folder.mkdir(parents=True)
    (config.run_folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="this one holds other files"):
        run(dataclasses.replace(config, overwrite=overwrite))
    assert names(config.run_folder) == {"thesis.txt"}


@pytest.mark.parametrize("before", [finished, unfinished])
@pytest.mark.parametrize(
    "name", ["notes.txt", "export/x", "checkpoints/x", "notes.incomplete.txt"]
)
def test_overwrite_takes_only_the_run(name, before, config):
    other(before)(config)
    path = config.run_folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    again = dataclasses.replace(config, overwrite=True)
    there = names(config.run_folder)
    with pytest.raises(ValueError, match=f"nothing but the run .*{name}.: move that"):
        run(again)
    assert names(config.run_folder) == there
    assert names(config.run_folder.parent) == {"run"}
    # Moved away, the same line trains.
    path.rename(config.run_folder.parent / "mine")
    for folder in config.run_folder.glob("export"):
        folder.rmdir()
    assert run(again).method == "focal"
    assert (config.run_folder.parent / "mine").read_text() == "mine"


def test_a_users_files_beside_a_finished_run_stay(config):
    finished(config)
    mine = ["notes.txt", "checkpoints/epoch00003-step0000000.npz", "checkpoints/a/b"]
    for name in mine:
        (config.run_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (config.run_folder / name).write_text("mine")
    assert run(config).method == "focal"
    assert all((config.run_folder / name).read_text() == "mine" for name in mine)


def test_a_users_files_among_the_checkpoints_stay(config):
    unfinished(config)
    mine = config.run_folder / "checkpoints" / "epochs" / "mine.npz"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert run(config).seed == 1
    assert run(config).seed == 1
    assert mine.read_text() == "mine"


def test_a_copy_that_a_user_made_is_not_taken_for_the_replaced_run(config):
    finished(config)
    copy = config.run_folder.with_name("run.old")
    shutil.copytree(config.run_folder, copy)
    again = dataclasses.replace(config, method="erm", overwrite=True)
    with pytest.raises(ValueError, match="the old run would move to .*run.old, which"):
        run(again)
    shutil.rmtree(config.run_folder)
    # Nothing is replaced here, and the copy stays.
    assert run(config).method == "focal"
    assert names(copy) == LEFT


def test_two_runs_into_one_folder(config):
    unfinished(config)
    with RunFolder(config).locked():
        assert RunFolder(config).is_in_use
        with pytest.raises(ValueError, match="`output_dir` is in use: another run"):
            run(config)
    assert not RunFolder(config).is_in_use
    assert run(config).seed == 1


def test_two_runs_that_both_replace_a_third(config, monkeypatch):
    other(finished)(config)
    again = dataclasses.replace(config, overwrite=True)

    def train_beside_another(*arguments):
        for each in (again, config):
            with pytest.raises(ValueError, match="`output_dir` is in use"):
                run(each)
        return train(*arguments)

    monkeypatch.setattr(run_module, "_train", train_beside_another)
    assert run(again).method == "focal"
    assert names(config.run_folder.parent) == {"run"}


def fails(config, patch, after=lambda *_: None):
    """Runs a config whose training fails, after it did something."""

    def fail(*arguments):
        after(*arguments)
        raise RunFailedError("diverged")

    with patch.context() as patched:
        patched.setattr(run_module, "_train", fail)
        with pytest.raises(RunFailedError, match="diverged"):
            run(config)


@pytest.mark.parametrize("before", [nothing, other(finished)])
def test_a_run_that_fails_before_a_checkpoint_leaves_what_was_there(
    before, config, monkeypatch
):
    before(config)
    there = names(config.run_folder.parent) if before is not nothing else set()
    fails(dataclasses.replace(config, overwrite=True), monkeypatch)
    assert names(config.run_folder.parent) == there
    if there:
        assert RunResult.read(config.run_folder).method == "erm"
        assert names(config.run_folder) == LEFT


def test_a_run_that_fails_after_a_checkpoint_keeps_it_and_the_replaced_run(
    config, monkeypatch
):
    other(finished)(config)
    again = dataclasses.replace(config, overwrite=True)
    fails(again, monkeypatch, after=train)
    assert RunResult.read(config.run_folder.with_name("run.old")).method == "erm"
    # With `overwrite` and without it, the same line resumes.
    assert run(again).seed == 1
    assert names(config.run_folder.parent) == {"run"}


class Killed(BaseException):
    """Nothing catches it, and nothing can be changed after it."""


class Killer:
    """Lets so many calls that change a file pass, and none after them."""

    CALLS = ("mkdir", "replace", "unlink", "rmdir", "open", "fsync")

    def __init__(self, patch, last):
        self.left = last
        for name in self.CALLS:
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


@pytest.mark.parametrize(
    ("before", "is_finished"),
    [(nothing, False), (other(finished), True), (other(unfinished), False)],
)
def test_killed_at_any_call_the_same_line_ends_it(
    before, is_finished, config, monkeypatch
):
    config = dataclasses.replace(config, overwrite=before is not nothing)
    root = config.run_folder.parent
    was_killed, last = True, -1
    while was_killed:
        last += 1
        before(dataclasses.replace(config, overwrite=False))
        with monkeypatch.context() as patch:
            Killer(patch, last)
            try:
                run(config)
            except Killed:
                pass
            else:
                was_killed = False
        # A finished run is there until the new one is finished.
        results = [root / name / "result.json" for name in ("run", "run.old")]
        assert is_finished <= any(path.exists() for path in results), last
        assert run(config).method == "focal", last
        assert names(root) == {"run"}, last
        assert names(root / "run") == LEFT, last
        shutil.rmtree(root)
    assert last > 20
