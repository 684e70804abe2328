"""The error on test images after every epoch."""

from typing import Any

import keras
import numpy as np

from mm_tf import _checks, metrics
from mm_tf.data._checks import check_integers
from mm_tf.data.prediction import prediction_data


class TestError(keras.callbacks.Callback):
    """Measures the error on test images after every epoch, also class by class.

    It adds to the logs, in %: `test_top1_error`, `test_balanced_error` (the mean
    over classes) and `test_many_shot_error`, `test_medium_shot_error`,
    `test_few_shot_error` (the mean over the classes of the group, where there are
    any). What a callback behind it, or `fit`'s history, reads, holds them. With
    another `name` they begin with that. To monitor one, put `TestError` in front of
    `EarlyStopping` with `mode="min"`, which Keras cannot tell from the name.

    Args:
        images: Test images [N, height, width, channels], as the model takes them: an
            array or an `mm_tf.data.ImageFiles`, which is read batch by batch.
        labels: Integer labels, [N].
        class_counts: Training images of each class, [K], for the shot groups.
        batch_size: Images of a step, >= 1.
        name: What the images are, with which the names in the logs begin:
            `"holdout"`, say.
        output: The name of the output that gives the classes, in a model that gives
            several; its place where they are a list without names.

    Raises:
        ValueError: An argument is not as described, or there are not as many labels
            as images. After an epoch: the model has several outputs and `output`
            names none of them.

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

    def __init__(
        self,
        images,
        labels,
        class_counts,
        batch_size=500,
        name="test",
        output=None,
    ):
        super().__init__()
        self.name = name
        self.output = output
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
                "`images` and `labels` must have the same length. "
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
        """Resumes from what `get_state` gave."""
        self.per_class_errors = [
            np.asarray(errors) for errors in state["per_class_errors"]
        ]
        self.predictions = np.asarray(state["predictions"], dtype=int)

    def on_train_begin(self, logs=None):
        self.per_class_errors = []
        self._predict_function = None, 0
        if len(getattr(self.model, "outputs", None) or ()) > 1:
            # Known before training, unlike those of a subclassed model.
            self._classes_of(self.model.output)

    def on_epoch_end(self, epoch, logs=None):
        outputs = self._classes_of(self.outputs(self.model))
        self.predictions = np.argmax(outputs, axis=-1)
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

    def _classes_of(self, outputs):
        """That of the outputs which gives the classes."""
        flat = keras.tree.flatten(outputs)
        if len(flat) == 1:
            return flat[0]
        if isinstance(outputs, dict):
            named = outputs
        else:
            names = getattr(self.model, "output_names", ())
            named = dict(enumerate(outputs)) | dict(zip(names, outputs, strict=False))
        if self.output not in named:
            raise ValueError(
                "`output` must name the output that gives the classes: one of "
                f"{list(named)}. Received: output={self.output!r}"
            )
        return named[self.output]

    def outputs(self, model):
        """Returns a model's outputs for the images, [N, K].

        It predicts batch by batch, however many steps a training takes at once: Keras
        would hold as many batches in memory. It keeps what it made for one number of
        steps, and for one set of trainable variables: so does this.
        """
        at_once = model.steps_per_execution
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
