"""The folder of a run: what is in it, whether it is finished, who may write."""

import contextlib
import dataclasses
import os
import pathlib

import filelock

from mm_tf import _files
from mm_tf.experiments.config.flags import to_flagfile
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs.finished import FLAGS, HISTORY, MODEL
from mm_tf.experiments.runs.result import RESULT, RunResult

CHECKPOINTS = "checkpoints"
FIRST_STAGE = "first_stage"  # Its checkpoints.
FIRST_STAGE_WEIGHTS = "first_stage.weights.h5"
LOCK = "lock"

_STAGES = (FIRST_STAGE, CHECKPOINTS)

# All that a run writes into its folder. A file of another name is a user's.
_IN_STAGES = tuple(
    f"{stage}{file}"
    for stage in _STAGES
    for file in ("", f"/{_files.CHECKPOINT}", f"/{_files.UNFINISHED}")
)
_OUTPUTS = (
    *(FIRST_STAGE_WEIGHTS, HISTORY, MODEL, RESULT),
    *(finished.PER_CLASS, finished.PREDICTIONS),
)
_WRITTEN = (*_IN_STAGES, *_OUTPUTS, _files.UNFINISHED, FLAGS, LOCK)


class RunFolder:
    """The folder that a run writes into and, when it was stopped, resumes in.

    A run is finished when its `result.json` is there, which is written last.
    `overwrite` moves a finished run to `<folder>.old`, which is removed when the new
    run is finished.

    Args:
        config: The `RunConfig`.
        output_dir: The folder that the command's flag names, which for a grid is that
            of all runs. Defaults to `None`, the run's.
    """

    def __init__(self, config, output_dir=None):
        self._output_dir = output_dir or config.run_folder
        self.path = config.run_folder.resolve()
        self._old = pathlib.Path(f"{self.path}.old")
        self._config = config
        self._locks = contextlib.ExitStack()

    def finished_result(self):
        """Returns the result of the same run if it is there already, or None.

        Raises:
            ValueError: The folder holds another run or a user's files.
        """
        try:
            names = _names(self.path)
            if names and FLAGS not in names:
                raise self._error(
                    "must be a new or empty folder, and this one holds other files: "
                    f"give {_files.free_flag(self._output_dir)}"
                )
            if self._config.overwrite:
                self._check_can_be_replaced()
                return None
            differences = self._differences() if names else ""
        except (OSError, UnicodeError) as error:
            raise self._cannot_be("read", error) from None
        if differences:
            is_finished = RESULT in names
            what = "another run" if is_finished else "an unfinished run of other flags"
            raise self._error(
                f"holds {what} ({differences}): give its flags, --overwrite, or "
                f"{_files.free_flag(self._output_dir)}"
            )
        return RunResult.read(self.path) if RESULT in names else None

    def _check_can_be_replaced(self):
        """Refuses to replace a run if that would move or remove a user's files."""
        foreign = _files.foreign(self.path, _WRITTEN)
        if foreign:
            raise self._error(
                "must hold nothing but the run that is replaced, and it holds more "
                f"({', '.join(foreign)}): move that away, or give "
                f"{_files.free_flag(self._output_dir)}"
            )
        if self._old.exists() and not self._has_old:
            raise self._error(
                f"cannot be replaced: the old run would move to {self._old}, which is "
                "there already. Move that away, or give "
                f"{_files.free_flag(self._output_dir)}"
            )

    def _error(self, what):
        return ValueError(f"`output_dir` {what}. Received: output_dir={self.path}")

    def _cannot_be(self, what, error):
        reason = getattr(error, "strerror", None) or error
        return self._error(f"cannot be {what} ({reason})")

    def _differences(self):
        """Says how the flags of the run that is there differ from the config's."""
        ignored = ["--data_dir="]
        if not self._config.backend:
            # Such a run is the same on whichever backend Keras chooses.
            ignored.append("--backend=")
        if self._config.weights_digest is not None:
            # The digest says which weights these are, wherever they lie.
            ignored.append("--weights=")
        # An older version may have had fewer flags: those are at their defaults.
        saved = finished.read_config(self.path)
        there, here = (
            {line for line in lines if not line.startswith(tuple(ignored))}
            for lines in (to_flagfile(c).splitlines() for c in (saved, self._config))
        )
        parts = [
            f"{' '.join(sorted(lines))} {side}"
            for lines, side in ((there - here, "there"), (here - there, "here"))
            if lines
        ]
        for flag, what in (("data", "images"), ("weights", "weights")):
            if any(f"--{flag}_digest=" in part for part in parts):
                parts.append(f"the {what} are not those of that run")
        return "; ".join(parts)

    @contextlib.contextmanager
    def locked(self):
        """Keeps other processes from writing into the folder."""
        with self._locks:
            self._lock()
            yield

    def _lock(self):
        lock = filelock.FileLock(self.path / LOCK, timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._locks.enter_context(lock)
        except filelock.Timeout:
            what = "is in use: another run is writing into it"
            raise self._error(what) from None
        except OSError as error:
            raise self._cannot_be("written", error) from None

    @property
    def is_in_use(self):
        """Whether a process is writing into it."""
        path = self.path / LOCK
        if not path.exists():
            return False
        try:
            with filelock.FileLock(path, timeout=0):
                return False
        except filelock.Timeout:
            return True

    def prepare(self):
        """Makes the folder ready to train in; `locked` must hold it."""
        flagfile = self.path / FLAGS
        try:
            _files.remove_unfinished(self.path)
            if (self.path / RESULT).exists():
                _remove_run(self._old)
                os.replace(self.path, self._old)
                # The old folder took its lock along, which stays held.
                self._lock()
            elif flagfile.exists() and self._differences():
                _remove_run(self.path, with_lock=False)
            if not flagfile.exists():
                _files.write_text(flagfile, to_flagfile(self._config))
        except OSError as error:
            raise self._cannot_be("written", error) from None

    def finish(self, result):
        """Writes the result, by which the run is finished."""
        config = dataclasses.replace(self._config, backend=result.backend)
        _files.write_text(self.path / FLAGS, to_flagfile(config))
        _files.write_text(self.path / RESULT, result.to_json())

    @property
    def has_leftovers(self):
        """Whether there is what a finished run does not need."""
        names = _names(self.path, ignored=())
        # The lock goes last: without it a folder `checkpoints` is a user's.
        return LOCK in names or self._has_old

    def remove_leftovers(self):
        """Removes what a finished run does not need, if no process writes there."""
        if not self.has_leftovers:
            return
        # What cannot be removed now is removed the next time.
        with contextlib.suppress(OSError, ValueError), self.locked():
            _remove(self.path, _IN_STAGES)
            if self._has_old:
                _remove_run(self._old)
            (self.path / LOCK).unlink(missing_ok=True)

    @property
    def has_checkpoint(self):
        """Whether an unfinished run can resume from a checkpoint."""
        if (self.path / FIRST_STAGE_WEIGHTS).exists():
            return True
        return any(
            any(self.path.glob(f"{name}/{_files.CHECKPOINT}")) for name in _STAGES
        )

    @property
    def epochs(self):
        """How many epochs its history has."""
        try:
            return max(0, (self.path / HISTORY).read_bytes().count(b"\n") - 1)
        except OSError:
            return 0

    def discard_if_empty(self):
        """Removes a run that failed before its first checkpoint.

        The run that it was to replace takes its place again.
        """
        if self.has_checkpoint or (self.path / RESULT).exists():
            return
        with contextlib.suppress(OSError):
            _remove_run(self.path)
            if self._has_old:
                os.replace(self._old, self.path)
                (self.path / LOCK).unlink()

    @property
    def _has_old(self):
        """Whether `<folder>.old` is a run that `prepare` moved there.

        Only such a one has a lock: a finished run that a user moved has none.
        """
        if not self._old.is_dir():
            return False
        names = _names(self._old, ignored=())
        return (LOCK in names or not names) and not _files.foreign(self._old, _WRITTEN)


def _names(folder, ignored=(LOCK, _files.UNFINISHED)):
    """The names in a folder, without what a run that was killed may leave."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return set()
    return {name for name in names if not _files.matches(name, ignored)}


def _remove(folder, patterns):
    # Reversed, what is in a folder comes before it.
    for path in sorted(folder.rglob("*"), reverse=True):
        if _files.matches(path.relative_to(folder).as_posix(), patterns):
            path.rmdir() if path.is_dir() else path.unlink()


def _remove_run(folder, with_lock=True):
    """Removes what a run wrote.

    Flags and lock go last: stopped in between, the rest is still known as a run.
    """
    _remove(folder, (*_IN_STAGES, *_OUTPUTS, _files.UNFINISHED))
    (folder / FLAGS).unlink(missing_ok=True)
    if with_lock and folder.exists():
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
