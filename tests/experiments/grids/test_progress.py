"""The time left in a grid: what counts as work, and what an estimate is made of."""

import io
import re

import pytest
from rich.console import Console

from mm_tf import pretraining
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import grid, progress

# An epoch of digits_lt20, in images.
IMAGES = 417


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A clock for the estimates, which only the tests put on."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def config(method="erm", epochs=10, **arguments):
    return RunConfig(
        method=method, imbalance_ratio=20.0, epochs=epochs, model="resnet8", **arguments
    )


def lines_of(config, pretrains):
    """Pairs (line, seconds until the next one): an epoch's 417 images take 1 s."""
    if pretrains:
        epochs = config.hyperparameters["pretraining_epochs"]
        yield f"Pre-training on rotations, {epochs} epochs", 0
        yield from ((f"Epoch {n + 1}/{epochs}", 4) for n in range(epochs))
    if config.method.endswith("ssp"):
        yield f"Pre-trained backbone {'kept' if pretrains else 'found'}: x.h5", 0
    for n in range(config.epochs):
        yield f"Epoch {n + 1}/{config.epochs}", 1
        yield "7/7 - 1s - 143ms/step - loss: 0.5", 0


def test_work_is_images_that_pass_through_the_network():
    assert progress.TURNS == pretraining.TURNS
    assert progress.Work(config()).total == 10 * IMAGES
    with_pretraining = config("ldam_drw_ssp", pretraining_epochs=7)
    assert progress.Work(with_pretraining).total == (10 + 4 * 7) * IMAGES


class TestOfAGrid:
    """Runs that take 1 s for an epoch's images."""

    @pytest.fixture
    def worker(self, clock):
        class Trained:
            top1_error = 12.0

        class Worker:
            failing = ()
            has_backbone = False
            outcomes = grid.Worker.outcomes

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def load(self, name, data_dir, options=None):
                clock.now += 1000

            def run(self, config, show):
                clock.now += 0.25
                if (config.method, config.seed) in self.failing:
                    raise grid.RunFailedError("out of memory")
                pretrains = config.method.endswith("ssp") and not self.has_backbone
                for line, seconds in lines_of(config, pretrains):
                    show(line)
                    clock.now += seconds
                return Trained

        return Worker()

    def lines(self, worker, tmp_path, methods=("erm", "ldam_drw_ssp")):
        configs = grid.grid(methods, ["digits_lt20"], [0, 1], tmp_path, epochs=10)
        told = io.StringIO()
        console = Console(file=told, highlight=False, width=200)
        grid.run_grid(configs, console, worker)
        return [line.split(", seed ")[1] for line in told.getvalue().splitlines()[1:]]

    def test_pretraining_counts_four_times(self, worker, tmp_path):
        assert self.lines(worker, tmp_path) == [
            # 10.25 s for 10 epochs; 50 + 10 + 50 epochs are left.
            "0: 12.00 % (0:00:10) about 0:01:53 left",
            "0: 12.00 % (0:00:50) about 0:01:00 left",
            "1: 12.00 % (0:00:10) about 0:00:51 left",
            "1: 12.00 % (0:00:50)",
        ]

    def test_a_run_that_fails_tells_nothing_of_the_others(self, worker, tmp_path):
        worker.failing = [("erm", 0), ("erm", 1)]
        assert self.lines(worker, tmp_path) == [
            "0: failed: out of memory (0:00:00)",
            "0: 12.00 % (0:00:50) about 0:01:00 left",
            "1: failed: out of memory (0:00:00) about 0:00:50 left",
            "1: 12.00 % (0:00:50)",
        ]

    def test_a_backbone_that_is_found_was_not_trained_here(self, worker, tmp_path):
        worker.has_backbone = True
        methods = ["ldam_drw_ssp", "erm"]
        first, *_ = self.lines(worker, tmp_path, methods)
        # The other seed may have to train its own.
        assert first == "0: 12.00 % (0:00:10) about 0:01:12 left"


def test_there_is_an_estimate_within_a_run(clock):
    first, second = config(), config(seed=1)
    to = progress.Progress(2, [first, second], Console(file=io.StringIO()))
    to.begin(first, "ERM")
    clock.now += 100
    to.show(first, "ERM on digits_lt20, seed 0: 417 training images")
    estimates = []
    for line, seconds in lines_of(first, pretrains=False):
        to.show(first, line)
        clock.now += 3 * seconds
        if line.startswith("Epoch"):
            estimates.append(to.time_left)
    # The start is no part of it: 20 epochs of 3 s, of which some are over.
    assert estimates == [
        "",
        *(f"about 0:00:{3 * (20 - done)} left" for done in range(1, 10)),
    ]


def test_estimates_within_pretraining(clock):
    of_ssp = config("ldam_drw_ssp", pretraining_epochs=2)
    to = progress.Progress(1, [of_ssp], Console(file=io.StringIO()))
    to.begin(of_ssp, "SSP")
    left = []
    for line, seconds in lines_of(of_ssp, pretrains=True):
        to.show(of_ssp, line)
        clock.now += seconds
        if line.startswith("Epoch"):
            left.append(to.time_left)
    assert left[:4] == [
        "",
        "about 0:00:14 left",
        "about 0:00:10 left",
        "about 0:00:09 left",
    ]


def test_a_run_that_goes_on_did_the_rest_alone_here(clock):
    first, second = config(), config(seed=1)
    to = progress.Progress(2, [first, second], Console(file=io.StringIO()))
    to.begin(first, "ERM")
    for line, seconds in list(lines_of(first, pretrains=False))[2 * 6 :]:
        to.show(first, line)
        clock.now += 3 * seconds
    assert to.time_left == "about 0:00:33 left"  # 1 epoch here, 10 of the other run.
    to.finish(first, "12.00 %")
    assert to.time_left == "about 0:00:30 left"


def test_runs_side_by_side_share_their_time(clock):
    configs = [config(seed=seed) for seed in range(4)]
    to = progress.Progress(4, configs, Console(file=io.StringIO()))
    lines = list(lines_of(configs[0], pretrains=False))
    for run in configs[:2]:
        to.begin(run, "ERM")
        to.show(run, lines[0][0])
    clock.now += 10
    for run in configs[:2]:
        to.show(run, "Epoch 6/10")
    # 5 epochs in 10 s each, side by side: 30 epochs are left for two at a time.
    assert to.time_left == "about 0:00:30 left"


def test_runs_of_one_epoch_count_though_keras_prints_none(clock):
    configs = [config(epochs=1), config(epochs=3)]
    to = progress.Progress(2, configs, Console(file=io.StringIO()))
    to.begin(configs[0], "ERM")
    clock.now += 5
    to.show(configs[0], "7/7 - 5s - 700ms/step - loss: 2.3")
    to.finish(configs[0], "12.00 %")
    assert to.time_left == "about 0:00:15 left"


def test_the_bar_says_run_line_and_time_left(clock):
    told = io.StringIO()
    console = Console(file=told, force_terminal=True, width=120)
    first, second = config(), config(seed=1)
    with progress.Progress(3, [first, second], console) as to:
        to.begin(first, "ERM, seed 0")
        to.show(first, "Epoch 1/10")
        clock.now += 2
        to.show(first, "Epoch 2/10")
    (bar,) = re.findall(
        r"1/3.*?(about.*?left  ERM.*?)\s*\n", told.getvalue().split("begins")[-1]
    )
    assert bar == "about 0:00:38 left  ERM, seed 0: Epoch 2/10"
