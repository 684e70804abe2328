"""Runs that are killed, and repeated: their weights at the end are the same."""

import io
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import keras
import pytest
from helpers import TINY, Stopped, environment, stop_after
from made_up_images import save_classes

from mm_tf import losses
from mm_tf.experiments import register_method
from mm_tf.experiments.machine import determinism
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.run import RunConfig, RunFailedError, run
from mm_tf.experiments.runs import training
from mm_tf.experiments.runs.folder import RunFolder

RESUMES = "Resumes from epoch"
DRW = dict(**TINY, warmup_epochs=0, reweight_epoch=1)


def seen(folder):
    """All that a user sees of a run, but for times."""
    folder = pathlib.Path(folder)
    result = json.loads((folder / "result.json").read_text())
    del result["images_per_second"], result["training_seconds"]
    lines = (folder / "history.csv").read_text().splitlines()
    heads, *rows = (line.split(",") for line in lines)
    history = [dict(zip(heads, row, strict=True)) for row in rows]
    for row in history:
        row.pop("images_per_second", None)  # Tau-norm trains nothing.
    return {
        "weights": weights(folder),
        "result": result,
        "history": history,
        "errors": (folder / "per_class_error.csv").read_text(),
        "predictions": _unzipped(folder / "predictions.npz"),
        "names": sorted(path.name for path in folder.iterdir()),
    }


def weights(folder):
    with zipfile.ZipFile(folder / "model.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    found = {}

    def keep(name, part):
        if isinstance(part, h5py.Dataset):
            found[name] = part[()].tobytes()

    file.visititems(keep)
    return found


def _unzipped(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def stopped_after(monkeypatch, steps, config):
    """Runs a config until a step, counted from the start of the process."""
    train, stop = training.train, stop_after(steps)
    with monkeypatch.context() as patch:
        patch.setattr(
            training,
            "train",
            lambda config, data, folder, *_: train(config, data, folder, stop),
        )
        with pytest.raises(Stopped):
            run(config)
    assert RunFolder(config).has_checkpoint
    assert not (config.run_folder / "result.json").exists()


def same_twice_and_when_stopped(tmp_path, monkeypatch, steps, **arguments):
    configs = [
        RunConfig(**{**DRW, "epochs": 2, **arguments}, output_dir=str(tmp_path / name))
        for name in ("once", "again", "stopped")
    ]
    stopped_after(monkeypatch, steps, configs[2])
    for config in configs:
        run(config)
    once, again, stopped = (seen(config.run_folder) for config in configs)
    assert again == once
    assert stopped == once
    assert once["result"]["deterministic"] is arguments.get("deterministic", True)


# One of each family: no class weights, weights from the first epoch, deferred, draws
# from an epoch on, and pre-training, which is stopped itself (at its 3rd step).
FAMILIES = {"mm": 3, "cb_rw": 5, "hg_drs": 9, "mm_ldam_drw": 11, "ldam_drw_ssp": 3}
# Two epochs of ERM have 14 steps: a second stage is stopped, too.
FAMILIES |= {"crt": 20, "lws": 20}
SHORT = ("mm_ldam_drw", pytest.param("ldam_drw_ssp", marks=pytest.mark.long))


@pytest.mark.parametrize("method", SHORT)
def test_same_weights_twice_and_when_stopped(tmp_path, monkeypatch, method):
    same_twice_and_when_stopped(tmp_path, monkeypatch, FAMILIES[method], method=method)


AUGMENTATIONS = (
    dict(cutout=4, mixup=1.0, precision="bfloat16"),
    *(
        pytest.param(arguments, marks=pytest.mark.long)
        for arguments in (
            dict(cutout=4),
            dict(augmentation="randaugment"),
            dict(mixup=1.0),
            dict(cutmix=1.0, method="cb_rw"),
            dict(augmentation="randaugment", cutmix=1.0, precision="bfloat16"),
        )
    ),
)


@pytest.mark.parametrize("arguments", AUGMENTATIONS, ids=str)
def test_augmentation_is_the_same_twice_and_when_stopped(
    tmp_path, monkeypatch, arguments
):
    same_twice_and_when_stopped(
        tmp_path, monkeypatch, 9, **{"method": "mm"} | arguments
    )


def test_the_fast_recipe_resumes_exactly(tmp_path, monkeypatch):
    photos = save_classes(tmp_path / "photos", {"ant": 15, "bee": 10, "cow": 5})
    fast = dict(recipe="fast", model="whitened_cnn", precision="float32", batch_size=8)
    place = dict(dataset="folder", data_dir=str(photos), image_size=12)
    same_twice_and_when_stopped(tmp_path, monkeypatch, 4, **fast, **place)


@pytest.mark.long
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_same_weights_of_every_method_jit_on_and_off(
    tmp_path, monkeypatch, method, jit
):
    if jit and keras.backend.backend() == "torch":
        pytest.skip("torch.compile needs a C++ compiler, which users may not have")
    arguments = dict(method=method, jit=jit)
    if jit and keras.backend.backend() == "tensorflow":
        # Keras does not compile where TensorFlow is to be repeatable; on a CPU
        # it is so all the same.
        arguments["deterministic"] = False
    same_twice_and_when_stopped(
        tmp_path, monkeypatch, FAMILIES.get(method, 9), **arguments
    )


@pytest.mark.long
def test_a_method_of_a_user_resumes(tmp_path, monkeypatch, registered):
    register_method("own", losses.LogitAdjusted, weighting="deferred")
    arguments = dict(method="own", method_arguments={"own_tau": 0.5})
    same_twice_and_when_stopped(tmp_path, monkeypatch, 9, **arguments)


def test_jit_that_keras_would_switch_off_is_refused(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only Keras on TensorFlow does not compile what is repeatable")
    config = RunConfig(**DRW, epochs=1, jit=True, output_dir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="`jit` must not be True.*Received: jit=True"):
        run(config)
    assert list(tmp_path.iterdir()) == []


COMMAND = (
    *("--model=resnet8", "--imbalance_ratio=20", "--batch_size=32", "--epochs=40"),
    *("--warmup_epochs=1", "--method=mm_ldam_drw", "--checkpoint_minutes=0.001"),
)


def _heed_signals():
    # Under `nohup`, or in the background, the tests' process ignores it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def call(folder, number=None, checkpoints=1, seconds=0.0):
    """Calls the command; sends it a signal some time after so many checkpoints."""

    def newest():
        return max(pathlib.Path(folder, "checkpoints").glob("epoch*.npz"), default=None)

    there = newest()
    with open(f"{folder}.log", "w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mm_tf.experiments.run", *COMMAND]
            + [f"--output_dir={folder}"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(),
            preexec_fn=_heed_signals,
        )
        if number is not None:
            while checkpoints and process.poll() is None:
                if newest() != there:
                    there, checkpoints = newest(), checkpoints - 1
                time.sleep(0.001)
            time.sleep(seconds)
            process.send_signal(number)
        status = process.wait()
        log.seek(0)
        return status, log.read()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    status, printed = call(folder)
    assert status == 0, printed
    return seen(folder)


@pytest.mark.long
def test_stopped_by_signals_it_ends_with_the_same_weights(tmp_path, undisturbed):
    folder = tmp_path / "run"
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        status, printed = call(folder, number)
        assert status == expected, printed
        assert "Traceback" not in printed
        assert "mm_tf: stopped. A checkpoint is saved." in printed
        line = printed.strip().splitlines()[-1]
        assert "python" in line.split()[0]
        assert f" -m mm_tf.experiments.run {' '.join(COMMAND)}" in line
    status, printed = call(folder)
    assert status == 0, printed
    assert RESUMES in printed
    assert seen(folder) == undisturbed


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_5_random_moments_it_ends_with_the_same_weights(
    seed, tmp_path, undisturbed
):
    chance, folder = random.Random(seed), tmp_path / "run"
    for number in range(5):
        # At most three checkpoints each, so that all kills find the run still on.
        status, printed = call(
            folder, signal.SIGKILL, chance.randint(1, 3), chance.random() / 10
        )
        assert status == -signal.SIGKILL, printed
        assert (RESUMES in printed) == (number > 0)
        assert not (folder / "result.json").exists()
    status, printed = call(folder)
    assert status == 0, printed
    assert seen(folder) == undisturbed


def test_a_run_that_diverges_in_its_first_epoch_leaves_nothing(tmp_path):
    config = RunConfig(
        **DRW,
        epochs=3,
        method="erm",
        learning_rate=1e30,
        output_dir=str(tmp_path / "run"),
    )
    with pytest.raises(
        RunFailedError, match="Training diverged in epoch 0 .*at learning rate 1e.30"
    ):
        run(config)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, and a function that changes the disk."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options], capture_output=True).returncode

    if not shutil.which("mount") or mount(
        "-t", "tmpfs", "-o", "size=1500k", "tmpfs", folder
    ):
        pytest.skip("a disk of its own needs `mount`, and the right to use it")
    yield folder, lambda options: mount("-o", f"remount,{options}", folder)
    subprocess.run(["umount", folder])


@pytest.mark.long
def test_a_full_disk_and_a_read_only_one_cost_nothing(small_disk, tmp_path):
    folder, change = small_disk
    arguments = dict(**DRW, epochs=4, method="mm")
    config = RunConfig(**arguments, output_dir=str(folder / "run"))
    with pytest.raises(
        RunFailedError,
        match="checkpoint cannot be written .No space left on device.*is in",
    ):
        run(config)
    assert not change("ro")
    with pytest.raises(ValueError, match="cannot be written .Read-only file system"):
        run(config)
    assert not change("rw,size=2000k")
    (folder / "other").write_bytes(bytes(400_000))
    # Room for the checkpoints, but not for the model beside them.
    with pytest.raises(RunFailedError, match="written .No space left.*is in"):
        run(config)
    (folder / "other").unlink()
    assert not change("size=9m")
    run(config)
    run(RunConfig(**arguments, output_dir=str(tmp_path / "run")))
    assert seen(folder / "run") == seen(tmp_path / "run")


@pytest.mark.parametrize("before", [None, "", "--xla_some_option=1"])
def test_the_setting_for_xla_is_as_before(monkeypatch, before):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if before is not None:
        monkeypatch.setenv("XLA_FLAGS", before)
    with determinism._jax():
        assert os.environ["XLA_FLAGS"].endswith("--xla_gpu_deterministic_ops=true")
    assert os.environ.get("XLA_FLAGS") == before


def test_keras_is_as_before_a_run(tmp_path):
    run(RunConfig(**DRW, epochs=1, output_dir=str(tmp_path / "run")))
    # TensorFlow would refuse it, were it still to compute repeatably.
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.random.normal([1])
