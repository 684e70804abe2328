"""Callbacks: deferred re-weighting, the learning rate, test error, speed, a log.

Those with a memory give it as `get_state()` and take it with `set_state(state)`, so
that `mm_tf.checkpoints` can keep it: values that JSON can hold.
"""

import csv
import io
import pathlib
import time
from typing import Any

import keras
import numpy as np

from mm_tf import _checks, _files, metrics
from mm_tf.data._checks import check_integers
from mm_tf.data.prediction import prediction_data
from mm_tf.divergence import StopOnDivergence, warn_of_head
from mm_tf.losses import ClassWeighted
from mm_tf.losses.class_weighted import check_class_weights
from mm_tf.optimizers import SGD

__all__ = [
    "DeferredReweighting",
    "EpochLog",
    "PAPER_DROPS",
    "StopOnDivergence",
    "TestError",
    "Throughput",
    "WarmUpStepDecay",
    "warm_up_step_decay",
]

PAPER_DROPS = ((160, 1e-2), (180, 1e-4))


class DeferredReweighting(keras.callbacks.Callback):
    """Weighs the classes from a given epoch on (DRW).

    The model must be compiled with a `mm_tf.losses.ClassWeighted` loss. Before
    `start_epoch` all classes weigh 1, from it on `class_weights`; which epoch it
    is decides alone, so that `fit(..., initial_epoch=170)` has the weights too.

    Args:
        class_weights: The weight of each class, [K]: `effective_number(counts)`
            or `inverse_frequency(counts)` of `mm_tf.class_weights`.
        start_epoch: The first epoch, counted from 0, with these weights.

    Raises:
        ValueError: `start_epoch` is negative, or `class_weights` are no numbers
            >= 0 of which one is above 0; when training begins: the model's loss is
            not `ClassWeighted`, or it has another number of classes.

    Example:

    >>> import keras
    >>> import mm_tf
    >>> counts = [500, 50]
    >>> model = keras.Sequential([keras.Input([8]), mm_tf.layers.NormalizedDense(2)])
    >>> loss = mm_tf.losses.ClassWeighted(mm_tf.losses.MaximumMargin(), 2)
    >>> model.compile(optimizer="sgd", loss=loss)
    >>> weights = mm_tf.class_weights.inverse_frequency(counts)
    >>> drw = mm_tf.callbacks.DeferredReweighting(weights, start_epoch=1)
    >>> x, y = keras.ops.ones([4, 8]), keras.ops.zeros([4])
    >>> history = model.fit(x, y, epochs=2, callbacks=[drw], verbose=0)
    >>> print(loss.class_weights.round(3))
    [0.182 1.818]

    Source: Kang, Vu, Yoo 2021, Algorithm 1 (after Cao et al. 2019).
    """

    def __init__(self, class_weights, start_epoch=160):
        super().__init__()
        self.class_weights = check_class_weights(
            class_weights, np.size(class_weights), "float64"
        )
        self.start_epoch = _checks.check_integer("start_epoch", start_epoch, low=0)

    def on_train_begin(self, logs=None):
        warn_of_head(self.model)
        losses = self._class_weighted_losses()
        if not losses:
            raise ValueError(
                "DeferredReweighting needs a model compiled with a "
                "`mm_tf.losses.ClassWeighted` loss, for example "
                "`loss=ClassWeighted(MaximumMargin(), num_classes)`. "
                f"Received: loss={getattr(self.model, 'loss', None)!r}"
            )
        for loss in losses:
            if self.class_weights.shape != (loss.num_classes,):
                raise ValueError(
                    f"`class_weights` must be {loss.num_classes} numbers, one for each "
                    "class of the loss. Received: "
                    f"class_weights.shape={self.class_weights.shape}"
                )

    def on_epoch_begin(self, epoch, logs=None):
        is_on = epoch >= self.start_epoch
        weights = self.class_weights if is_on else np.ones_like(self.class_weights)
        changed = False
        for loss in self._class_weighted_losses():
            if not np.allclose(loss.class_weights, weights, rtol=1e-6, atol=0):
                loss.set_class_weights(weights)
                changed = True
        if changed and keras.backend.backend() == "jax":
            # JAX compiled the old weights into its steps as constants.
            self.model.make_train_function(force=True)
            self.model.test_function = None

    def _class_weighted_losses(self):
        losses = keras.tree.flatten(getattr(self.model, "loss", None))
        return [loss for loss in losses if isinstance(loss, ClassWeighted)]


class FrozenBackbone(keras.callbacks.Callback):
    """Trains the head alone in the first epochs, then the backbone with it.

    Frozen, the backbone's weights stay as they are, and its batch normalization is
    that of inference: fresh heads have large gradients, which would spoil what the
    backbone knows. Which epoch is frozen depends on its number alone, so a training
    that was stopped goes on as it was.

    Args:
        epochs: The number of first epochs, >= 0, in which the backbone is frozen.
        layer: The name of the backbone's layer. None: the layer of the model that is
            itself a `keras.Model`, as of `mm_tf.models.with_cosine_head`.

    Raises:
        ValueError: An argument is not as described; in `fit`, the model has no such
            layer, or, on JAX, its optimizer is not `mm_tf.optimizers.SGD`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import mm_tf
    >>> backbone = keras.Sequential([keras.Input([4, 4, 1]), keras.layers.Flatten()])
    >>> model = mm_tf.models.with_cosine_head(backbone, num_classes=2)
    >>> model.compile(mm_tf.optimizers.SGD(0.1), mm_tf.losses.MaximumMargin())
    >>> x, y = np.ones((2, 4, 4, 1)), np.arange(2)
    >>> frozen = mm_tf.callbacks.FrozenBackbone(epochs=1)
    >>> history = model.fit(x, y, epochs=2, callbacks=[frozen], verbose=0)
    >>> backbone.trainable
    True

    Source: Chollet, "Transfer learning & fine-tuning", keras.io, 2020.
    """

    def __init__(self, epochs, layer=None):
        super().__init__()
        self.epochs = _checks.check_integer("epochs", epochs, low=0)
        if layer is not None and not isinstance(layer, str):
            raise ValueError(
                f"`layer` must be the name of a layer. Received: layer={layer!r}"
            )
        self.layer = layer

    def _backbone(self):
        if self.layer is not None:
            return self.model.get_layer(self.layer)
        found = [each for each in self.model.layers if isinstance(each, keras.Model)]
        if len(found) != 1:
            raise ValueError(
                "`layer` must be given: of the model's layers, one alone should be a "
                f"model itself. Received: a model with {len(found)}"
            )
        return found[0]

    def on_epoch_begin(self, epoch, logs=None):
        self._set(epoch >= self.epochs)

    def on_train_end(self, logs=None):
        # As the model is to be saved.
        self._set(True)

    def _set(self, is_trainable):
        backbone, model = self._backbone(), self.model
        if backbone.trainable == is_trainable:
            return
        optimizer = model.optimizer
        if not optimizer.built:
            # With all variables, so that it knows them when they are trained.
            optimizer.build(model.trainable_variables)
        backbone.trainable = is_trainable
        if isinstance(optimizer, SGD):
            optimizer.train_only(model.trainable_variables)
        elif keras.backend.backend() == "jax":
            backbone.trainable = not is_trainable
            raise ValueError(
                "On JAX the optimizer must be `mm_tf.optimizers.SGD` for a backbone to "
                f"be frozen for a while. Received: optimizer={optimizer!r}"
            )
        # The compiled step has the old variables in it.
        model.make_train_function(force=True)
        if hasattr(model, "_record_training_state_sharding_spec"):
            # JAX: where each trainable variable lies, which `fit` noted at its begin.
            model._record_training_state_sharding_spec()
        if keras.backend.backend() == "jax":
            # On several devices these, too, are compiled for the variables there were.
            model.test_function = model.predict_function = None


def warm_up_step_decay(epoch, learning_rate, warmup_epochs=5, drops=PAPER_DROPS):
    """Returns the learning rate of an epoch: linear warm-up, then steps down.

    Args:
        epoch: The epoch, counted from 0.
        learning_rate: The rate after the warm-up.
        warmup_epochs: w: epoch e < w has the rate (e + 1) / w of it.
        drops: Pairs (epoch, factor), epochs ascending: from that epoch on the rate
            is `learning_rate * factor`. Factors do not multiply each other.

    Example:

    >>> import mm_tf
    >>> for epoch in (0, 4, 159, 160, 180):
    ...     print(epoch, f"{mm_tf.callbacks.warm_up_step_decay(epoch, 0.1):.0e}")
    0 2e-02
    4 1e-01
    159 1e-01
    160 1e-03
    180 1e-05

    Source: the code of Cao et al. 2019, which the authors of the paper use.
    """
    if epoch < warmup_epochs:
        return learning_rate * (epoch + 1) / warmup_epochs
    factor = 1.0
    for first_epoch, dropped in drops:
        if epoch >= first_epoch:
            factor = dropped
    return learning_rate * factor


class WarmUpStepDecay(keras.callbacks.LearningRateScheduler):
    """Sets the learning rate of each epoch: linear warm-up, then steps down.

    See `warm_up_step_decay`. By default the paper's 200 epochs: 5 of warm-up,
    x 0.01 from epoch 160, x 0.0001 from epoch 180. A drop inside the warm-up acts
    when that has ended.

    Args:
        learning_rate: The rate after the warm-up, > 0.
        warmup_epochs: The number of epochs of warm-up, >= 0.
        drops: Pairs (epoch, factor), epochs ascending.

    Raises:
        ValueError: An argument is not as described.

    Example:

    >>> import mm_tf
    >>> schedule = mm_tf.callbacks.WarmUpStepDecay(0.1, drops=[(8, 0.01)])
    >>> round(schedule.schedule(9), 6)
    0.001
    """

    def __init__(self, learning_rate, warmup_epochs=5, drops=PAPER_DROPS):
        self.learning_rate = _checks.check_number(
            "learning_rate", learning_rate, low=0.0, low_allowed=False
        )
        self.warmup_epochs = _checks.check_integer(
            "warmup_epochs", warmup_epochs, low=0
        )
        if not isinstance(drops, list | tuple):
            raise ValueError(
                f"`drops` must be pairs (epoch, factor). Received: drops={drops!r}"
            )
        self.drops = tuple(_checked_drop(drop) for drop in drops)
        epochs = [epoch for epoch, _ in self.drops]
        if epochs != sorted(epochs):
            raise ValueError(
                f"The epochs of `drops` must ascend. Received: drops={drops!r}"
            )
        super().__init__(
            lambda epoch, _=None: warm_up_step_decay(
                epoch, self.learning_rate, self.warmup_epochs, self.drops
            )
        )


def _checked_drop(drop):
    try:
        epoch, factor = drop
    except (TypeError, ValueError):
        raise ValueError(
            f"`drops` must be pairs (epoch, factor). Received: drops with {drop!r}"
        ) from None
    return (
        _checks.check_integer("epoch of a drop", epoch, low=0),
        _checks.check_number("factor of a drop", factor, low=0.0, low_allowed=False),
    )


class TestError(keras.callbacks.Callback):
    """Measures the error on test images after every epoch, also class by class.

    It adds to the logs, in %: `test_top1_error`, `test_balanced_error` (the mean
    over classes) and `test_many_shot_error`, `test_medium_shot_error`,
    `test_few_shot_error` (the mean over the classes of the group, where there are
    any). What a callback behind it, or `fit`'s history, reads, holds them. With
    another `name` they begin with that.

    Args:
        images: Test images [N, height, width, channels], as the model takes them: an
            array or an `mm_tf.data.ImageFiles`, which is read batch by batch.
        labels: Integer labels, [N].
        class_counts: Training images of each class, [K], for the shot groups.
        batch_size: Images of a step, >= 1.
        name: What the images are, with which the names in the logs begin:
            `"holdout"`, say.

    Raises:
        ValueError: An argument is not as described, or there are not as many labels
            as images.

    Attributes:
        per_class_errors: For each epoch, the error of each class in %, [K].
        predictions: The predicted classes after the last epoch, [N]; none before.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import mm_tf
    >>> model = keras.Sequential([keras.Input([2]), mm_tf.layers.NormalizedDense(2)])
    >>> model.compile("sgd", mm_tf.losses.MaximumMargin())
    >>> x, y = np.eye(2, dtype="float32"), np.arange(2)
    >>> test = mm_tf.callbacks.TestError(x, y, class_counts=[500, 5])
    >>> history = model.fit(x, y, callbacks=[test], verbose=0).history
    >>> [len(errors) for errors in test.per_class_errors]
    [2]
    """

    # Its name begins as pytest's test classes do.
    __test__ = False

    def __init__(self, images, labels, class_counts, batch_size=500, name="test"):
        super().__init__()
        self.name = name
        self.images = images
        self.batch_size = _checks.check_integer("batch_size", batch_size, low=1)
        self.num_classes = len(_checks.check_class_counts(class_counts))
        self.labels = check_integers("labels", labels, low=0)
        if self.labels.max() >= self.num_classes:
            raise ValueError(
                f"`labels` must be below {self.num_classes}, the number of class "
                f"counts. Received: labels with {self.labels.max()} in it"
            )
        if len(images) != len(self.labels):
            raise ValueError(
                "`images` and `labels` must be as many as each other. "
                f"Received: {len(images)} images, {len(self.labels)} labels"
            )
        self._groups = {
            group: metrics.shot_group(class_counts, group)
            for group in metrics.SHOT_GROUPS
        }
        self.per_class_errors = []
        self.predictions = np.empty(0, dtype=int)
        self._predict_function: tuple[Any, int] = None, 0

    def get_state(self):
        """Returns the errors of the epochs so far and the last predictions."""
        return {
            "per_class_errors": [errors.tolist() for errors in self.per_class_errors],
            "predictions": self.predictions.tolist(),
        }

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self.per_class_errors = [
            np.asarray(errors) for errors in state["per_class_errors"]
        ]
        self.predictions = np.asarray(state["predictions"], dtype=int)

    def on_train_begin(self, logs=None):
        self.per_class_errors = []
        self._predict_function = None, 0

    def on_epoch_end(self, epoch, logs=None):
        self.predictions = np.argmax(self._outputs(), axis=-1)
        errors = metrics.per_class_error(
            self.labels, self.predictions, self.num_classes
        )
        self.per_class_errors.append(errors)
        if logs is None:
            return
        logs[f"{self.name}_top1_error"] = 100.0 * float(
            np.mean(self.predictions != self.labels)
        )
        logs[f"{self.name}_balanced_error"] = metrics.mean_error(errors)
        for group, classes in self._groups.items():
            error = metrics.mean_error(errors, classes)
            if error is not None:
                logs[f"{self.name}_{group}_shot_error"] = error

    def _outputs(self):
        """Predicts batch by batch, however many steps a training takes at once.

        Keras would hold as many batches in memory. It keeps what it made for one
        number of steps, and for one set of trainable variables: so does this.
        """
        model, at_once = self.model, self.model.steps_per_execution
        made_for = len(model.trainable_variables)
        theirs = model.predict_function
        if at_once > 1:
            function, made_before_for = self._predict_function
            model.predict_function = function if made_before_for == made_for else None
            model.steps_per_execution = 1
        try:
            return model.predict(
                prediction_data(self.images, self.batch_size),
                batch_size=self.batch_size,
                verbose=0,
            )
        finally:
            if at_once > 1:
                self._predict_function = model.predict_function, made_for
                model.predict_function = theirs
                model.steps_per_execution = at_once


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
        """Goes on from what `get_state` gave."""
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

    Unlike `keras.callbacks.CSVLogger` it goes on where a training was stopped, and
    the file is whole at any moment. It must stand behind callbacks that add logs.

    Args:
        path: The CSV file, which is replaced; None for none.

    Attributes:
        rows: For each epoch {"epoch": its number from 0, name: value}.

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
        self.rows: list[dict[str, float]] = []

    def get_state(self):
        """Returns the rows so far."""
        return {"rows": self.rows}

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self.rows = list(state["rows"])
        self._write()

    def on_train_begin(self, logs=None):
        self.rows = []

    def on_epoch_end(self, epoch, logs=None):
        values = {name: float(value) for name, value in sorted((logs or {}).items())}
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
