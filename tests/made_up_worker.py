"""A worker that trains nothing, for tests of grids and searches."""

import dataclasses

from made_up import RESULT

from mm_tf.experiments import paper
from mm_tf.experiments.grids import worker
from mm_tf.experiments.runs.folder import RunFolder


class Killed(BaseException):
    """As `kill -9`: nothing after it is done."""


class MadeUpWorker:
    """Stands for what trains; writes results whose errors are a function of configs.

    Attributes:
        errors: From a config to the errors of its result, a dict.
        trained: The `RunConfig`s that it was given, in their order.
        failures: {number of a training from 0: what it raises}.
        killed_after: Number of a training after whose result it is killed.
    """

    def __init__(self, errors, monkeypatch):
        self.errors = errors
        self.trained = []
        self.failures = {}
        self.killed_after = None
        monkeypatch.setattr(worker, "train", self.train)
        monkeypatch.setattr(worker, "check_data", lambda *_: None)

    def train(self, config, on_look):
        number = len(self.trained)
        self.trained.append(config)
        on_look()
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
