"""The result of a run, and the folder in which it is kept."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

FLAGS = "flags.txt"
HISTORY = "history.csv"
MODEL = "model.keras"
PER_CLASS = "per_class_error.csv"
PREDICTIONS = "predictions.npz"
RESULT = "result.json"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run found. Errors are on the test images, in %.

    Attributes:
        method, setting, dataset, imbalance, imbalance_ratio, seed, subset_seed,
            epochs: As in the config.
        hyperparameters: The flags that the method's loss and weights take.
        class_names: The K names.
        class_counts: Training images of each class, [K].
        top1_error: After the last epoch.
        best_top1_error: The smallest of all epochs. Chosen on the test images, so
            it flatters.
        best_epoch: Its epoch, from 0.
        balanced_error: The mean over the classes, last epoch.
        per_class_error: [K], last epoch; None for a class without test images.
        many_shot_error, medium_shot_error, few_shot_error: The mean over the
            classes with > 100, 20 to 100, < 20 training images, last epoch; None
            where there is no such class.
        published_top1_error: Table 1's, None where there is none.
        protocol_differences: How the run's protocol differs from the paper's.
        images_per_second: Of training, in the median epoch.
        training_seconds: The time of the training steps of all epochs.
        backend, device, versions: What it ran on.
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
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise ValueError(f"There is no result of a run at {path}.") from None
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no result of a run: {error}") from None


class RunFolder:
    """A run's folder: whole or not there.

    A run writes into `<folder>.incomplete` beside it, which takes the folder's
    place when everything is written.

    Args:
        config: The `RunConfig`.
    """

    def __init__(self, config):
        self.path = config.run_folder.resolve()
        if not self.path.name:
            raise ValueError(
                "`output_dir` must be a folder that can be renamed. "
                f"Received: output_dir={self.path}"
            )
        self.incomplete = self.path.with_name(self.path.name + ".incomplete")
        self._config = config

    def finished_result(self):
        """Returns the result of the same run if it is there already, or None.

        Raises:
            ValueError: The folder is in use: by another run, or by other files.
        """
        try:
            if self.path.is_mount():
                raise ValueError(
                    "`output_dir` must be a folder that can be renamed, and this is a "
                    "mount point: give one inside it. "
                    f"Received: output_dir={self.path}"
                )
            self._check_is_ours(self.path, (FLAGS, RESULT))
            self._check_is_ours(self.incomplete, (FLAGS,))
            if self._config.overwrite or not (self.path / RESULT).exists():
                return None
            there = (self.path / FLAGS).read_text()
        except OSError as error:
            raise self._cannot("be read", error) from None
        differences = self._differences(there)
        if differences:
            raise ValueError(
                f"`output_dir` holds another run ({differences}). Give another "
                f"--output_dir, or --overwrite. Received: output_dir={self.path}"
            )
        return RunResult.read(self.path)

    @staticmethod
    def _check_is_ours(path, files):
        """Refuses what a run did not make, so that nothing of a user's is lost."""
        if not path.exists():
            return
        if not path.is_dir():
            raise ValueError(
                f"`output_dir` must be a folder. Received: the file {path}"
            )
        if any(path.iterdir()) and not all((path / name).exists() for name in files):
            raise ValueError(
                "`output_dir` must be a new or empty folder, and this one holds other "
                f"files. Received: {path}"
            )

    def _differences(self, there):
        """Says how the flags of another run differ, but for places."""
        here = self._config.to_flagfile().splitlines()
        # A run that leaves the choice to Keras is the same on whichever backend.
        left_open = () if self._config.backend else ("--backend=",)
        ignored = ("--data_dir=", *left_open)
        there = [line for line in there.splitlines() if not line.startswith(ignored)]
        here = [line for line in here if not line.startswith(ignored)]
        sides = (set(there) - set(here), "there"), (set(here) - set(there), "here")
        return "; ".join(
            f"{' '.join(sorted(lines))} {side}" for lines, side in sides if lines
        )

    def _cannot(self, what, error):
        return ValueError(
            f"`output_dir` cannot {what} ({error.strerror}). "
            f"Received: output_dir={self.path}"
        )

    def prepare(self):
        """Makes the folder to write into, with the run's flags.

        Raises:
            ValueError: It cannot be written.
        """
        try:
            if self.incomplete.exists():
                shutil.rmtree(self.incomplete)
            self.incomplete.mkdir(parents=True)
            (self.incomplete / FLAGS).write_text(self._config.to_flagfile())
        except OSError as error:
            raise self._cannot("be written", error) from None

    def finish(self, result):
        """Writes the result, and puts the folder in its place.

        Args:
            result: The `RunResult`.
        """
        config = dataclasses.replace(self._config, backend=result.backend)
        (self.incomplete / FLAGS).write_text(config.to_flagfile())
        (self.incomplete / RESULT).write_text(result.to_json())
        if self.path.exists():
            with tempfile.TemporaryDirectory(dir=self.path.parent) as away:
                os.replace(self.path, pathlib.Path(away) / self.path.name)
                os.replace(self.incomplete, self.path)
        else:
            os.replace(self.incomplete, self.path)

    def discard_if_empty(self):
        """Takes away the folder of a run that failed before its first epoch."""
        if not (self.incomplete / HISTORY).exists():
            with contextlib.suppress(OSError):
                shutil.rmtree(self.incomplete)
