"""A grid on a Ray cluster: machines that die, and what every machine must see."""

import contextlib
import dataclasses
import importlib.util
import pathlib
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers import environment

from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import cluster, grid
from mm_tf.experiments.runs.finished import FLAGS
from mm_tf.experiments.runs.folder import RunFolder

METHODS = ("erm", "mm_drw", "ldam_drw", "cb_rs")
TINY = dict(model="resnet8", epochs=8, warmup_epochs=1, batch_size=16)

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed"
)


def cells(root, **arguments):
    return grid.grid(METHODS, ["digits_lt20"], [0, 1, 2], root, **{**TINY, **arguments})


@pytest.fixture
def two_machines():
    """Two nodes of one core each, beside a head that runs nothing."""
    from ray.cluster_utils import Cluster

    memory = 80 * 2**20  # Of the object store, which holds no images here.
    whole = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": memory},
    )
    nodes = [whole.add_node(num_cpus=1, object_store_memory=memory) for _ in range(2)]
    whole.wait_for_nodes()
    yield whole, nodes
    whole.shutdown()


def comparable(result):
    """A result without what depends on when and where it was trained."""
    return dataclasses.replace(result, images_per_second=0.0, training_seconds=0.0)


def runs_on(node):
    """The folders of the runs that a node's processes have begun."""
    import psutil  # Ray brings it.

    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    folders = []
    for process in raylet.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            flags = [flag.partition("=") for flag in process.cmdline()]
            folders += [value for name, _, value in flags if name == "--output_dir"]
    return [folder for folder in folders if (pathlib.Path(folder) / FLAGS).exists()]


@needs_ray
@pytest.mark.long
def test_a_machine_that_dies_costs_nothing(two_machines, tmp_path):
    whole, (first, _) = two_machines
    configs = cells(tmp_path / "cluster")
    killed = []

    def kill_one():
        patience = time.monotonic() + 120
        while not killed and time.monotonic() < patience:
            killed.extend(runs_on(first))
            time.sleep(0.05)
        whole.remove_node(first, allow_graceful=False)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    machines = cluster.Cluster(tmp_path / "cluster", whole.address)
    results, failures = grid.run_grid(configs, worker=machines)
    killer.join(10)
    assert len(killed) == 1
    assert not failures
    assert len(results) == len(configs) == 12
    there = {(each.method, each.seed): each for each in results}
    one_by_one = cells(tmp_path / "one")
    expected, _ = grid.run_grid(one_by_one)
    for config, result in zip(one_by_one, expected, strict=True):
        assert comparable(there[config.method, config.seed]) == comparable(result)
    for here, other in zip(configs, one_by_one, strict=True):
        of_both = [
            np.load(each.run_folder / "predictions.npz")["predictions"]
            for each in (here, other)
        ]
        np.testing.assert_array_equal(*of_both)
        assert not RunFolder(here).has_leftovers
    assert not list((tmp_path / "cluster").glob(".cluster-*"))


@needs_ray
@pytest.mark.long
def test_ctrl_c_leaves_checkpoints_from_which_the_same_line_resumes(tmp_path):
    command = [
        *(sys.executable, "-m", "mm_tf.experiments.table", "--executor=ray"),
        *("--methods=erm", "--settings=digits_lt20", "--seeds=0,1"),
        *("--model=resnet8", "--epochs=60", "--warmup_epochs=1"),
        f"--output_dir={tmp_path}",
    ]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    folders = [RunFolder(config) for config in cells(tmp_path, epochs=60)[::4][:2]]
    patience = time.monotonic() + 120
    while not any(folder.has_checkpoint for folder in folders):
        assert time.monotonic() < patience
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert b"To resume:" in error and b"--executor=ray" in error
    assert not any(folder.is_in_use for folder in folders)
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert all((folder.path / "result.json").exists() for folder in folders)
    assert not list(tmp_path.glob(".cluster-*"))


@needs_ray
@pytest.mark.long
def test_a_folder_that_a_machine_does_not_see(two_machines, tmp_path, monkeypatch):
    whole, _ = two_machines
    monkeypatch.setattr(cluster._files, "write_text", lambda path, text: None)
    machines = cluster.Cluster(tmp_path, whole.address)
    with pytest.raises(ValueError, match="every machine.*sees.*Received: output_dir="):
        grid.run_grid(cells(tmp_path), worker=machines)
    assert not list(tmp_path.iterdir())


@needs_ray
@pytest.mark.long
def test_more_than_a_machine_has(two_machines, tmp_path):
    whole, _ = two_machines
    for arguments in ({"cpus": 2}, {"gpus": 1}):
        with (
            pytest.raises(ValueError, match="`cpus_per_run` must be at most what one"),
            cluster.Cluster(tmp_path, whole.address, **arguments),
        ):
            pass


@needs_ray
@pytest.mark.long
def test_an_address_that_does_not_answer(tmp_path):
    refused = pytest.raises(ValueError, match="cannot be reached.*Received")
    # Bound, so that nobody else takes it, and without anybody who listens.
    with socket.socket() as silent, refused:
        silent.bind(("127.0.0.1", 0))
        machines = cluster.Cluster(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}")
        grid.run_grid(cells(tmp_path), worker=machines)
    assert not list(tmp_path.iterdir())


@needs_ray
@pytest.mark.long
def test_runs_that_share_a_gpu_share_its_memory(tmp_path):
    alone = cluster.Cluster(tmp_path, gpus=1, backend="jax")._environment()
    assert alone["KERAS_BACKEND"] == "jax"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in alone
    shared = cluster.Cluster(tmp_path, gpus=0.25)._environment()
    assert shared["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert 4 * float(shared["XLA_PYTHON_CLIENT_MEM_FRACTION"]) <= 1


class TestOneProcess:
    """What each machine of the cluster does, without a cluster."""

    def test_a_machine_without_the_folder_or_the_data_trains_nothing(self, tmp_path):
        mark, none = tmp_path / "mark", str(tmp_path / "none")
        for call in (cluster._train, cluster._check_machine):
            with pytest.raises(ValueError, match="every machine.*sees") as raised:
                call(mark, *(None,) * (call.__code__.co_argcount - 1))
            assert "Received: output_dir=" in str(
                pickle.loads(pickle.dumps(raised.value))
            )
        with pytest.raises(DatasetUnavailableError, match=none):
            cluster._check_machine(tmp_path, "cifar10", none, None)

    def test_weights_by_a_relative_path(self, tmp_path):
        config = RunConfig(
            dataset="cifar10", model="MobileNetV3Small", weights="my.weights.h5"
        )
        machines = cluster.Cluster.__new__(cluster.Cluster)
        with pytest.raises(ValueError, match="`weights` must be an absolute path"):
            next(machines.outcomes([config], None))

    def test_paths_mean_the_same_everywhere(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        places = dict(data_dir="data", output_dir="runs", pretrained_dir="run")
        config = RunConfig(dataset="cifar10", **places)
        there = cluster._everywhere(config)
        assert there.run_folder == tmp_path / config.run_folder
        assert there.data_dir == str(tmp_path / "data")
        assert pathlib.Path(there.first_stage).is_absolute()
        assert there.identity() == config.identity()


def test_ray_is_asked_for_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    message = "pip install --editable.*ray.*Received: executor='ray'"
    with pytest.raises(ValueError, match=message):
        cluster.Cluster(tmp_path)
