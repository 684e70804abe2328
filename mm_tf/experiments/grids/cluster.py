"""A grid of runs on the machines of a Ray cluster, each run a task.

    from mm_tf.experiments.grids import cluster, grid

    configs = grid.grid(["erm", "mm_drw"], ["digits_lt20"], [0, 1, 2], epochs=50)
    results, failures = grid.run_grid(configs, worker=cluster.Cluster("saved_models"))

A run whose machine dies resumes on another one from its last checkpoint. For that all
machines must see the folder of the runs.
"""

import dataclasses
import importlib.util
import os
import pathlib
import socket
import time
import uuid

from mm_tf import _checks, _files
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import worker
from mm_tf.experiments.machine import environment
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.run import RunFailedError

# A machine may die by chance; so many do not.
_MOST_RETRIES = 10

# Until a folder is free into which a process of a dead machine wrote.
_SECONDS_TO_LET_GO = 120
_SECONDS_OF_A_LOOK = 1.0

_SECONDS_TO_REACH = 5

# Runs that share a GPU must share its memory; some is left for the driver.
_SHARE_OF_MEMORY = 0.9


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
        # A program that is connected already stays so.
        self._connects = not ray.is_initialized()
        if self._connects:
            self._connect()
        try:
            self._begin()
        except BaseException:
            self._leave()
            raise
        return self

    def _connect(self):
        if self._address not in (None, "auto"):
            _reach(self._address)
        try:
            self._ray.init(
                # By default Ray would join a cluster that happens to run here.
                address=self._address or "local",
                log_to_driver=False,
                include_dashboard=None if self._address else False,
                logging_level="ERROR",
            )
        except ConnectionError as error:
            raise ValueError(
                f"`ray_address` cannot be reached ({error}). "
                f"Received: ray_address={self._address!r}"
            ) from None

    def _leave(self):
        if self._connects:
            self._ray.shutdown()

    def _begin(self):
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
        self._root.mkdir(parents=True, exist_ok=True)
        self._mark = self._root / f".cluster-{uuid.uuid4().hex}"
        _files.write_text(self._mark, "")
        self._run = self._ray.remote(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_retries=_MOST_RETRIES,
            runtime_env={"env_vars": self._environment()},
        )(_run)

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

    def __exit__(self, *_):
        try:
            self._mark.unlink(missing_ok=True)
        finally:
            self._leave()

    def check_data(self, name, data_dir, options=None):
        """Raises a DatasetUnavailableError unless every machine can read a data set."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        look = self._ray.remote(num_cpus=0, max_retries=0)(_look)
        looks = [
            look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(
                    node["NodeID"], soft=False
                )
            ).remote(str(self._mark), name, _absolute(data_dir), options)
            for node in self._nodes()
        ]
        for reference in looks:
            try:
                host, sees_root, reason = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise DatasetUnavailableError(
                    f"A machine of the cluster cannot start: {_last_line(error)}"
                ) from None
            except self._ray.exceptions.RayError:
                continue  # The machine has just gone, and its runs go elsewhere.
            if not sees_root:
                raise self._not_seen_by(host)
            if reason is not None:
                raise DatasetUnavailableError(f"{host}: {reason}")

    def _not_seen_by(self, host):
        return ValueError(
            "`output_dir` must be a folder that every machine of the cluster sees, by "
            f"the same path, and {host} does not. Received: output_dir={self._root}"
        )

    def outcomes(self, configs, progress):
        """Trains runs side by side, as `worker.Worker.outcomes` does one by one."""
        for config in configs:
            # It is part of what the run is, so it stays as it was given.
            if config.weights not in (None, "imagenet", _absolute(config.weights)):
                raise ValueError(
                    "`weights` must be an absolute path on a cluster. "
                    f"Received: weights={config.weights!r}"
                )
        mark = str(self._mark)
        under_way = {
            self._run.remote(mark, _everywhere(config)): config for config in configs
        }
        seen: dict[RunConfig, int] = {}
        try:
            while under_way:
                ended, _ = self._ray.wait(list(under_way), timeout=_SECONDS_OF_A_LOOK)
                _show(under_way.values(), seen, progress)
                for reference in ended:
                    config = under_way.pop(reference)
                    if config not in seen:
                        progress.begin(config)
                    yield config, self._outcome(reference, config)
        finally:
            self._stop(list(under_way))

    def _outcome(self, reference, config):
        errors = self._ray.exceptions
        try:
            host, sees_root, outcome = self._ray.get(reference)
        except errors.RayTaskError as error:
            return worker.RunCrashedError(f"its process failed: {_last_line(error)}")
        except errors.RayError as error:
            return worker.RunCrashedError(
                f"its process ended again and again, {_MOST_RETRIES + 1} times, or no "
                f"machine is left: {_last_line(error)}"
            )
        if not sees_root:
            raise self._not_seen_by(host)
        return outcome

    def _stop(self, references):
        for reference in references:
            self._ray.cancel(reference)
        if references:
            self._ray.wait(
                references,
                num_returns=len(references),
                timeout=worker.SECONDS_TO_STOP,
            )


def _reach(address):
    """Fails soon, where Ray would try for minutes."""
    host, port = _checks.check_address("ray_address", address)
    try:
        socket.create_connection((host, port), _SECONDS_TO_REACH).close()
    except OSError as error:
        raise ValueError(
            f"`ray_address` cannot be reached ({error.strerror or error}). "
            f"Received: ray_address={address!r}"
        ) from None


def _last_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _everywhere(config):
    """The config with paths that mean the same in every process of the cluster."""
    return dataclasses.replace(
        config,
        output_dir=str(config.run_folder.resolve()),
        pretrained_dir=_absolute(config.pretrained_dir),
        data_dir=_absolute(config.data_dir),
    )


def _absolute(folder):
    return None if folder is None else str(pathlib.Path(folder).expanduser().resolve())


def _show(configs, seen, progress):
    """Shows the epochs of the runs that train, from their folders."""
    for config in configs:
        folder = RunFolder(config)
        if not folder.path.exists():
            continue
        if config not in seen:
            progress.begin(config)
        epochs = folder.epochs
        if seen.get(config, 0) != epochs:
            progress.show(config, epochs)
        seen[config] = epochs


def _look(mark, name, data_dir, options):
    """On a machine of the cluster: (its name, whether it sees the runs, what fails)."""
    if not os.path.exists(mark):
        return socket.gethostname(), False, None
    reason = worker.why_unavailable(name, data_dir, options)
    return socket.gethostname(), True, reason


def _run(mark, config):
    """On a machine: (its name, whether it sees the runs, the run's outcome)."""
    if not os.path.exists(mark):
        return socket.gethostname(), False, None
    folder = RunFolder(config)
    patience = time.monotonic() + _SECONDS_TO_LET_GO
    while folder.is_in_use and time.monotonic() < patience:
        time.sleep(_SECONDS_OF_A_LOOK)
    try:
        outcome = worker.train(config)
    except RunFailedError as error:
        outcome = error
    return socket.gethostname(), True, outcome
