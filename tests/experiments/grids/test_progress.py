"""The lines of a grid: an outcome for each run, and an estimate of the time left."""

import io

import pytest
from rich.console import Console

from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import progress
from mm_tf.experiments.runs.folder import FIRST_STAGE, HISTORY


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def config(tmp_path, method="erm", epochs=10, seed=0, **arguments):
    return RunConfig(
        method=method,
        imbalance_ratio=20.0,
        epochs=epochs,
        model="resnet8",
        seed=seed,
        output_dir=str(tmp_path / method / f"seed{seed}"),
        **arguments,
    )


def trained(config, epochs):
    """Writes into a run's folder that it has trained so many epochs."""
    config.run_folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{epoch},0.5\n" for epoch in range(epochs))
    (config.run_folder / HISTORY).write_text("epoch,loss\n" + rows)


def lines(printed):
    return [line.split(", seed ")[1] for line in printed.getvalue().splitlines()]


def bar(total, left):
    printed = io.StringIO()
    console = Console(file=printed, highlight=False, width=200)
    return progress.Progress(total, left, console), printed


def test_outcomes_and_the_time_left(clock, tmp_path):
    first, second, third = (config(tmp_path, seed=seed) for seed in range(3))
    runs, printed = bar(4, [first, second, third])
    with runs:
        for each, finishes in ((first, True), (second, False), (third, True)):
            runs.begin(each)
            clock.now += 20
            if finishes:
                runs.finish(each, "12.00 %")
            else:
                runs.fail(each, "out of memory")
    assert lines(printed) == [
        "0: 12.00 % (0:00:20) about 0:00:40 left",
        "1: failed: out of memory (0:00:20) about 0:00:40 left",
        "2: 12.00 % (0:00:20)",
    ]
    assert printed.getvalue().startswith("[2/4] ERM, digits_lt20, seed 0")


def test_there_is_an_estimate_within_a_run(clock, tmp_path):
    first, second = config(tmp_path), config(tmp_path, seed=1)
    runs, _ = bar(2, [first, second])
    trained(first, 0)
    runs.look([first, second])  # The second waits: it has no folder.
    assert runs.time_left == ""
    clock.now += 8
    trained(first, 4)
    runs.look([first, second])
    assert runs.time_left == "about 0:00:32 left"


def test_epochs_from_before_a_run_was_stopped_took_no_time_now(clock, tmp_path):
    stopped = config(tmp_path)
    trained(stopped, 6)
    runs, _ = bar(1, [stopped])
    runs.begin(stopped)
    clock.now += 4
    trained(stopped, 8)
    runs.look([stopped])
    assert runs.time_left == "about 0:00:04 left"


def test_an_epoch_of_pretraining_counts_four_times(clock, tmp_path):
    plain = config(tmp_path)
    with_pretraining = config(tmp_path, "ldam_drw_ssp", pretraining_epochs=5)
    runs, printed = bar(2, [plain, with_pretraining])
    runs.begin(plain)
    clock.now += 10
    runs.finish(plain, "12.00 %")
    assert lines(printed) == ["0: 12.00 % (0:00:10) about 0:00:30 left"]


def test_pretraining_shows_its_epochs(clock, tmp_path):
    run = config(tmp_path, "ldam_drw_ssp", pretraining_epochs=5)
    runs, _ = bar(1, [run])
    runs.begin(run)
    (run.run_folder / FIRST_STAGE).mkdir(parents=True)
    for epoch in (1, 2):
        (run.run_folder / FIRST_STAGE / f"epoch{epoch:05d}-step0000000.npz").touch()
    clock.now += 8
    runs.look([run])
    assert progress.how_far(run) == "epoch 2 of 5 of the first stage"
    # Eight of thirty epochs' work is done.
    assert runs.time_left == "about 0:00:22 left"
    trained(run, 1)
    assert progress.how_far(run) == "epoch 1 of 10"


def test_at_a_terminal_there_is_a_bar(tmp_path):
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, width=120)
    run = config(tmp_path)
    with progress.Progress(3, [run], console) as runs:
        trained(run, 7)
        runs.look([run])
    assert "2/3" in printed.getvalue()
    assert "ERM, digits_lt20, seed 0: epoch 7 of 10" in printed.getvalue()
