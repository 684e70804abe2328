"""A run in a process of its own: how it ends, and what is said of it."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import helpers
import pytest

from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config.flags import from_lines
from mm_tf.experiments.grids import worker
from mm_tf.experiments.runs.folder import LOCK, RunFolder
from mm_tf.experiments.runs.run import RunDivergedError, RunFailedError


@pytest.fixture
def process(monkeypatch):
    """Lets a run's process be a script instead: `process("print(1)")`."""
    popen = subprocess.Popen

    def be(script):
        def start(command, **options):
            return popen([sys.executable, "-c", script], **options)

        monkeypatch.setattr(worker.subprocess, "Popen", start)

    return be


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ("print('mm_tf: no space'); exit(1)", RunFailedError, "^no space$"),
        ("print('mm_tf: `beta` is'); exit(2)", RunFailedError, "^`beta` is$"),
        ("print('mm_tf: NaN'); exit(3)", RunDivergedError, "^NaN$"),
        ("1 / 0", worker.RunCrashedError, "^ZeroDivisionError: division by zero$"),
        ("import os; os.kill(os.getpid(), 9)", worker.RunCrashedError, "signal 9"),
        ("exit(130)", worker.RunCrashedError, "signal 2"),
        ("exit(7)", worker.RunCrashedError, "^exit status 7$"),
        (
            "print('mm_tf: `x`' + 'x ' * 999 + '--output_dir=y'); exit(1)",
            RunFailedError,
            r"^`x`.{1,200} \.\.\. .{1,200} --output_dir=y$",
        ),
    ],
)
def test_exit_statuses_are_kinds_of_failure(process, tmp_path, script, kind, reason):
    process(script)
    with pytest.raises(kind, match=reason) as raised:
        worker.train(RunConfig(output_dir=str(tmp_path / "run")))
    assert type(raised.value) is kind


def test_the_flags_of_a_run_are_its_config():
    config = RunConfig(
        method="ldam", augment=False, epochs=3, output_dir="a b", overwrite=True
    )
    assert from_lines(list(worker._arguments(config, "ldam"))) == config


def test_data_are_read_by_a_process_of_their_own(tmp_path):
    worker.check_data("digits", None)
    with pytest.raises(worker.DatasetUnavailableError, match=str(tmp_path)):
        worker.check_data("cifar10", str(tmp_path / "none"))


def test_it_waits_for_a_folder_that_a_dying_process_holds(process, tmp_path):
    config = RunConfig(output_dir=str(tmp_path / "run"))
    lock = str(tmp_path / "run" / LOCK)
    take = f"import filelock; filelock.FileLock({lock!r}, timeout=0).acquire()"
    process(f"{take}; print('mm_tf: it was free'); exit(1)")
    held, looks = contextlib.ExitStack(), []
    held.enter_context(RunFolder(config).locked())

    def look():
        looks.append(time.monotonic())
        if len(looks) == 2:
            held.close()

    with pytest.raises(RunFailedError, match="it was free"):
        worker.train(config, look)


def config_in(tmp_path, epochs):
    return RunConfig(
        **helpers.TINY, epochs=epochs, warmup_epochs=1, output_dir=str(tmp_path / "run")
    )


@pytest.mark.long
def test_ctrl_c_ends_a_run_with_a_checkpoint_and_the_same_call_resumes_it(tmp_path):
    config = config_in(tmp_path, epochs=40)
    folder = RunFolder(config)

    def interrupt():
        while not folder.has_checkpoint:
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        worker.train(config)
    assert folder.has_checkpoint and not folder.is_in_use
    begun, seen = folder.epochs, []
    assert worker.train(config, lambda: seen.append(folder.epochs)).epochs == 40
    assert seen[0] >= begun
    assert folder.epochs == 40


@pytest.mark.long
def test_a_run_whose_parent_is_killed_stops_with_a_checkpoint(tmp_path):
    config = config_in(tmp_path, epochs=1000)
    code = (
        "from mm_tf.experiments.config import RunConfig\n"
        "from mm_tf.experiments.grids import worker\n"
        f"worker.train({config!r})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=helpers.environment())
    folder = RunFolder(config)
    while not folder.has_checkpoint:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    patience = time.monotonic() + 60
    while folder.is_in_use:
        assert time.monotonic() < patience
        time.sleep(0.05)
    assert folder.has_checkpoint and folder.epochs < 1000
