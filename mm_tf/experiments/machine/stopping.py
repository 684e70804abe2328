"""Ctrl-C and SIGTERM: the step under way ends, a checkpoint is written, then stop."""

import contextlib
import os
import pathlib
import shlex
import signal
import sys
import threading
import time
from typing import Any

from mm_tf import _text

# Sent by a cluster before it takes a machine away, by Ctrl-C, and by a terminal that
# closes.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# One Ctrl-C can arrive twice: from the terminal and from the parent process.
_SECONDS_OF_ONE = 1.0

# The variable with the process id of the command that waits for a run.
PARENT = "MM_TF_PARENT"


class StoppedError(KeyboardInterrupt):
    """A signal stopped the work."""

    def __init__(self, number):
        super().__init__(
            f"stopped by {signal.Signals(number).name}; the same flags resume from the "
            "last checkpoint"
        )
        self.number = number

    @property
    def exit_status(self):
        """The status that shells report: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number


class Stop:
    """Handles signals in a `with`; a call returns the `StoppedError` or None.

    While `can_wait` is true, the first signal only makes calls return the error;
    otherwise, and for a second signal, the error is raised at once. Outside the main
    thread signals are not handled.

    Attributes:
        can_wait: Whether someone calls this now and then, to stop.
    """

    def __init__(self):
        self.can_wait = False
        self._asked: int | None = None
        self._asked_at = 0.0
        self._before: dict[int, Any] = {}

    def __call__(self):
        return None if self._asked is None else StoppedError(self._asked)

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                # `nohup` and shells in the background ignore one on purpose.
                if before not in (None, signal.SIG_IGN):
                    self._before[number] = before
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_):
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _on_signal(self, number, frame):
        now = time.monotonic()
        if self._asked == number and now - self._asked_at < _SECONDS_OF_ONE:
            return
        if self._asked is not None or not self.can_wait:
            raise StoppedError(number)
        self._asked, self._asked_at = number, now
        print(
            "\nmm_tf: stopping after this step. A second signal stops at once.",
            file=sys.stderr,
            flush=True,
        )


def stop_with_parent():
    """Lets this process stop, as by SIGTERM, when the one that waits for it is gone.

    A parent that was killed can end nothing; its run would train on for hours.
    """
    parent = int(os.environ.pop(PARENT, 0))

    def watch():
        while os.getppid() == parent:
            time.sleep(_SECONDS_OF_ONE)
        os.kill(os.getpid(), signal.SIGTERM)

    if parent:
        threading.Thread(target=watch, daemon=True).start()


def leave(stopped, module, what):
    """Ends a stopped command with the line to resume with and its exit status."""
    python = pathlib.Path(sys.executable)
    # As a user would type it here.
    with contextlib.suppress(ValueError):
        python = python.relative_to(pathlib.Path.cwd())
    line = shlex.join(_text.typed or [str(python), "-m", module, *sys.argv[1:]])
    print(f"\nmm_tf: stopped. {what} To resume:\n{line}", file=sys.stderr, flush=True)
    sys.exit(getattr(stopped, "exit_status", 130))
