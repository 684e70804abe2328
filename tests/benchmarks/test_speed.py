"""The measurements of speed, on tiny sizes: what they say, not how fast it is."""

import contextlib
import dataclasses
import importlib.util
import json
import time

import keras
import numpy as np
import pytest

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


def test_a_case_has_two_rounds_however_long_they_take():
    import timing

    contenders = {"slow": lambda count: {"wall": 1.0, "cpu": 1.0}}
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


def test_the_memory_of_making_arguments_is_forgotten():
    import contenders

    before = contenders._mebibytes("VmRSS")
    np.ones(2**24)  # 128 MiB, given back at once.
    assert contenders._mebibytes("VmHWM") > before + 100
    contenders._forget_peak()
    assert contenders._mebibytes("VmHWM") < before + 50


@pytest.mark.long
def test_maximum_margin_takes_at_most_twice_the_memory_of_cross_entropy():
    import sections

    rows = 1024
    spec = {
        "kind": "keras_losses",
        "backend": BACKEND,
        "classes": 10_000,
        "batch_size": rows,
    }
    # Not repeatable, where TensorFlow's cross-entropy takes a third of the memory.
    added = {
        name: sections._added(spec, name, deterministic=False)
        for name in ("cross_entropy", "mm")
    }
    outputs = rows * 10_000 * 4 / 2**20
    assert outputs < added["mm"] < 2 * added["cross_entropy"]
    repeatable = sections._added(spec, "mm", deterministic=True)
    assert repeatable == pytest.approx(added["mm"], rel=0.2)


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


def test_processes_begin_anew():
    import timing

    begun = []

    @contextlib.contextmanager
    def start():
        begun.append(len(begun))
        yield lambda count: {"wall": count * begun[-1]}

    samples = timing.in_turn_anew({"one": start}, processes=2, count=3, rounds=2)
    assert samples["one"] == 2 * [{"process": 0, "wall": 0}] + 2 * [
        {"process": 1, "wall": 3}
    ]


def test_kernels_are_told_from_other_events():
    import profiles

    assert profiles._kind_of_kernel("resnet/conv/Conv2D:_MklNativeConv2D") == "Conv2D"
    for other in (
        "Iterator::Root::Prefetch",
        "ExecutorState:Process::x",
        "PrefetchDataset/_9:PrefetchDataset",
        "tf.function-graph_building",
    ):
        assert profiles._kind_of_kernel(other) is None


def test_a_ratio_is_of_one_round():
    import timing

    # The second round is disturbed, for both of them.
    samples = {
        "mine": [{"wall": 1.0}, {"wall": 9.0}, {"wall": 1.1}],
        "peer": [{"wall": 2.0}, {"wall": 18.0}, {"wall": 2.2}],
    }
    assert timing.times_faster(samples, "mine", "peer") == pytest.approx(2)


def test_cpu_time_is_not_wall_time():
    import timing

    asleep = timing.timed(lambda count: time.sleep(0.05 * count))(2)
    assert asleep["wall"] >= 0.1 > asleep["cpu"]


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


def test_stopped_it_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    import sections
    import speed

    def stopped(sizes, backends):
        raise KeyboardInterrupt
        yield

    monkeypatch.setitem(sections.SECTIONS, "losses", stopped)
    monkeypatch.setattr(stopped, "__doc__", "Losses.")
    with pytest.raises(SystemExit, match="go on with --only=losses,fit"):
        speed.main(["--quick", "--only=losses,fit", f"--output={tmp_path}"])


def test_a_contender_that_ends_says_why():
    import contenders

    with contenders.Process("convolutions", framework="caffe") as process:
        with pytest.raises(RuntimeError, match="KeyError: 'caffe'"):
            process.ask()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only=steps"], "`only` must be of step,"),
        (["--backends=theano"], "`backends` must be of"),
        (["--quick"], "`output` must be another folder"),
        (["--backend=tensorflow"], "unrecognized arguments: --backend=tensorflow"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    import speed

    with pytest.raises(SystemExit) as stopped:
        speed.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def without_torch(monkeypatch):
    find = importlib.util.find_spec

    def find_all_but_torch(name):
        return None if name == "torch" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_all_but_torch)


def test_without_pytorch_what_needs_none_of_it_is_measured(without_torch):
    import speed

    assert speed.parse(["--only=fit,losses"]).only == ["fit", "losses"]


def test_without_pytorch_what_compares_with_it_is_refused(without_torch, capsys):
    import speed

    with pytest.raises(SystemExit):
        speed.parse(["--only=fit,memory"])
    assert "the peer in memory: .venv/bin/pip" in capsys.readouterr().err


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


def test_what_the_light_commands_take():
    """Generous limits: they are ten times what a quiet machine needs."""
    import sections

    for arguments, seconds in (
        (["-c", "import mm_tf"], 2.0),
        (["-m", "mm_tf.experiments.run", "--help"], 6.0),
    ):
        assert sections._command(arguments)(1)["cpu"] < seconds
