"""The result of a run, and the folder in which it is kept."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
from typing import Any, Literal

import filelock
import pydantic

from mm_tf import _files
from mm_tf.experiments.config.flags import to_flagfile
from mm_tf.experiments.runs.images import EVALUATED_ON

CHECKPOINTS = "checkpoints"
FLAGS = "flags.txt"
HISTORY = "history.csv"
INCOMPLETE = ".incomplete"  # The ending of its folder until it is finished.
LOCK = "lock"
MODEL = "model.keras"
PER_CLASS = "per_class_error.csv"
PREDICTIONS = "predictions.npz"
RESULT = "result.json"

# All that a run writes into its folder.
_WRITTEN = frozenset(
    {CHECKPOINTS, FLAGS, HISTORY, LOCK, MODEL, PER_CLASS, PREDICTIONS, RESULT}
)


@dataclasses.dataclass(frozen=True)
class RunResult:
    r"""What a run found. Errors are on the images of `evaluated_on`, in %.

    Attributes:
        method: As in the config, and so are `setting`, `dataset`, `imbalance`,
            `imbalance_ratio`, `seed`, `subset_seed` and `epochs`.
        hyperparameters: The flags that the method's loss and weights take.
        class_names: The K names; of a folder whose name is no Unicode, with each such
            byte as `\udcff`.
        class_counts: Training images of each class, without a hold-out, [K].
        top1_error: After the last epoch.
        best_top1_error: The smallest of all epochs. Chosen on the images that it is
            measured on, so it flatters.
        best_epoch: Its epoch, from 0.
        balanced_error: The mean over the classes, last epoch.
        per_class_error: [K], last epoch; None for a class without such images.
        many_shot_error: The mean over the classes with > 100 training images, last
            epoch; None where there is no such class.
        medium_shot_error: Likewise, with 20 to 100.
        few_shot_error: Likewise, with < 20.
        published_top1_error: Table 1's, None where there is none.
        protocol_differences: How the run's protocol differs from the paper's.
        images_per_second: Of training, in the median epoch.
        training_seconds: The time of the training steps of all epochs.
        backend: Keras's, that it ran on.
        device: The kind of device that it ran on.
        versions: Of the packages that it ran with, {name: version}.
        deterministic: Whether the same flags give the same numbers, bit for bit, on
            that device; None in results of version 0.1.0 from before this was kept.
        flags: All flags that decide the run, {name: value}, the backend that was in
            use among them; None likewise.
        precision: What the network computed in: `"float32"`, `"bfloat16"`, ...; None
            in results from before this was kept, which are of float32.
        evaluated_on: `"test"` for the test images, `"holdout"` for training images
            that were held out, which compare with nobody's test errors.
        evaluated_counts: Images of each class that errors are measured on, [K]; None
            in results from before this was kept.
    """

    method: str
    setting: str
    dataset: str
    imbalance: str
    imbalance_ratio: float
    seed: int
    subset_seed: int
    epochs: int
    hyperparameters: dict[str, Any]
    class_names: list[str]
    class_counts: list[int]
    top1_error: float
    best_top1_error: float
    best_epoch: int
    balanced_error: float
    per_class_error: list[float | None]
    many_shot_error: float | None
    medium_shot_error: float | None
    few_shot_error: float | None
    published_top1_error: float | None
    protocol_differences: list[str]
    images_per_second: float
    training_seconds: float
    backend: str
    device: str
    versions: dict[str, str]
    deterministic: bool | None = None
    flags: dict[str, Any] | None = None
    evaluated_on: Literal["test", "holdout"] = "test"
    precision: str | None = None
    evaluated_counts: list[int] | None = None

    # How `read` takes a file, which someone may have edited.
    __pydantic_config__ = {"strict": True, "allow_inf_nan": False}

    def __post_init__(self):
        """Makes text of all names, which JSON and every screen takes."""
        names = [
            name.encode("utf-8", "backslashreplace").decode()
            for name in self.class_names
        ]
        object.__setattr__(self, "class_names", names)

    @property
    def evaluated_words(self):
        """What its images are, as a word before "images": test, or hold-out."""
        return EVALUATED_ON[self.evaluated_on]

    def to_json(self):
        """Returns the result as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, path):
        """Reads a `result.json`.

        Args:
            path: The file, or the run's folder.

        Raises:
            ValueError: There is none, or it holds something else.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            path = path / RESULT
        try:
            text = _files.read_text(path, _files.MOST_BYTES_OF_TEXT)
            result = pydantic.TypeAdapter(cls).validate_json(text)
            result._check_lists()
            return result
        except FileNotFoundError:
            raise ValueError(f"There is no result of a run at {path}.") from None
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            reason = f"{place}: {first['msg']}" if place else first["msg"]
        except (OSError, ValueError) as error:
            reason = str(error)
        raise ValueError(f"{path} holds no result of a run: {reason}")

    def _check_lists(self):
        size = len(self.class_names)
        if size < 2:
            raise ValueError("class_names has fewer than 2")
        for name in ("class_counts", "per_class_error", "evaluated_counts"):
            values = getattr(self, name)
            if values is not None and len(values) != size:
                raise ValueError(f"{name} is no list of {size}")
        if min(self.class_counts) < 1:
            raise ValueError("class_counts has one below 1")
        if min(self.evaluated_counts or [0]) < 0:
            raise ValueError("evaluated_counts has one below 0")


class RunFolder:
    """A run's folder: whole or not there.

    A run writes into `<folder>.incomplete` beside it, which takes the folder's
    place when everything is written. One process alone writes there, and what it
    leaves when it is stopped, the same run finds again.
    """

    def __init__(self, config):
        self.path = config.run_folder.resolve()
        if not self.path.name:
            raise ValueError(
                "`output_dir` must be a folder that can be renamed. "
                f"Received: output_dir={self.path}"
            )
        self.incomplete = self.path.with_name(self.path.name + INCOMPLETE)
        # What `overwrite` replaces, until the new one is in its place.
        self._replaced = self.path.with_name(self.path.name + ".replaced")
        self._config = config

    def finished_result(self):
        """Returns the result of the same run if it is there already, or None."""
        try:
            if self.path.is_mount():
                raise ValueError(
                    "`output_dir` must be a folder that can be renamed, and this is a "
                    "mount point: give one inside it. "
                    f"Received: output_dir={self.path}"
                )
            self._check_is_ours(self.path, (FLAGS, RESULT))
            self._check_is_ours(self.incomplete, (FLAGS,))
            self._check_is_ours(self._replaced, (FLAGS,))
            _check_nothing_more(self._replaced)
            if self._config.overwrite:
                _check_nothing_more(self.path)
                _check_nothing_more(self.incomplete)
                return None
            if not (self.path / RESULT).exists():
                return None
            there = self._read_flags(self.path)
        except (OSError, UnicodeError) as error:
            raise self.cannot_be("read", error) from None
        differences = self._differences(there)
        if differences:
            raise ValueError(
                f"`output_dir` holds another run ({differences}). Give another "
                f"--output_dir, or --overwrite. Received: output_dir={self.path}"
            )
        return RunResult.read(self.path)

    @staticmethod
    def _read_flags(folder):
        return _files.read_text(folder / FLAGS, _files.MOST_BYTES_OF_FLAGS)

    @staticmethod
    def _check_is_ours(path, files):
        """Refuses what a run did not make, so that nothing of a user's is lost."""
        try:
            names = {each.name for each in path.iterdir()}
        except FileNotFoundError:
            return
        except NotADirectoryError:
            if not path.exists():
                return  # What is above it is a file.
            raise ValueError(
                f"`output_dir` must be a folder. Received: the file {path}"
            ) from None
        # What a run that was killed may leave before its flags are written.
        names = {name for name in names if name != LOCK and not _is_unfinished(name)}
        if names and not names.issuperset(files):
            what = "holds other files"
            if FLAGS in names:
                what = f"is a run without its {RESULT}: move it away to train it anew"
            raise ValueError(
                f"`output_dir` must be a new or empty folder, and this one {what}. "
                f"Received: {path}"
            )

    def _differences(self, there):
        """Says how the flags of another run differ, but for places."""
        here = to_flagfile(self._config).splitlines()
        # A run that leaves the choice to Keras is the same on whichever backend.
        left_open = () if self._config.backend else ("--backend=",)
        # Of a file the digest says which it is.
        is_file = self._config.weights_digest is not None
        ignored = ("--data_dir=", *(["--weights="] if is_file else []), *left_open)
        there = [line for line in there.splitlines() if not line.startswith(ignored)]
        here = [line for line in here if not line.startswith(ignored)]
        sides = (set(there) - set(here), "there"), (set(here) - set(there), "here")
        told = "; ".join(
            f"{' '.join(sorted(lines))} {side}" for lines, side in sides if lines
        )
        for what in ("data", "weights"):
            if f"--{what}_digest=" in told:
                of = "images" if what == "data" else what
                told += f"; the {of} are others than those of that run"
        return told

    def cannot_be(self, what, error):
        """Returns a ValueError that says why the folder cannot be read or written."""
        reason = getattr(error, "strerror", None) or error
        return ValueError(
            f"`output_dir` cannot be {what} ({reason}). "
            f"Received: output_dir={self.path}"
        )

    @contextlib.contextmanager
    def locked(self):
        """Holds the folder to write into, against other processes."""
        lock = self._acquire()
        try:
            yield
        finally:
            lock.release()

    def _acquire(self):
        path = self.incomplete / LOCK
        tries = 100
        while True:
            lock = filelock.FileLock(path, timeout=0)
            try:
                self.incomplete.mkdir(parents=True, exist_ok=True)
                lock.acquire()
            except filelock.Timeout:
                raise ValueError(
                    "`output_dir` is in use: another run is writing into it. "
                    f"Received: output_dir={self.path}"
                ) from None
            except (FileNotFoundError, FileExistsError) as error:
                # Another run took the folder away, or put it there, in between.
                tries -= 1
                if not tries or not self.path.parent.is_dir():
                    raise self.cannot_be("written", error) from None
                continue
            except OSError as error:
                raise self.cannot_be("written", error) from None
            # Between the two, a run that ended may have moved the folder away.
            if path.exists():
                return lock
            lock.release()

    @property
    def is_in_use(self):
        """Whether a process is writing into it."""
        path = self.incomplete / LOCK
        if not path.exists():
            return False
        try:
            with filelock.FileLock(path, timeout=0):
                return False
        except filelock.Timeout:
            return True

    def prepare(self):
        """Makes the folder ready to write into; `locked` must hold it."""
        try:
            _files.remove_unfinished(self.incomplete)
            flags = self.incomplete / FLAGS
            if flags.exists():
                differences = self._differences(self._read_flags(self.incomplete))
                if not differences:
                    return
                if not self._config.overwrite:
                    raise ValueError(
                        "`output_dir` has an unfinished run of other flags "
                        f"({differences}). Give those flags to go on with it, another "
                        "--output_dir, or --overwrite to discard it. "
                        f"Received: output_dir={self.path}"
                    )
                _remove_run(self.incomplete, keep=(LOCK,))
            _files.write_text(flags, to_flagfile(self._config))
        except OSError as error:
            raise self.cannot_be("written", error) from None

    def written_result(self):
        """Returns the result of a run that was stopped just before its end, or None.

        All its other files are written when its result is.
        """
        if not (self.incomplete / RESULT).exists():
            return None
        return RunResult.read(self.incomplete)

    def finish(self, result):
        """Writes the result, and puts the folder in its place."""
        config = dataclasses.replace(self._config, backend=result.backend)
        _files.write_text(self.incomplete / FLAGS, to_flagfile(config))
        _files.write_text(self.incomplete / RESULT, result.to_json())
        if self.path.exists():
            # Someone may have put a file there while this one trained.
            _check_nothing_more(self.path)
            _remove_run(self._replaced)
            os.replace(self.path, self._replaced)
        os.replace(self.incomplete, self.path)
        _files.sync(self.path.parent)
        self.remove_leftovers()

    @property
    def has_leftovers(self):
        """Whether a finished run was killed before all that it needed was gone."""
        leftovers = (self.path / CHECKPOINTS, self.path / LOCK, self._replaced)
        return any(path.exists() for path in leftovers)

    def remove_leftovers(self):
        """Removes what only an unfinished run needs; `locked` must hold the folder."""
        if (self.path / CHECKPOINTS).exists():
            shutil.rmtree(self.path / CHECKPOINTS)
        _remove_run(self._replaced)
        (self.path / LOCK).unlink(missing_ok=True)

    @property
    def has_checkpoint(self):
        """Whether an unfinished run can go on from a checkpoint."""
        return any((self.incomplete / CHECKPOINTS).glob("epoch*.npz"))

    def discard_if_empty(self):
        """Takes away the folder of a run that failed before its first checkpoint."""
        if not self.has_checkpoint:
            with contextlib.suppress(OSError):
                _remove_run(self.incomplete)


def _is_unfinished(name):
    """Whether a name is one that `_files.whole_file` writes to."""
    return re.match(r"\.\d+\.incomplete\.", name) is not None


def _check_nothing_more(folder):
    """Refuses to replace a run if its folder holds what no run writes."""
    try:
        names = {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return
    more = sorted(n for n in names - _WRITTEN if not _is_unfinished(n))
    if more:
        raise ValueError(
            "`output_dir` must hold nothing but the run that is replaced, and it holds "
            f"more ({', '.join(more)}): move that away, or give another --output_dir. "
            f"Received: {folder}"
        )


def _remove_run(folder, keep=()):
    """Removes a run's folder so that, stopped in between, it still is known as one.

    What no run writes stays.
    """
    if not folder.exists():
        return
    last = (FLAGS, LOCK)
    for path in folder.iterdir():
        if path.name in (*last, *keep):
            continue
        if path.name == CHECKPOINTS and path.is_dir():
            shutil.rmtree(path)
        elif path.name in _WRITTEN or _is_unfinished(path.name):
            path.unlink(missing_ok=True)
    for name in last:
        if name not in keep:
            (folder / name).unlink(missing_ok=True)
    if not keep:
        folder.rmdir()
