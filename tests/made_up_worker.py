"""A worker that trains nothing, for tests of grids and searches."""

import dataclasses

from made_up import RESULT

from mm_tf.experiments import paper
from mm_tf.experiments.grids import worker
from mm_tf.experiments.runs.folder import RunFolder


class Killed(BaseException):
    """As `kill -9`: nothing after it is done."""


class MadeUpWorker:
    """Writes results whose errors are a function of their configs.

    Attributes:
        errors: From a config to the errors of its result, a dict.
        trained: The `RunConfig`s that it was given, in their order.
        failures: {number of a training from 0: what it raises}.
        killed_after: Number of a training after whose result it is killed.
    """

    outcomes = worker.Worker.outcomes

    def __init__(self, errors):
        self.errors = errors
        self.trained = []
        self.failures = {}
        self.killed_after = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def check_data(self, name, data_dir, options=None):
        pass

    def train(self, config, on_epoch=lambda epochs: None):
        number = len(self.trained)
        self.trained.append(config)
        on_epoch(1)
        if number in self.failures:
            raise self.failures[number]
        result = dataclasses.replace(
            RESULT,
            method=config.method,
            setting=config.setting,
            seed=config.seed,
            epochs=config.epochs,
            evaluated_on=config.evaluated_on,
            flags={**config.identity(), "backend": "tensorflow"},
            protocol_differences=list(paper.compare(config).differences),
            **self.errors(config),
        )
        folder = RunFolder(config)
        with folder.locked():
            folder.prepare()
            folder.finish(result)
        if number == self.killed_after:
            raise Killed
        return result
