"""A search by several processes on this machine: KerasTuner's chief and its workers.

The chief hands out trials, each worker trains one at a time. A process that dies is
begun again with the same name: a worker is then handed the trial that it had, which
goes on from its checkpoint.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from mm_tf.experiments.searches.search import LOGS, SearchFailedError

_ADDRESS = "127.0.0.1"
_CHIEF = "chief"
_SECONDS_OF_A_LOOK = 0.2

# A process that dies more often does not die by chance.
_MOST_RESTARTS = 5

# Of a worker that hears no more of its chief, and of one that writes a checkpoint.
_SECONDS_TO_END = 5
_SECONDS_TO_STOP = 60

_LINES_OF_A_LOG = 5


def run(search, number, arguments):
    """Runs a search by a chief and workers, until all trials are finished.

    What they print is in `logs/` inside the search's folder.
    """
    names = [_CHIEF, *(f"worker{index}" for index in range(number))]
    port = _free_port()
    logs = search.folder / LOGS
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"`output_dir` cannot be written ({error.strerror}). "
            f"Received: output_dir={str(search.folder)!r}"
        ) from None
    print(f"A chief and {number} workers; what they print is in {logs}", flush=True)
    with contextlib.ExitStack() as stack:
        members = {
            name: stack.enter_context(
                _Member(name, port, logs / f"{name}.log", arguments)
            )
            for name in names
        }
        while members[_CHIEF].status() != 0:
            for member in members.values():
                member.keep_alive()
            time.sleep(_SECONDS_OF_A_LOOK)
        # They are told by the chief; one that was just begun would wait for it.
        deadline = time.monotonic() + _SECONDS_TO_END
        while time.monotonic() < deadline:
            if all(member.status() is not None for member in members.values()):
                break
            time.sleep(_SECONDS_OF_A_LOOK)


class _Member:
    """One process of a search, begun again when it dies."""

    def __init__(self, name, port, log, arguments):
        self._name = name
        self._log = log
        self._command = [
            sys.executable,
            *("-m", "mm_tf.experiments.tune", *arguments),
            *("--workers=0", "--supervised"),
        ]
        self._environment = {
            **os.environ,
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": _ADDRESS,
            "KERASTUNER_ORACLE_PORT": str(port),
            "PYTHONUNBUFFERED": "1",
        }
        self._process: Any = None
        self._restarts = 0

    def __enter__(self):
        self._start()
        return self

    def __exit__(self, *_):
        """Stops it as SIGTERM does, with a checkpoint."""
        process = self._process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                pass
            finally:  # A second Ctrl-C waits no longer.
                process.kill()
                process.wait()
        process.stdin.close()

    def status(self):
        """Returns its exit status, or None while it is on."""
        return self._process.poll()

    def keep_alive(self):
        """Begins it again if it died."""
        status = self.status()
        if status in (None, 0):
            return
        ended = f"signal {-status}" if status < 0 else f"exit status {status}"
        if self._restarts == _MOST_RESTARTS:
            raise SearchFailedError(
                f"{self._name} ended by itself {_MOST_RESTARTS + 1} times, at last "
                f"with {ended}. The end of {self._log}:\n{self._last_lines()}\n"
            )
        self._restarts += 1
        print(f"{self._name} ended ({ended}): begun again", flush=True)
        self._process.stdin.close()
        self._start()

    def _start(self):
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                # It stops when this end of it is closed, be it because this process
                # was killed.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # Ctrl-C at the terminal is for this process, which stops the others.
                start_new_session=True,
            )

    def _last_lines(self):
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LINES_OF_A_LOG:])


def _free_port():
    with socket.socket() as found:
        found.bind((_ADDRESS, 0))
        return found.getsockname()[1]


def stop_at_end_of_input():
    """Has this process stopped, as by SIGTERM, when its standard input ends."""
    caller = threading.get_ident()

    def wait():
        # Not by `sys.stdin`: a thread that reads it stops the process from ending.
        while os.read(sys.stdin.fileno(), 2**10):
            pass
        signal.pthread_kill(caller, signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
