"""The measurements of speed, on tiny sizes: what they say, not how fast it is."""

import contextlib
import dataclasses
import json

import keras
import pytest
from helpers import refused

pytest.importorskip("torch")

BACKEND = keras.backend.backend()


pytestmark = pytest.mark.usefixtures("benchmarks_on_the_path")


def test_contenders_take_turns():
    import timing

    asked = []

    def contender(name, wall):
        def contend(count):
            asked.append((name, count))
            return {"wall": wall * count, "cpu": wall}

        return contend

    contenders = {"slow": contender("slow", 4.0), "fast": contender("fast", 1.0)}
    samples = timing.in_turn(contenders, count=2, rounds=2)
    assert asked == 2 * [("slow", 2), ("fast", 2)]
    assert timing.times_faster(samples, "fast", "slow") == 4
    assert timing.medians(samples, images=16)["slow"]["images_per_second"] == 2
    # Two rounds, however long they take.
    samples = timing.in_turn(contenders, count=1, rounds=9, seconds=0.0)
    assert len(samples["slow"]) == 2


@pytest.mark.skipif(BACKEND != "tensorflow", reason="it is asked of TensorFlow")
def test_a_contender_computes_repeatably_as_long_as_it_is_there(monkeypatch):
    import contenders
    from tensorflow.python.framework import config

    with contextlib.ExitStack() as kept:
        monkeypatch.setattr(contenders, "_KEPT", kept)
        contenders._computing(True)
        assert config.is_op_determinism_enabled()
    assert not config.is_op_determinism_enabled()


@pytest.mark.long
def test_pytorch_is_measured_without_keras_beside_it():
    import contenders

    shared = {"model": "resnet8", "batch_size": 2}
    loader = {"images": 4, "test_images": 2, "workers": 0, **shared}
    for spec in (
        {"kind": "torch_step", **shared},
        {"kind": "torch_epoch", **loader},
        {"kind": "torch_pipeline", "images": 4, "workers": 0},
    ):
        with contenders.Process(**spec) as process:
            assert process.ask(1)["wall"] > 0
    with pytest.raises(RuntimeError, match="torch_step has .*keras"):
        contenders._check_is_alone("torch_step")


@pytest.mark.long
@pytest.mark.skipif(BACKEND != "tensorflow", reason="the aim is set on TensorFlow")
def test_maximum_margin_takes_no_more_memory_than_cross_entropy():
    import sections

    spec = {"kind": "keras_losses", "backend": BACKEND, "classes": 10_000}
    spec["batch_size"] = 1024
    # As a run computes: repeatably.
    added = {
        name: sections._added(spec, name, deterministic=True)
        for name in ("cross_entropy", "mm")
    }
    outputs = 1024 * 10_000 * 4 / 2**20
    assert outputs < added["mm"] < added["cross_entropy"]


def test_torch_fills_no_memory_to_be_repeatable(monkeypatch):
    import torch

    from mm_tf.experiments.machine import determinism

    memory = torch.utils.deterministic
    monkeypatch.setattr(memory, "fill_uninitialized_memory", True)
    with pytest.raises(ZeroDivisionError), determinism._torch():
        assert torch.are_deterministic_algorithms_enabled()
        assert not memory.fill_uninitialized_memory
        raise ZeroDivisionError
    assert memory.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_ratio_is_of_one_round():
    import timing

    # The second round is disturbed, for both of them.
    samples = {
        "mine": [{"wall": 1.0}, {"wall": 9.0}, {"wall": 1.1}],
        "peer": [{"wall": 2.0}, {"wall": 18.0}, {"wall": 2.2}],
    }
    assert timing.times_faster(samples, "mine", "peer") == pytest.approx(2)


@pytest.mark.long
def test_measures_and_keeps_what_other_sections_measured(tmp_path, monkeypatch):
    import sections
    import speed

    one = dataclasses.replace(sections.QUICK, classes=(7,))
    monkeypatch.setattr(sections, "QUICK", one)
    kept = {
        "title": "Before.",
        "command": "c",
        "ended": "e",
        "machine": "m",
        "versions": {},
        "load_before": [0, 0, 0],
        "load_after": [1, 1, 1],
        "is_quick": False,
        "rows": [],
    }
    (tmp_path / "speed.json").write_text(json.dumps({"fit": kept}))
    speed.main(
        ["--quick", "--only=losses", f"--backends={BACKEND}", f"--output={tmp_path}"]
    )
    results = json.loads((tmp_path / "speed.json").read_text())
    assert list(results) == ["losses", "fit"] and results["fit"] == kept
    rows = results["losses"]["rows"]
    assert [row["contender"] for row in rows][:2] == ["cross_entropy", "mm"]
    for row in rows:
        assert row["case"] == f"{BACKEND}, 7 classes, batch 8"
        assert row["value"] > 0 and row["peer"] == "cross_entropy"
        assert len(row["rounds"]) == one.rounds
    assert rows[0]["ratio"] == 1 and rows[0]["milliseconds_more"] == 0
    table = (tmp_path / "speed.md").read_text()
    assert "## losses: " in table and "## fit: Before" in table
    assert "| mm_ldam_weighted |" in table
    assert table.count("**A trial with tiny sizes") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only=steps"], "`only` must be of step,"),
        (["--backends=theano"], "`backends` must be of"),
        (["--quick"], "`output` must be another folder"),
        (["--backend=tensorflow"], "unrecognized arguments: --backend=tensorflow"),
    ],
)
def test_wrong_arguments(arguments, message):
    import speed

    assert message in refused(speed.main, arguments)


@pytest.mark.long
def test_a_profile_names_convolutions():
    import contenders

    shared = {"model": "resnet8", "batch_size": 4}
    for spec, name in (
        ({"kind": "keras_profile", "backend": "tensorflow"}, "Conv2DBackpropFilter"),
        ({"kind": "torch_profile"}, "aten::convolution_backward"),
    ):
        with contenders.Process(**spec, **shared) as process:
            assert process.ask(1)["milliseconds"][name] > 0


@pytest.mark.long
def test_every_section(tmp_path):
    import sections
    import speed

    speed.main(["--quick", "--backends=tensorflow", f"--output={tmp_path}"])
    results = json.loads((tmp_path / "speed.json").read_text())
    assert list(results) == list(sections.SECTIONS)
    for section in results.values():
        assert section["rows"]
        assert all(row["value"] > 0 for row in section["rows"])
