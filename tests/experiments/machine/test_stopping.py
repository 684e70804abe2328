"""Signals: the first waits for the step under way, the second does not."""

import os
import pathlib
import signal
import sys
import threading

import pytest
from helpers import refused

from mm_tf.experiments.machine import stopping
from mm_tf.experiments.machine.stopping import Stop, StoppedError

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture(autouse=True)
def no_signal_is_ignored():
    """As at a terminal: under `nohup` or in the background some are ignored."""
    before = {number: signal.getsignal(number) for number, _ in SIGNALS}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_it_stops_at_once_but_in_training_waits_for_the_step(number, status, capsys):
    with pytest.raises(StoppedError) as stopped, Stop():
        os.kill(os.getpid(), number)
    assert stopped.value.exit_status == status
    with Stop() as stop:
        stop.can_wait = True
        assert stop() is None
        os.kill(os.getpid(), number)
        assert stop().exit_status == status
    assert "stopping after this step" in capsys.readouterr().err


def test_a_second_one_stops_at_once_but_not_a_double(monkeypatch):
    now = iter([10.0, 10.5, 12.0])
    monkeypatch.setattr(stopping.time, "monotonic", lambda: next(now))
    with pytest.raises(StoppedError), Stop() as stop:
        stop.can_wait = True
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop() is not None
        os.kill(os.getpid(), signal.SIGINT)


def test_another_signal_is_no_double():
    with pytest.raises(StoppedError) as stopped, Stop() as stop:
        stop.can_wait = True
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.number == signal.SIGTERM


def test_afterwards_signals_are_as_before():
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    with Stop():
        assert [signal.getsignal(number) for number, _ in SIGNALS] != before
    assert [signal.getsignal(number) for number, _ in SIGNALS] == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop() is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_does_not_touch_signals():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter():
        with Stop() as stop:
            seen.append((signal.getsignal(signal.SIGINT), stop()))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(before, None)]


def test_leaving_prints_the_line_to_resume_with(tmp_path, monkeypatch):
    # An interpreter below the working folder would be named relative to it.
    monkeypatch.chdir(tmp_path)
    argv = ["/some/run.py", "--output_dir=a b", "--epochs=3"]
    monkeypatch.setattr(stopping.sys, "argv", argv)
    stopped = StoppedError(signal.SIGTERM)
    printed = refused(
        stopping.leave, stopped, "mm_tf.experiments.run", "S.", status=143
    )
    line = f"{sys.executable} -m mm_tf.experiments.run '--output_dir=a b' --epochs=3"
    assert line in printed.splitlines()
    monkeypatch.chdir(pathlib.Path(sys.executable).parents[1])
    printed = refused(stopping.leave, KeyboardInterrupt(), "m", "S.", status=130)
    assert f"bin/{pathlib.Path(sys.executable).name} -m m " in printed
