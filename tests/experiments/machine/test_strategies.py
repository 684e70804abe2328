"""A run on several devices is the run of one, but for rounding."""

import itertools
import json
import pathlib

import keras
import pytest
from helpers import environment, python
from made_up_backbone import save_backbone

from mm_tf.experiments.config import RunConfig, device_parts
from mm_tf.experiments.config.fields import STRATEGIES
from mm_tf.experiments.machine.strategies import distributed

BACKEND = keras.backend.backend()
STRATEGY = {needed: name for name, needed in STRATEGIES.items()}.get(BACKEND)
# Of runs in double precision; on JAX some operation is still in single precision.
ROUNDING = 5e-6 if BACKEND == "jax" else 1e-9
SCRIPT = pathlib.Path(__file__).with_name("distributed_runs.py")


def compare(folder, *methods):
    if STRATEGY is None:
        pytest.skip(f"there is no strategy for the backend {BACKEND}")
    # Keras asks JAX for it when it is imported.
    variables = environment(JAX_ENABLE_X64="true")
    done = python(SCRIPT, STRATEGY, folder, *methods, env=variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return compare(tmp_path_factory.mktemp("runs"), "erm")


def test_a_run_on_two_devices_ends_as_on_one(found):
    assert found["runs"]["erm"]["weights"] < ROUNDING
    assert found["runs"]["erm"]["predictions"] == 0


@pytest.mark.long
def test_runs_of_other_kinds(tmp_path):
    # The backbone is first frozen.
    save_backbone(tmp_path)
    kinds = ("mm_ldam_drw", "ldam_drw_ssp", "cb_rs", "ldam_hg_drs", "backbone")
    runs = compare(tmp_path, *kinds)["runs"]
    assert set(runs) == set(kinds)
    for difference in runs.values():
        assert difference["weights"] < ROUNDING
        assert difference["predictions"] == 0


@pytest.mark.skipif(BACKEND != "tensorflow", reason="replicas are TensorFlow's")
@pytest.mark.parametrize("name", ["class weights", "mean", "sum", "weighted mean"])
def test_the_loss_of_replicas_is_that_of_the_whole_batch(found, name):
    assert found["devices"] == 2
    assert found["replicas"][name] == pytest.approx(found["whole"][name], abs=1e-12)


def test_a_strategy_of_another_backend_is_refused():
    name = "data_parallel" if BACKEND == "tensorflow" else "mirrored"
    with (
        pytest.raises(ValueError, match=f"`strategy` {name} is for.*Received: strat"),
        distributed(name),
    ):
        pass


@pytest.mark.skipif(STRATEGY is None, reason=f"{BACKEND} has no strategy")
def test_more_devices_than_there_are():
    with (
        pytest.raises(ValueError, match="`devices` must be at most.*Received: dev"),
        # Keras has begun in this process: its CPU cannot be split any more.
        keras_has_begun(),
        distributed(STRATEGY, 1000),
    ):
        pass


def keras_has_begun():
    keras.ops.zeros(1)
    return keras.name_scope("begun")


MIRRORED = {"strategy": "mirrored"}
ON_TWO = MIRRORED | {"devices": 2, "imbalance_ratio": 20}
WRONG = [
    ({"devices": 2}, "`devices` is for a --strategy"),
    (MIRRORED | {"devices": 0}, "`devices` must be"),
    (MIRRORED | {"devices": 200}, "`devices` must be at most `batch_size`"),
    (
        ON_TWO | {"batch_size": 47},
        "`batch_size` must leave each of the 2 devices.*a multiple of 2, as",
    ),
    # One image is left for the last step.
    (ON_TWO | {"batch_size": 32}, "`batch_size` must leave each of the 2 devices an"),
    (MIRRORED | {"backend": "jax"}, "`strategy` mirrored is for the backend tensorf"),
    (MIRRORED | {"jit": True}, "`jit` must not"),
    ({"strategy": "horovod"}, "`strategy` must be one of"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_flags(arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        RunConfig(**arguments)


@pytest.mark.parametrize(("strategy", "backend"), list(STRATEGIES.items()))
def test_a_strategy_says_its_backend(strategy, backend):
    assert RunConfig(strategy=strategy).backend == backend


class TestParts:
    @pytest.mark.parametrize("devices", [1, 2, 3, 8])
    def test_no_device_is_without_an_image(self, devices):
        def parts_of(size):
            part = -(-size // devices)
            return [max(0, min(part, size - part * index)) for index in range(devices)]

        for total, batch_size in itertools.product(range(1, 60), range(1, 40)):
            first, last = min(total, batch_size), total % batch_size
            fits = len(set(parts_of(first))) == 1 and (not last or min(parts_of(last)))
            assert device_parts.are_possible(total, batch_size, devices) == bool(fits)

    def test_the_largest_batch_size_that_fits(self):
        assert device_parts.largest(417, 48, 2) == 48
        assert device_parts.largest(417, 32, 2) == 30
        assert device_parts.largest(417, 500, 1) == 500
        # Fewer images than devices.
        assert device_parts.largest(3, 50, 4) is None
