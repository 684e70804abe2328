"""A run as KerasTuner's hypermodel, for searches that people write themselves."""

import functools

import keras_tuner
from keras_tuner.errors import FailedTrialError

from mm_tf.callbacks import DivergedError, StopOnDivergence
from mm_tf.data import fit_data
from mm_tf.experiments.machine import determinism
from mm_tf.experiments.runs import first_stage, training
from mm_tf.experiments.runs.data import read
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
        if config.row.second_stage != "none":
            raise ValueError(
                "`config` must be of a method that is trained in one stage; the "
                f"command searches the others. Received: method={config.method!r}"
            )
        self.config = config
        self.dimensions = tuple(dimensions)
        name = f"{config.evaluated_on}_balanced_error"
        self.objective = keras_tuner.Objective(name, "min")

    def config_of(self, hp):
        """Returns the `RunConfig` of values."""
        values = {each.name: space.declare(hp, each) for each in self.dimensions}
        return self.config.with_values(values)

    @functools.cached_property
    def data(self):
        """The `ImageData`, read when it is first asked for."""
        self.config, data = read(self.config)
        return data

    def build(self, hp):
        """Returns the compiled model of values."""
        info = self.data.info  # First: it completes the config.
        return training.build_model(self.config_of(hp), info, self.data.train_images)

    def fit(self, hp, model, callbacks=(), epochs=None, initial_epoch=0, verbose=None):
        """Trains a model as a run of the values does."""
        data = self.data
        config = self.config_of(hp)
        epochs = config.epochs if epochs is None else epochs
        verbose = training.verbosity() if verbose is None else verbose
        order = training.build_order(config, data.train_labels, data.info)
        images_and_labels = data.train_images, data.train_labels
        batches = fit_data(*images_and_labels, order, epochs, initial_epoch)
        with determinism.computing(config.deterministic):
            if not initial_epoch:
                first_stage.start(config, data, model, verbose)
            try:
                history = model.fit(
                    batches,
                    initial_epoch=initial_epoch,
                    epochs=epochs,
                    steps_per_epoch=order.steps_per_epoch,
                    callbacks=[
                        StopOnDivergence(),
                        *training.schedule(config),
                        training.error_callback(config, data),
                        *callbacks,
                    ],
                    shuffle=False,  # The order is the pipeline's.
                    verbose=verbose,
                ).history
            except DivergedError as error:
                raise FailedTrialError(str(error)) from None
        return {
            name: float(values[-1])
            for name, values in history.items()
            if name.startswith(f"{config.evaluated_on}_")
        }
