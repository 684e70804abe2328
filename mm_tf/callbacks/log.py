"""The logs of every epoch as a table, and the images a second among them."""

import csv
import io
import pathlib
import time
from typing import Any

import keras
import numpy as np
from keras import ops

from mm_tf import _checks, _files


class Throughput(keras.callbacks.Callback):
    """Measures how many training images a second each epoch takes.

    It must stand before callbacks that work at an epoch's end, so that their time
    does not count.

    Args:
        images_per_epoch: The number of training images of an epoch, >= 1.

    Attributes:
        seconds: The seconds of training of each epoch; the first one also holds
            the compilation of the step.

    Example:

    >>> import mm_tf
    >>> throughput = mm_tf.callbacks.Throughput(100)
    >>> throughput.seconds = [9.0, 2.0, 2.0]
    >>> throughput.images_per_second
    50.0
    """

    def __init__(self, images_per_epoch):
        super().__init__()
        self.images_per_epoch = _checks.check_integer(
            "images_per_epoch", images_per_epoch, low=1
        )
        self.seconds: list[float] = []
        self._began = 0.0
        self._before = 0.0
        self._is_on = False

    @property
    def images_per_second(self):
        """Images a second in the median epoch, without the first if it can be."""
        seconds = self.seconds[1:] or self.seconds
        return self.images_per_epoch / float(np.median(seconds)) if seconds else None

    def get_state(self):
        """Returns the seconds of the epochs so far, and of the one that is on."""
        since = self._before + time.perf_counter() - self._began
        return {"seconds": self.seconds, "since": since if self._is_on else 0.0}

    def set_state(self, state):
        """Resumes from what `get_state` gave."""
        self.seconds = list(state["seconds"])
        self._before = state["since"]

    def on_train_begin(self, logs=None):
        self.seconds, self._before = [], 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._began, self._is_on = time.perf_counter(), True

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(self._before + time.perf_counter() - self._began)
        self._before, self._is_on = 0.0, False
        if logs is not None:
            logs["images_per_second"] = self.images_per_epoch / self.seconds[-1]


class EpochLog(keras.callbacks.Callback):
    """Keeps the logs of every epoch, as rows and in a CSV file.

    Unlike `keras.callbacks.CSVLogger` it resumes where a training was stopped, and
    the file is whole at any moment. It must stand behind callbacks that add logs. The
    optimizer's `learning_rate` is in each row.

    Args:
        path: The CSV file, which is replaced; None for none.

    Attributes:
        rows: For each epoch {"epoch": its number from 0, name: value}: a number, a
            list of them where a metric is a vector, or else a string.

    Example:

    >>> import mm_tf
    >>> log = mm_tf.callbacks.EpochLog()
    >>> log.on_epoch_end(0, {"loss": 0.5})
    >>> log.rows
    [{'epoch': 0, 'loss': 0.5}]
    """

    def __init__(self, path=None):
        super().__init__()
        self.path = None if path is None else pathlib.Path(path)
        self.rows: list[dict[str, Any]] = []

    def get_state(self):
        """Returns the rows so far."""
        return {"rows": self.rows}

    def set_state(self, state):
        """Resumes from what `get_state` gave."""
        self.rows = list(state["rows"])
        self._write()

    def on_train_begin(self, logs=None):
        self.rows = []

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or {})
        if self.model is not None and getattr(self.model, "optimizer", None):
            # Schedules of Keras are not in the logs.
            logs.setdefault("learning_rate", self.model.optimizer.learning_rate)
        values = {name: _plain(value) for name, value in sorted(logs.items())}
        self.rows.append({"epoch": epoch, **values})
        self._write()

    def _write(self):
        if self.path is None or not self.rows:
            return
        text = io.StringIO(newline="")
        names = dict.fromkeys(name for row in self.rows for name in row)
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        _files.write_text(self.path, text.getvalue())


def _plain(value):
    """A value of the logs as JSON can hold it."""
    try:
        return np.asarray(ops.convert_to_numpy(value), "float64").tolist()
    except (TypeError, ValueError):
        return str(value)
