"""A grid of runs on the machines of a Ray cluster, each run a task.

    from mm_tf.experiments.grids import cluster, grid

    configs = grid.grid(["erm", "mm_drw"], ["digits_lt20"], [0, 1, 2], epochs=50)
    results, failures = grid.run_grid(configs, worker=cluster.Cluster("saved_models"))

A run whose machine dies resumes on another one from its last checkpoint. For that all
machines must see the folder of the runs.
"""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import socket
import uuid

from mm_tf import _checks, _files
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.grids import worker
from mm_tf.experiments.machine import environment
from mm_tf.experiments.paper.methods import for_other_process
from mm_tf.experiments.runs.run import RunFailedError

# A machine may die by chance; so many do not.
_MOST_RETRIES = 10

_SECONDS_TO_REACH = 5

# Runs that share a GPU must share its memory; some is left for the driver.
_SHARE_OF_MEMORY = 0.9


class _NotSeenError(ValueError):
    """A machine does not see the folder of the runs."""


class Cluster:
    """Trains runs on a Ray cluster, as many at a time as there is room for.

    `run_grid` enters and leaves it; when it is left, the runs under way are stopped,
    with a checkpoint.
    """

    def __init__(
        self, root, address=None, gpus=None, cpus=1.0, backend=None, devices=None
    ):
        self._root = pathlib.Path(root).expanduser().resolve()
        self._address = address
        if gpus is not None:
            gpus = _checks.check_number("gpus_per_run", gpus, low=0.0)
            if gpus > 1 and gpus != int(gpus):
                raise ValueError(
                    "`gpus_per_run` must be a whole number, or below 1. "
                    f"Received: gpus_per_run={gpus}"
                )
        self._gpus = gpus
        self._devices = devices or 1
        self._cpus = _checks.check_number(
            "cpus_per_run", cpus, low=0.0, low_allowed=False
        )
        self._backend = backend
        if address not in (None, "auto"):
            _checks.check_address("ray_address", address)
        if importlib.util.find_spec("ray") is None:
            raise ValueError(
                "`executor` ray needs the package ray: in a checkout of mm_tf, "
                "pip install --editable '.[ray]'. Received: executor='ray'"
            )

    def __enter__(self):
        import ray

        self._ray = ray
        with contextlib.ExitStack() as stack:
            # A program that is connected already stays so.
            if not ray.is_initialized():
                self._connect()
                stack.callback(ray.shutdown)
            self._check_room()
            self._root.mkdir(parents=True, exist_ok=True)
            self._mark = self._root / f".cluster-{uuid.uuid4().hex}"
            _files.write_text(self._mark, "")
            stack.callback(self._mark.unlink, missing_ok=True)
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._undo.close()

    def _connect(self):
        try:
            if self._address not in (None, "auto"):
                # Ray would try for minutes.
                place = _checks.check_address("ray_address", self._address)
                socket.create_connection(place, _SECONDS_TO_REACH).close()
            self._ray.init(
                # By default Ray would join a cluster that happens to run here.
                address=self._address or "local",
                log_to_driver=False,
                include_dashboard=None if self._address else False,
                logging_level="ERROR",
            )
        except OSError as error:
            raise ValueError(
                f"`ray_address` cannot be reached ({error.strerror or error}). "
                f"Received: ray_address={self._address!r}"
            ) from None

    def _check_room(self):
        """Refuses runs for which no machine is large enough: they would never begin."""
        there = self._ray.cluster_resources()
        if self._gpus is None:
            self._gpus = self._devices if there.get("GPU") else 0
        rooms = [
            (node["Resources"].get("GPU", 0), node["Resources"].get("CPU", 0))
            for node in self._nodes()
        ]
        if not any(gpus >= self._gpus and cpus >= self._cpus for gpus, cpus in rooms):
            has = ", ".join(
                f"{gpus:g} and {cpus:g}" for gpus, cpus in sorted(set(rooms))
            )
            raise ValueError(
                "`gpus_per_run` and `cpus_per_run` must be at most what one machine of "
                f"the cluster has (GPUs and cores: {has}). Received: "
                f"gpus_per_run={self._gpus:g}, cpus_per_run={self._cpus:g}"
            )

    def _nodes(self):
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _environment(self):
        variables = {
            name: os.environ.get(name, value)
            for name, value in environment.variables_for_tensorflow().items()
        }
        if self._backend is not None:
            variables["KERAS_BACKEND"] = self._backend
        if 0 < self._gpus < 1:
            variables["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
            share = _SHARE_OF_MEMORY * self._gpus
            variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{share:.2f}"
        return variables

    def check_data(self, name, data_dir, options=None):
        """Raises a DatasetUnavailableError unless every machine can read a data set."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        check = self._ray.remote(num_cpus=0, max_retries=0)(_check_machine)
        checks = [
            check.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(
                    node["NodeID"], soft=False
                )
            ).remote(self._mark, name, _absolute(data_dir), options)
            for node in self._nodes()
        ]
        errors = self._ray.exceptions
        for reference in checks:
            try:
                self._ray.get(reference)
            except errors.RayTaskError as error:
                if isinstance(error.cause, (_NotSeenError, DatasetUnavailableError)):
                    raise error.cause from None
                raise DatasetUnavailableError(
                    f"A machine of the cluster cannot start: {_last_line(error)}"
                ) from None
            except errors.RayError:
                continue  # The machine has just gone, and its runs go elsewhere.

    def outcomes(self, configs, progress):
        """Trains runs side by side, as `worker.outcomes` does one by one."""
        for config in configs:
            # It is part of what the run is, so it stays as it was given.
            if config.weights not in (None, "imagenet", _absolute(config.weights)):
                raise ValueError(
                    "`weights` must be an absolute path on a cluster. "
                    f"Received: weights={config.weights!r}"
                )
        train = self._ray.remote(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_retries=_MOST_RETRIES,
            runtime_env={"env_vars": self._environment()},
        )(_train)
        under_way = {
            train.remote(
                self._mark, _everywhere(config), for_other_process(config.method)
            ): config
            for config in configs
        }
        try:
            while under_way:
                ended, _ = self._ray.wait(
                    list(under_way), timeout=worker.SECONDS_OF_A_LOOK
                )
                progress.look(under_way.values())
                for reference in ended:
                    yield under_way.pop(reference), self._outcome(reference)
        finally:
            for reference in under_way:
                self._ray.cancel(reference)
            if under_way:
                self._ray.wait(
                    list(under_way),
                    num_returns=len(under_way),
                    timeout=worker.SECONDS_TO_STOP,
                )

    def _outcome(self, reference):
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, _NotSeenError):
                raise error.cause from None
            if isinstance(error.cause, RunFailedError):
                return error.cause
            return worker.RunCrashedError(f"its process failed: {_last_line(error)}")
        except errors.RayError as error:
            return worker.RunCrashedError(
                f"its process ended again and again, {_MOST_RETRIES + 1} times, or no "
                f"machine is left: {_last_line(error)}"
            )


def _last_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _everywhere(config):
    """The config with paths that mean the same in every process of the cluster."""
    return dataclasses.replace(
        config,
        output_dir=str(config.run_folder.resolve()),
        first_stage=_absolute(config.first_stage),
        data_dir=_absolute(config.data_dir),
    )


def _absolute(folder):
    return None if folder is None else str(pathlib.Path(folder).expanduser().resolve())


def _check_machine(mark, name, data_dir, options):
    """On a machine of the cluster: refuses one without the runs' folder or the data."""
    _check_sees(mark)
    try:
        worker.check_data_here(name, data_dir, options)
    except DatasetUnavailableError as error:
        raise DatasetUnavailableError(f"{socket.gethostname()}: {error}") from None


def _train(mark, config, method):
    """On a machine of the cluster: trains a run."""
    _check_sees(mark)
    return worker.train(config, method=method)


def _check_sees(mark):
    if not mark.exists():
        raise _NotSeenError(
            "`output_dir` must be a folder that every machine of the cluster sees, by "
            f"the same path, and {socket.gethostname()} does not. "
            f"Received: output_dir={mark.parent}"
        )
