"""A run as KerasTuner's hypermodel, for searches that people write themselves."""

import dataclasses

import keras_tuner
from keras_tuner.errors import FailedTrialError

from mm_tf import callbacks as callbacks_module
from mm_tf.callbacks import DivergedError
from mm_tf.data import fit_data
from mm_tf.experiments.machine import determinism
from mm_tf.experiments.runs import first_stage, images, training
from mm_tf.experiments.searches import space


class RunHyperModel(keras_tuner.HyperModel):
    """Builds and trains the model of a run with the values that a tuner draws.

    A tuner that trains for fewer epochs, as `keras_tuner.Hyperband`, trains the first
    epochs of the config's schedule.

    Attributes:
        config: The config.
        dimensions: The dimensions.
        objective: The `keras_tuner.Objective` to give a tuner: the balanced error in %
            after the last epoch, on the hold-out or the test images, to be minimized.
    """

    def __init__(self, config, dimensions):
        super().__init__()
        self.config = config
        self.dimensions = tuple(dimensions)
        name = f"{config.evaluated_on}_balanced_error"
        self.objective = keras_tuner.Objective(name, "min")
        self._data = None

    def config_of(self, hp):
        """Returns the `RunConfig` of values."""
        values = {each.name: space.declare(hp, each) for each in self.dimensions}
        return dataclasses.replace(self.config, **values)

    def build(self, hp):
        """Returns the compiled model of values."""
        info = self.data.info  # What the config is to know is in the data.
        return training.build_model(self.config_of(hp), info)

    @property
    def data(self):
        """The `ImageData`: read when it is first asked for, then kept."""
        if self._data is None:
            whole = images.load_whole(self.config)
            self.config = self.config.on(whole)
            self._data = images.subset(self.config, whole)
        return self._data

    def fit(self, hp, model, callbacks=(), epochs=None, initial_epoch=0, verbose=None):
        """Trains a model as a run of the values does."""
        data = self.data
        config = self.config_of(hp)
        verbose = training.verbosity() if verbose is None else verbose
        try:
            with determinism.computing(config.deterministic):
                last = config.epochs if epochs is None else epochs
                return self._fit(
                    config, data, model, callbacks, initial_epoch, last, verbose
                )
        except DivergedError as error:
            raise FailedTrialError(str(error)) from None

    @staticmethod
    def _fit(config, data, model, callbacks, first, epochs, verbose):
        if not first:
            first_stage.start(config, data.train_images, model, verbose)
        order = training.build_order(config, data.train_labels)
        history = model.fit(
            fit_data(data.train_images, data.train_labels, order, epochs, first),
            initial_epoch=first,
            epochs=epochs,
            steps_per_epoch=order.steps_per_epoch,
            callbacks=[
                callbacks_module.StopOnDivergence(),
                *training.schedule(config),
                training.test_error(config, data),
                *callbacks,
            ],
            shuffle=False,  # The order is the pipeline's.
            verbose=verbose,
        ).history
        return {
            name: float(values[-1])
            for name, values in history.items()
            if name.startswith(f"{config.evaluated_on}_")
        }
