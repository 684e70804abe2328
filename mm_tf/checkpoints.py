"""Checkpoints of a training that can be killed at any moment and resumes.

    folder = CheckpointFolder("training", identity={"seed": 0})
    fit(model, images, labels, order, epochs, Checkpoints(folder, minutes=10))

The same lines again resume the training where it stopped, and end with the same
weights, bit for bit, where the device computes repeatably. Folder, callback and `fit`
are one mechanism, so they stand in one file.
"""

import json
import pathlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import keras
import numpy as np
from keras import ops

from mm_tf import _checks, _files
from mm_tf.callbacks.divergence import DivergedError, StopOnDivergence
from mm_tf.data import fit_data

_FACTS = "facts"
# What decides the order of the images, besides the labels.
_ORDER_FACTS = (
    *("seed", "batch_size", "num_examples", "resample_from", "mixup", "cutmix"),
)
# The newest, and the one before it should that be damaged.
_NEWEST = 2


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or belongs to another training."""


class UnusableCheckpointError(CheckpointError):
    """The training cannot resume from the checkpoints that are there."""


class CheckpointFolder:
    """A folder of the two newest checkpoints of one training.

    A checkpoint is written to a temporary name, synced and renamed. The one before it
    stays: if the newest is damaged, that is reported and the other one used. A file is
    an `.npz` of plain arrays; nothing in it is ever executed.

    Args:
        path: The folder. It is made when the first checkpoint is written.
        identity: What tells the training from others, {name: value}, as JSON can
            hold it. Checkpoints with another identity are refused.

    Example:

    >>> import tempfile
    >>> import numpy as np
    >>> from mm_tf.checkpoints import CheckpointFolder
    >>> folder = CheckpointFolder(tempfile.mkdtemp(), identity={"seed": 1})
    >>> folder.write(3, 0, {"kernel": np.ones(2)}, {"loss": 0.5})
    >>> arrays, facts = folder.newest()
    >>> facts["epoch"], facts["loss"], arrays["kernel"].tolist()
    (3, 0.5, [1.0, 1.0])
    """

    def __init__(self, path, identity=None):
        self.path = pathlib.Path(path).expanduser()
        # As JSON gives it back.
        self.identity = json.loads(json.dumps(dict(identity or {})))

    def write(
        self,
        epoch: int,
        step: int,
        arrays: Mapping[str, np.ndarray],
        facts: Mapping[str, Any],
    ) -> None:
        """Writes a checkpoint, and removes all but the two newest.

        Args:
            epoch: The epoch that resumes, from 0.
            step: The next step in that epoch, from 0.
            arrays: {name: array}.
            facts: {name: value}, as JSON can hold it.

        Raises:
            CheckpointError: It cannot be written; those before it stay.
        """
        facts = {**facts, "epoch": epoch, "step": step, "identity": self.identity}
        text = np.frombuffer(json.dumps(facts).encode(), dtype="uint8")
        path = self.path / f"epoch{epoch:05d}-step{step:07d}.npz"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _files.write_arrays(path, {**arrays, _FACTS: text})
            for old in self._paths()[_NEWEST:]:
                old.unlink()
            _files.remove_unfinished(self.path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(
                f"A checkpoint cannot be written ({reason}): {path}."
            ) from None

    def newest(self):
        """Reads the newest checkpoint that is whole, and warns of damaged ones.

        Returns:
            (arrays, facts), or None where there is no checkpoint.

        Raises:
            UnusableCheckpointError: There are checkpoints, but all are damaged or
                cannot be read, or the newest whole one has another identity.
        """
        paths = self._paths()
        for path in paths:
            try:
                arrays = _files.read_arrays(path)
                facts = json.loads(arrays.pop(_FACTS).tobytes())
                facts["epoch"], facts["step"], facts["identity"]
            except (OSError, KeyError, TypeError, ValueError) as error:
                warnings.warn(
                    f"A damaged checkpoint is skipped, {path.name}: {error}",
                    stacklevel=2,
                )
                continue
            _check_same(path, facts["identity"], self.identity)
            return arrays, facts
        if paths:
            raise UnusableCheckpointError(
                f"No checkpoint in {self.path} can be read. Remove that folder to "
                "begin again."
            )
        return None

    def exists(self):
        """Returns whether there is a checkpoint."""
        return bool(self._paths())

    def clear(self):
        """Removes all checkpoints, what was left of one, and the folder."""
        if self.path.is_dir():
            _files.remove_unfinished(self.path)
            for path in self._paths():
                path.unlink(missing_ok=True)
            self.path.rmdir()

    def _paths(self):
        """The checkpoints, newest first."""
        return sorted(self.path.glob(_files.CHECKPOINT), reverse=True)


def _check_same(path, there, here):
    """Refuses a checkpoint whose facts differ from those of this training."""
    differences = [
        f"{name}={_value(there, name)} there, {name}={_value(here, name)} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differences:
        raise UnusableCheckpointError(
            f"{path} is a checkpoint of another training "
            f"({'; '.join(differences[:5])}). Remove its folder to begin again."
        )


def _value(facts, name):
    return repr(facts[name]) if name in facts else "nothing"


def _no_stop():
    return None


class Checkpoints(keras.callbacks.Callback):
    """Writes checkpoints in the `fit` of this module, and restores the newest.

    A checkpoint holds weights, batch normalization's statistics, the states of
    random layers, the optimizer, the metrics, the epoch and step, and the state of
    every other callback of that `fit` which has `get_state()` and `set_state(state)`
    (values that JSON can hold).

    Args:
        folder: A `CheckpointFolder`, or the path of one.
        minutes: Minutes, > 0, after which a checkpoint is written within an epoch.
            None: only at the end of every epoch.
        stop: Called without arguments after every step (of a model with
            `steps_per_execution`, every so many). When it returns an exception, a
            checkpoint is written and the exception raised.

    Attributes:
        epoch: The epoch that resumes, from 0.
        step: The next step in that epoch, from 0.

    Raises:
        ValueError: `minutes` is no number > 0; in another `fit`, as `model.fit`.
        CheckpointError: In `fit`: a checkpoint cannot be written, or the newest
            one belongs to another training or backend.

    Example:

    >>> import tempfile
    >>> import keras
    >>> import numpy as np
    >>> from mm_tf.checkpoints import Checkpoints, fit
    >>> from mm_tf.data import EpochOrder
    >>> folder = tempfile.mkdtemp()
    >>> x, y = np.eye(4, dtype="float32"), np.arange(4)
    >>> def train(epochs):
    ...     keras.utils.set_random_seed(0)
    ...     model = keras.Sequential([keras.Input([4]), keras.layers.Dense(4)])
    ...     loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ...     model.compile("sgd", loss)
    ...     checkpoints = Checkpoints(folder)
    ...     fit(model, x, y, EpochOrder(y, 2, seed=0), epochs, checkpoints, verbose=0)
    ...     return checkpoints.epoch
    >>> train(epochs=2), train(epochs=5)  # The second one trains three more.
    (2, 5)
    """

    def __init__(self, folder, minutes=None, stop=_no_stop):
        super().__init__()
        if not isinstance(folder, CheckpointFolder):
            folder = CheckpointFolder(folder)
        self.folder = folder
        if minutes is not None:
            minutes = _checks.check_number(
                "minutes", minutes, low=0.0, low_allowed=False
            )
        self.minutes = minutes
        self.stop: Callable[[], BaseException | None] = stop
        self.epoch = self.step = 0
        self._companions: dict[str, Any] = {}
        self._steps_per_epoch = 0
        self._first_step = 0
        self._training: Mapping[str, Any] = {}
        self._metrics: Mapping[str, np.ndarray] = {}
        self._states: Mapping[str, Any] = {}
        self._written_at = 0.0

    def _begin(self, model, order, companions):
        """Restores the newest checkpoint; returns whether there was one."""
        self.set_model(model)
        self._steps_per_epoch = order.steps_per_epoch
        with_state = [each for each in companions if hasattr(each, "get_state")]
        self._companions = {
            f"{type(callback).__name__}{index}": callback
            for index, callback in enumerate(with_state)
        }
        self._training = {
            "backend": _versions()["backend"],
            "callbacks": list(self._companions),
            "order": {name: getattr(order, name) for name in _ORDER_FACTS},
        }
        newest = self.folder.newest()
        if newest is None:
            return False
        arrays, facts = newest
        variables = _variables(model)
        _check_same(
            self.folder.path,
            {**facts.get("training", {}), **_shapes(arrays)},
            {**self._training, **_shapes(variables)},
        )
        if facts["versions"] != _versions():
            warnings.warn(
                f"The checkpoint was written with {facts['versions']}, and the "
                f"training resumes with {_versions()}: the weights may differ from "
                "those of a training with one set of versions.",
                stacklevel=3,
            )
        for key, variable in variables.items():
            variable.assign(arrays[key])
        self.epoch, self.step = facts["epoch"], facts["step"]
        self._metrics = {k: arrays[k] for k in variables if k.startswith("metrics/")}
        self._states = facts["states"]
        self._restore_companions()
        return True

    def _restore_companions(self):
        for name, state in self._states.items():
            self._companions[name].set_state(state)

    def on_train_begin(self, logs=None):
        if not self._training:
            raise ValueError(
                "Checkpoints works in `mm_tf.checkpoints.fit` only, which resumes at "
                "the newest one: any other `fit` would begin again and lose them. "
                "Received: Checkpoints among the callbacks of `model.fit`"
            )
        # Behind the other callbacks, which reset themselves here.
        self._restore_companions()
        self._written_at = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._first_step = self.step
        if self.step:
            # The sums of the epoch so far, which `fit` has just set to 0.
            variables = _variables(self.model)
            for key, array in self._metrics.items():
                variables[key].assign(array)

    def on_train_batch_end(self, batch, logs=None):
        self.step = self._first_step + batch + 1
        if self.step < self._steps_per_epoch:  # Else the epoch's end follows at once.
            passed = time.monotonic() - self._written_at
            self._look(self.minutes is not None and passed >= 60 * self.minutes)

    def on_epoch_end(self, epoch, logs=None):
        self.epoch, self.step = epoch + 1, 0
        self._look(is_due=True)

    def _look(self, is_due):
        """Writes a checkpoint where one is due or the training is to stop."""
        stopped = self.stop()
        if stopped is not None or is_due:
            self._write()
        if stopped is not None:
            raise stopped

    def _write(self):
        arrays = {
            key: ops.convert_to_numpy(variable)
            for key, variable in _variables(self.model).items()
        }
        # Gradients overflow before the loss does: such weights must not take the
        # place of good ones.
        floats = [array for array in arrays.values() if array.dtype.kind == "f"]
        if not all(np.isfinite(array).all() for array in floats):
            what = f"a weight is not finite before step {self.step}"
            raise DivergedError(self.model, self.epoch, what)
        self._states = {
            name: callback.get_state() for name, callback in self._companions.items()
        }
        facts = {
            "states": self._states,
            "versions": _versions(),
            "training": self._training,
        }
        self.folder.write(self.epoch, self.step, arrays, facts)
        self._written_at = time.monotonic()


def fit(
    model,
    images,
    labels,
    order,
    epochs,
    checkpoints,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
):
    """Trains to the last epoch, from where the newest checkpoint stands.

    Args:
        model: A compiled model whose layers are built; it gives one output. It may be
            a subclass of `keras.Model`.
        images: Images [N, ...].
        labels: Their classes, integers [N].
        order: The `mm_tf.data.EpochOrder` of the N examples.
        epochs: The epoch after the last one.
        checkpoints: A `Checkpoints`, or None to write none.
        callbacks: More callbacks. One whose memory should outlast a stop has
            `get_state` and `set_state`, as those of `mm_tf.callbacks`.
        verbose: As for `keras.Model.fit`.

    Raises:
        CheckpointError: As `Checkpoints`.
        ValueError: As `mm_tf.data.fit_data`; or the model is not compiled or not built
            or gives several outputs; or it averages its weights (`use_ema`) or has
            variables of a dtype that NumPy does not have, which could not resume as
            they were; or its `steps_per_execution` does not divide the steps of an
            epoch, past whose end Keras would train.
    """
    _check_model(model, order)
    _build_rest(model, images, labels, order)
    callbacks = list(callbacks)
    epoch = step = 0
    at_once = model.steps_per_execution
    try:
        if checkpoints is not None:
            if checkpoints._begin(model, order, callbacks) and verbose:
                print(_resumed(checkpoints, epochs))
            callbacks.append(checkpoints)
            epoch, step = checkpoints.epoch, checkpoints.step
        while epoch < epochs:
            # Keras's `fit` has no first step: the rest of an epoch is its own call.
            last = epoch + 1 if step else epochs
            steps = order.steps_per_epoch - step
            # Before the stop, another number of steps may have been taken at once.
            _take_at_once(model, at_once if steps % at_once == 0 else 1)
            for callback in callbacks:
                if isinstance(callback, StopOnDivergence):
                    callback.first_step = step
            model.fit(
                fit_data(images, labels, order, epochs, epoch, step),
                initial_epoch=epoch,
                epochs=last,
                steps_per_epoch=steps,
                callbacks=keras.callbacks.CallbackList(
                    # Our own list, whose progress bar counts to the last epoch.
                    callbacks,
                    add_history=True,
                    add_progbar=verbose != 0,
                    model=model,
                    verbose=verbose,
                    epochs=epochs,
                    steps=steps,
                ),
                shuffle=False,  # The order is the pipeline's.
                verbose=verbose,
            )
            if model.stop_training:
                break
            epoch, step = last, 0
    finally:
        _take_at_once(model, at_once)
        if checkpoints is not None:
            checkpoints._training = {}


def _take_at_once(model, steps):
    if model.steps_per_execution != steps:
        model.steps_per_execution = steps
        # Made for another number, they would skip batches; Keras makes new ones.
        model.train_function = model.test_function = model.predict_function = None


def _check_model(model, order):
    for is_done, what, how in (
        (model.compiled, "compiled", "model.compile(...)"),
        (model.built, "built", "model(images[:1])"),
    ):
        if not is_done:
            raise ValueError(
                f"`model` must be {what} before it can be trained or restored: call "
                f"`{how}`. Received: model={model!r}, which is not {what}"
            )
    if getattr(model.optimizer, "use_ema", False):
        raise ValueError(
            "`model` must have an optimizer without `use_ema`: Keras replaces the "
            "weights by their average at the end of each `fit`. Received: use_ema=True"
        )
    if order.steps_per_epoch % model.steps_per_execution:
        raise ValueError(
            "`model` must be compiled with a `steps_per_execution` that divides the "
            f"{order.steps_per_epoch} steps of an epoch. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )
    for variable in model.variables:
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if dtype == "bfloat16":
            raise ValueError(
                "`model` must have variables of a dtype that NumPy has (the policy "
                f"'mixed_bfloat16' has float32). Received: {variable.path} of {dtype}"
            )


def _resumed(checkpoints, epochs):
    if checkpoints.epoch >= epochs:
        return f"Already trained to the last epoch: {checkpoints.folder.path}"
    step = f", step {checkpoints.step}" if checkpoints.step else ""
    where = f"epoch {checkpoints.epoch}{step} (counted from 0)"
    return f"Resumes from {where}: {checkpoints.folder.path}"


def _build_rest(model, images, labels, order):
    """Makes the variables of optimizer and metrics, which Keras makes in `fit`."""
    spec = model.compute_output_spec(
        keras.KerasTensor((1, *images.shape[1:]), str(images.dtype))
    )
    if keras.tree.is_nested(spec):
        raise ValueError(
            "`model` must give one output, in no list or dict: an image has one label. "
            f"Received: a model with {len(keras.tree.flatten(spec))} outputs"
        )
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    outputs = ops.zeros(spec.shape, "float32")
    label = labels[:1]
    if order.is_mixed:
        label = np.eye(order.num_classes, dtype="float32")[label]
    model.compute_metrics(None, ops.convert_to_tensor(label), outputs)
    model.reset_metrics()


def _variables(model):
    """All that a training changes: {place: variable}."""
    sections = {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    return {
        f"{section}/{index}": variable
        for section, variables in sections.items()
        for index, variable in enumerate(variables)
    }


def _shapes(arrays):
    return {
        key: f"{tuple(array.shape)} {keras.backend.standardize_dtype(array.dtype)}"
        for key, array in arrays.items()
    }


def _versions():
    backend = keras.backend.backend()
    return {
        "backend": backend,
        "keras": keras.__version__,
        backend: metadata.version(backend),
    }
