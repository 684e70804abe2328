"""The search: its flags, what it trains, what it leaves, how it goes on."""

import csv
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import made_up
import pytest
from absl import flags
from flag_parsing import parse

from mm_tf import _files
from mm_tf.experiments import paper, tune
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import ablation, grid
from mm_tf.experiments.run import RunDivergedError, RunFailedError
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.result import RunResult
from mm_tf.experiments.searches import local_workers, trials
from mm_tf.experiments.searches.search import STATE

SETTING = ("--dataset=digits", "--imbalance_ratio=20")
TINY = (*SETTING, "--model=resnet8", "--epochs=1", "--batch_size=64")


def call(*arguments):
    """Calls the command in this process, with flags of its own."""
    values = flags.FlagValues()
    tune.define_flags(values)
    tune.main(values(["tune", *arguments]), values)


class FakeWorker:
    """Trains nothing: the error is that of a bowl around beta 1.5 and delta 1."""

    outcomes = grid.Worker.outcomes

    def __init__(self):
        self.trained = []
        self.failing = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def load(self, name, data_dir, options=None):
        pass

    def run(self, config, show=lambda line: None):
        folder = RunFolder(config)
        there = folder.finished_result()
        if there is not None:
            return there
        show("Epoch 1/1")
        self.trained.append(config)
        failures = self.failing.get(config.run_folder.name, [])
        if failures:
            raise failures.pop(0)
        error = 10 + 20 * abs(config.beta - 1.5) + 5 * abs(config.delta - 1)
        found = dataclasses.replace(
            made_up.RESULT,
            method=config.method,
            setting=config.setting,
            balanced_error=error,
            top1_error=error / 2,
            evaluated_on=config.evaluated_on,
        )
        with folder.locked():
            folder.prepare()
            folder.finish(found)
        return found


@pytest.fixture
def worker(monkeypatch):
    fake = FakeWorker()
    monkeypatch.setattr(grid, "Worker", lambda: fake)
    return fake


def rows(folder):
    with (folder / trials.CSV).open(newline="") as file:
        return list(csv.DictReader(file))


WRONG = {
    "machines of one run": (
        [
            *("--method=mm", "--strategy=data_parallel", "--num_processes=2"),
            *("--process_id=0", "--coordinator_address=host:1"),
        ],
        "`num_processes` is of one run",
    ),
    "unknown parameter": (["--search=bata"], "there is no 'bata' to search"),
    "one that the method does not take": (
        ["--method=erm", "--search=beta"],
        "the method erm does not take beta",
    ),
    "a method without the usual ones": (["--method=erm"], "must name what to search"),
    "no trials": (["--trials=0"], "`trials` must be an integer >= 1"),
    "negative seed": (["--search_seed=-1"], "`search_seed` must be"),
    "negative workers": (["--workers=-1"], "`workers` must be"),
    "trials of hyperband": (
        ["--tuner=hyperband", "--trials=3"],
        "`trials` is not to be given with --tuner=hyperband",
    ),
    "epochs of hyperband": (
        ["--tuner=hyperband", "--search=epochs"],
        "`search` must be without epochs",
    ),
    "a grid of ranges": (["--tuner=grid", "--search=beta=1..2"], "must have values"),
    "a grid too large": (
        ["--tuner=grid", "--trials=11"],
        "`trials` must be at least the 12 cells",
    ),
    "no hold-out": (["--holdout=0"], "`holdout` must be above 0"),
    "all held out": (["--holdout=1"], "`holdout` must be below 1"),
    "a hold-out beside the test images": (
        ["--holdout=0.2", "--select_on=test"],
        "`holdout` is not to be given where the test images choose",
    ),
    "a class of one image": (
        ["--imbalance_ratio=100"],
        "`holdout` needs at least two images of each class",
    ),
    "a value of a run": (["--epochs=0"], "`epochs` must be"),
    "blank folder": (["--output_dir= "], "`output_dir` must name a folder"),
    "overwrite": (["--overwrite"], "`overwrite` is not to be given here"),
    "a word that is no flag": (["beta"], "Only flags are expected"),
    "nothing to report": (["--report_only"], "holds no trial of a search"),
    "a grid with a search": (
        ["--grid=table2", "--tuner=random"],
        "`tuner` is not to be given with --grid=table2",
    ),
    "a grid with a data set": (
        ["--grid=table2"],
        "`dataset` is not to be given with --grid=table2",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_flags(name, tmp_path, monkeypatch, capsys, worker):
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[name]
    backend = os.environ.get("KERAS_BACKEND")
    with pytest.raises(SystemExit) as stopped:
        call(*SETTING, *arguments)
    assert stopped.value.code == 2
    assert os.environ.get("KERAS_BACKEND") == backend
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not worker.trained and not list(tmp_path.iterdir())


def environment_without_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('imported')")
    paths = os.pathsep.join([str(tmp_path), *map(str, sys.path)])
    return {**os.environ, "PYTHONPATH": paths}


@pytest.mark.parametrize(
    ("argument", "message"),
    [("--search=bata", "there is no 'bata'"), ("--tunner=grid", "Did you mean: tuner")],
)
def test_wrong_flags_from_the_shell(argument, message, tmp_path):
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "mm_tf.experiments.tune", *SETTING, argument],
        capture_output=True,
        text=True,
        env=environment_without_tensorflow(tmp_path),
    )
    assert time.perf_counter() - began < 3
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr and "imported" not in done.stderr


def test_a_search_and_what_it_leaves(tmp_path, capsys, worker):
    folder = tmp_path / "search"
    call(*TINY, "--trials=5", "--learning_rate=0.05", f"--output_dir={folder}")
    assert len(worker.trained) == 5
    for config in worker.trained:
        # Every flag of a run holds for all trials, on one hold-out.
        assert (config.learning_rate, config.holdout) == (0.05, tune.HOLDOUT)
        assert config.subset_seed == 0
    assert len({(c.beta, c.delta, c.scale) for c in worker.trained}) == 5
    smallest = min(
        worker.trained, key=lambda c: RunResult.read(c.run_folder).top1_error
    )
    found = rows(folder)
    errors = [float(row["balanced_error"]) for row in found]
    assert errors == sorted(errors) and len(errors) == 5
    assert float(found[0]["beta"]) == smallest.beta
    assert {row["evaluated_on"] for row in found} == {"holdout"}
    text = (folder / trials.TABLE).read_text()
    out = capsys.readouterr().out
    for told in (text, " ".join(out.split())):
        assert "Chosen on a hold-out of 84 training images (25 to 1 a class)" in told
        assert "the test images chose nothing" in told
    assert "[5/5] trial 4: " in out and "best so far" in out
    assert (folder / trials.PICTURE).read_bytes().startswith(b"\x89PNG")
    again = parse(f"--flagfile={folder / trials.FLAGS}")
    assert again.identity() == dataclasses.replace(smallest, holdout=0.0).identity()
    assert again.run_folder == folder / trials.BEST
    # Again: nothing is trained, and the same is told.
    before = (folder / trials.TABLE).read_text()
    call(*TINY, "--trials=5", "--learning_rate=0.05", f"--output_dir={folder}")
    assert len(worker.trained) == 5
    assert (folder / trials.TABLE).read_text() == before


def test_selecting_on_test_images_says_everywhere_that_it_flatters(
    tmp_path, capsys, worker
):
    arguments = (*TINY, "--trials=2", "--select_on=test", f"--output_dir={tmp_path}/s")
    call(*arguments)
    assert {config.holdout for config in worker.trained} == {0.0}
    out = " ".join(capsys.readouterr().out.split())
    files = [
        (tmp_path / "s" / name).read_text() for name in (trials.TABLE, trials.FLAGS)
    ]
    for told in (out, *files):
        assert "Chosen on the TEST images (--select_on=test)" in told
        assert "flatters" in told
    assert {row["evaluated_on"] for row in rows(tmp_path / "s")} == {"test"}


def test_more_trials_go_on_with_the_search(tmp_path, worker):
    arguments = (*TINY, f"--output_dir={tmp_path}/s")
    call(*arguments, "--trials=3")
    call(*arguments, "--trials=5")
    assert len(worker.trained) == 5
    call(*TINY, "--trials=5", f"--output_dir={tmp_path}/once")
    drawn = [(c.beta, c.delta, c.scale) for c in worker.trained]
    assert drawn[:5] == drawn[5:]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ("--epochs=2", "--epochs=1 there; --epochs=2 here"),
        ("--holdout=0.3", "--holdout=0.2 there; --holdout=0.3 here"),
        ("--search=beta", "--search=beta=1..2,delta=0.3..2.4,scale=5..30 there"),
        ("--tuner=bayesian", "--tuner=random there; --tuner=bayesian here"),
        ("--select_on=test", "--select_on=holdout there; --select_on=test here"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(
    other, difference, tmp_path, capsys, worker
):
    arguments = (*TINY, "--trials=1", f"--output_dir={tmp_path}/s")
    call(*arguments)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        call(*arguments, other)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert "`output_dir` holds another search" in err and difference in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_something_else_is_refused(tmp_path, capsys, worker):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        call(*TINY, f"--output_dir={tmp_path}")
    assert stopped.value.code == 2
    assert "holds other files (thesis.txt)" in capsys.readouterr().err


def test_a_worker_needs_no_folder_that_it_shares_with_its_chief(tmp_path, worker):
    (tmp_path / "trials" / "0").mkdir(parents=True)
    call(*TINY, "--trials=1", "--search=beta", f"--output_dir={tmp_path}")
    assert len(rows(tmp_path)) == 1


def test_two_searches_into_one_folder(tmp_path, capsys, worker, monkeypatch):
    monkeypatch.setattr("mm_tf.experiments.searches.search._SECONDS_TO_WAIT", 0.1)
    arguments = (*TINY, "--trials=1", f"--output_dir={tmp_path}/s")
    values = flags.FlagValues()
    tune.define_flags(values)
    values(["tune", *arguments])
    with tune._check(values).claimed(), pytest.raises(SystemExit) as stopped:
        call(*arguments)
    assert stopped.value.code == 2
    assert "is in use: another process searches" in capsys.readouterr().err


def test_trials_that_diverge_are_told_and_do_not_end_the_search(
    tmp_path, capsys, worker
):
    # As many as would end a search of KerasTuner's own.
    worker.failing = {
        str(number): [RunDivergedError(f"Training diverged in epoch {number}")]
        for number in range(4)
    }
    arguments = (*TINY, "--trials=6", f"--output_dir={tmp_path}/s")
    call(*arguments)
    states = {row["trial"]: row["state"] for row in rows(tmp_path / "s")}
    assert [states[str(number)] for number in range(6)] == ["failed"] * 4 + [
        "finished"
    ] * 2
    assert (
        "failed: Training diverged in epoch 2"
        in (tmp_path / "s" / trials.TABLE).read_text()
    )
    # It would diverge again.
    call(*arguments)
    assert len(worker.trained) == 6


def test_a_search_without_a_finished_trial(tmp_path, capsys, worker):
    worker.failing = {"0": [RunDivergedError("Training diverged")]}
    with pytest.raises(SystemExit) as stopped:
        call(*TINY, "--trials=1", f"--output_dir={tmp_path}/s")
    assert stopped.value.code == 1
    assert "no trial has finished" in capsys.readouterr().err
    assert not (tmp_path / "s" / trials.FLAGS).exists()


def test_what_would_fail_for_all_trials_ends_the_search_and_loses_none(
    tmp_path, capsys, worker
):
    worker.failing = {"1": [RunFailedError("No space left on device")]}
    arguments = (*TINY, "--trials=3", f"--output_dir={tmp_path}/s")
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    assert stopped.value.code == 1
    err = capsys.readouterr().err
    assert "No space left on device The same line goes on" in err
    assert "Traceback" not in err
    call(*arguments)
    assert [c.run_folder.name for c in worker.trained] == ["0", "1", "1", "2"]
    assert {row["state"] for row in rows(tmp_path / "s")} == {"finished"}


def test_a_trial_whose_process_dies_goes_on_once(tmp_path, worker):
    died = grid.RunCrashedError("its process ended by itself (signal 9)")
    worker.failing = {"0": [died], "1": [died, died]}
    call(*TINY, "--trials=2", f"--output_dir={tmp_path}/s")
    assert [c.run_folder.name for c in worker.trained] == ["0", "0", "1", "1"]
    found = {row["trial"]: row for row in rows(tmp_path / "s")}
    assert found["0"]["state"] == "finished"
    assert found["1"]["reason"] == "its process ended by itself (signal 9)"


class Killed(BaseException):
    """As `kill -9`: nothing after it is done."""


TUNERS = {
    "random": ("--tuner=random", "--trials=3"),
    "bayesian": ("--tuner=bayesian", "--trials=4", "--search=beta"),
    "hyperband": ("--tuner=hyperband", "--epochs=3", "--search=beta"),
    "grid": ("--tuner=grid", "--trials=4", "--search=beta=1.2/1.5,delta=0.6/1.2"),
}


class Kills:
    """Kills the search before or behind one of its writes of what it knows."""

    def __init__(self):
        self.writes = 0
        self.at = None
        self.before = True

    def write_text(self, path, text, write=_files.write_text):
        is_state = path.name == STATE
        self.writes += is_state
        is_now = is_state and self.writes == self.at
        if is_now and self.before:
            raise Killed
        write(path, text)
        if is_now:
            raise Killed


# A Gaussian process fits few trials well or ill.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "tuner",
    [
        pytest.param(
            name, marks=[pytest.mark.long] if name in ("bayesian", "hyperband") else []
        )
        for name in TUNERS
    ],
)
def test_killed_at_any_write_it_ends_the_same(tuner, tmp_path, worker, monkeypatch):
    kills = Kills()
    monkeypatch.setattr(_files, "write_text", kills.write_text)
    monkeypatch.setattr(trials, "_draw", lambda *_: "no picture")
    arguments = (*TINY, *TUNERS[tuner])
    call(*arguments, f"--output_dir={tmp_path}/once")
    expected, writes = rows(tmp_path / "once"), kills.writes
    assert len(expected) > 2 and writes > 2 * len(expected)
    for kills.at, kills.before in itertools.product(
        range(1, writes + 1), (True, False)
    ):
        folder = tmp_path / f"{kills.at}{kills.before}"
        kills.writes = 0
        with pytest.raises(Killed):
            call(*arguments, f"--output_dir={folder}")
        call(*arguments, f"--output_dir={folder}")
        assert rows(folder) == expected


def test_trials_of_hyperband_are_runs_of_their_epochs(tmp_path, worker):
    arguments = (*TINY, *TUNERS["hyperband"], f"--output_dir={tmp_path}/s")
    call(*arguments)
    epochs = [config.epochs for config in worker.trained]
    assert set(epochs) == {1, 3} and epochs[0] == 1
    # The best of a first look is not the best.
    config = parse(f"--flagfile={tmp_path}/s/{trials.FLAGS}")
    assert config.epochs == 3


def test_a_grid_is_all_of_its_cells(tmp_path, worker):
    call(*TINY, *TUNERS["grid"], f"--output_dir={tmp_path}/s")
    pairs = [(config.beta, config.delta) for config in worker.trained]
    assert pairs == [(1.2, 0.6), (1.2, 1.2), (1.5, 0.6), (1.5, 1.2)]


def test_report_only_trains_nothing_and_imports_no_tensorflow(tmp_path, worker):
    folder = tmp_path / "s"
    call(*TINY, "--trials=2", f"--output_dir={folder}")
    (folder / trials.TABLE).unlink()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mm_tf.experiments.tune", *TINY),
            *("--report_only", f"--output_dir={folder}"),
        ],
        capture_output=True,
        text=True,
        env=environment_without_tensorflow(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert (folder / trials.TABLE).exists()
    assert len(worker.trained) == 2


@pytest.mark.parametrize("report_only", [True, False])
@pytest.mark.parametrize("text", ["", '{"trials": [1]}', "[" * 10_000])
def test_a_damaged_state_is_told(text, report_only, tmp_path, capsys, worker):
    arguments = (*TINY, "--trials=1", f"--output_dir={tmp_path}/s")
    call(*arguments)
    (tmp_path / "s" / STATE).write_text(text)
    with pytest.raises(SystemExit) as stopped:
        call(*arguments, *(["--report_only"] if report_only else []))
    assert stopped.value.code in (1, 2)
    err = capsys.readouterr().err
    assert STATE in err and "damaged" in err and "Traceback" not in err


def test_a_stopped_search_says_how_to_go_on(tmp_path, capsys, worker, monkeypatch):
    arguments = [*TINY, "--trials=3", f"--output_dir={tmp_path}/s"]
    monkeypatch.setattr(sys, "argv", ["tune", *arguments])
    worker.failing = {"1": [KeyboardInterrupt()]}
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    assert stopped.value.code == 130
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(" ".join(["python -m mm_tf.experiments.tune", *arguments]))
    call(*arguments)
    assert [c.run_folder.name for c in worker.trained] == ["0", "1", "1", "2"]


def test_half_of_kerastuners_variables_are_told(tmp_path, capsys, worker, monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(SystemExit) as stopped:
        call(*TINY, f"--output_dir={tmp_path}/s")
    assert stopped.value.code == 2
    assert "KERASTUNER_ORACLE_PORT" in capsys.readouterr().err


class TestAblation:
    def test_it_runs_exactly_the_cells_of_the_paper(self, tmp_path, capsys, worker):
        arguments = ("--grid=table3", "--epochs=10", f"--output_dir={tmp_path}/t3")
        call(*arguments)
        cells = [(c.setting, c.beta, c.delta) for c in worker.trained]
        assert cells == list(paper.TABLE3)
        assert {(c.method, c.holdout) for c in worker.trained} == {("mm_drw", 0.0)}
        text = (tmp_path / "t3" / "table3.md").read_text()
        for told in (text, capsys.readouterr().out):
            for published in paper.TABLE3.values():
                assert f"{published:.2f}" in told
            assert "epochs 10 (paper: 200)" in told
            assert "beta 1.2 (paper" not in told
        found = ablation.configs("table3", tmp_path / "t3", epochs=10)
        frame = ablation.measured("table3", found)
        assert (frame["difference"] == frame["measured"] - frame["published"]).all()
        # Again: nothing is trained.
        call(*arguments, "--report_only")
        assert len(worker.trained) == 12

    def test_the_papers_protocol_is_said_to_be_that(self, tmp_path, capsys, worker):
        call("--grid=table2", "--report_only", f"--output_dir={tmp_path}/t2")
        out = " ".join(capsys.readouterr().out.split())
        assert paper.ALWAYS_DIFFERENT in out and "Not the paper's protocol" not in out
        assert not worker.trained and not (tmp_path / "t2").exists()

    def test_a_failed_cell_is_told(self, tmp_path, capsys, worker):
        worker.failing = {"seed3": [RunFailedError("out of memory")]}
        with pytest.raises(SystemExit) as stopped:
            call("--grid=table2", "--seed=3", f"--output_dir={tmp_path}/t2")
        assert stopped.value.code == 1
        assert "out of memory" in capsys.readouterr().err


# The chief's and the workers' part of a process that ends as it is told.
MEMBER = """
import os, pathlib, signal, sys, time
name = os.environ["KERASTUNER_TUNER_ID"]
place = pathlib.Path(sys.argv[1], name + ".begun")
with place.open("a") as file:
    file.write("x")
begun = len(place.read_text())
if name == "worker0" and begun < 3:
    os.kill(os.getpid(), signal.SIGKILL)
if name == "worker1" and sys.argv[2] == "always":
    print("no such host"); sys.exit(1)
if name == "chief":
    waited = pathlib.Path(sys.argv[1], "worker0.begun")
    while not waited.exists() or len(waited.read_text()) < 3 or sys.argv[2] == "always":
        time.sleep(0.01)
    sys.exit(0)
sys.stdin.read()
"""


class TestLocalWorkers:
    @pytest.fixture
    def search(self, tmp_path, monkeypatch):
        script = tmp_path / "member.py"
        script.write_text(MEMBER)
        popen = subprocess.Popen

        def begin(command, **arguments):
            mode = command[command.index("mm_tf.experiments.tune") + 1]
            return popen(
                [sys.executable, str(script), str(tmp_path), mode], **arguments
            )

        monkeypatch.setattr(subprocess, "Popen", begin)
        monkeypatch.setattr(local_workers, "_SECONDS_TO_END", 0.1)
        values = flags.FlagValues()
        tune.define_flags(values)
        values(["tune", *TINY, f"--output_dir={tmp_path}/s"])
        return tune._check(values)

    def test_a_worker_that_dies_is_begun_again(self, search, tmp_path, capsys):
        local_workers.run(search, 2, ["now"])
        assert (tmp_path / "worker0.begun").read_text() == "xxx"
        out = capsys.readouterr().out
        assert out.count("worker0 ended (signal 9): begun again") == 2
        assert (search.folder / "logs" / "worker1.log").exists()

    def test_one_that_always_dies_ends_the_search(self, search):
        with pytest.raises(RuntimeError, match="worker1 ended by itself 6 times"):
            local_workers.run(search, 2, ["always"])


@pytest.mark.long
def test_a_real_search_and_the_same_by_a_hypermodel(tmp_path, capsys):
    """Two trials, really trained; then one as a user's own tuner would."""
    folder = tmp_path / "s"
    call(*TINY, "--trials=2", "--search=beta", f"--output_dir={folder}")
    result = RunResult.read(folder / "trials" / "0")
    assert result.evaluated_on == "holdout" and sum(result.class_counts) == 333
    found = {row["trial"]: row for row in rows(folder)}
    assert float(found["0"]["balanced_error"]) == pytest.approx(
        result.balanced_error, rel=1e-5
    )

    config = RunConfig(
        model="resnet8", imbalance_ratio=20, epochs=1, batch_size=64, beta=9.0
    )
    model = tune.hypermodel(config, search=["beta"])
    hp = made_up_hyperparameters(beta=result.hyperparameters["beta"])
    errors = model.fit(hp, model.build(hp), verbose=0)
    assert errors[model.objective.name] == pytest.approx(result.balanced_error)
    assert errors["holdout_top1_error"] == pytest.approx(result.top1_error)


def made_up_hyperparameters(**values):
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hp


def test_the_hypermodels_space_and_hold_out_are_the_commands():
    config = RunConfig(imbalance_ratio=20)
    model = tune.hypermodel(config)
    assert model.config.holdout == tune.HOLDOUT
    assert [each.name for each in model.dimensions] == ["beta", "delta", "scale"]
    assert tune.hypermodel(config, select_on="test").objective.name == (
        "test_balanced_error"
    )
    with pytest.raises(ValueError, match="Received: select_on='train'$"):
        tune.hypermodel(config, select_on="train")
    with pytest.raises(ValueError, match="there is no 'gamma'"):
        tune.hypermodel(config, search=["gamma"])


LONG = (*SETTING, "--model=resnet8", "--epochs=8", "--batch_size=32", "--trials=5")


def real(folder, *arguments):
    """Begins the command as a process."""
    command = [sys.executable, "-m", "mm_tf.experiments.tune", *LONG, *arguments]
    return subprocess.Popen(
        [*command, f"--output_dir={folder}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )


def found_by(folder):
    """What a search found, but for times."""
    found = rows(folder)
    for row in found:
        del row["training_seconds"]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "s"
    process = real(folder)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    return found_by(folder)


def under_way(folder):
    return {
        path.parts[-3]: path.name
        for path in folder.glob("trials/*/checkpoints/epoch*.npz")
    }


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_search_that_is_killed_goes_on_and_ends_the_same(
    workers, tmp_path, undisturbed
):
    folder = tmp_path / "s"
    for _ in range(3):
        process = real(folder, f"--workers={workers}")
        before = under_way(folder)
        while process.poll() is None and under_way(folder) in ({}, before):
            time.sleep(0.02)
        process.kill()
        process.wait()
    process = real(folder, f"--workers={workers}")
    out, _ = process.communicate()
    assert process.returncode == 0, out
    if not workers:
        assert "Goes on from epoch" in out
    assert found_by(folder) == undisturbed


@pytest.mark.long
def test_a_killed_worker_is_handed_its_trial_again(tmp_path, undisturbed):
    folder = tmp_path / "s"
    process = real(folder, "--workers=2")
    while process.poll() is None and not under_way(folder):
        time.sleep(0.02)
    os.kill(pid_of("worker0", folder), signal.SIGKILL)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert "worker0 ended (signal 9): begun again" in out
    assert found_by(folder) == undisturbed
    states = [state["status"] for state in json.loads(text_of(folder))["trials"]]
    assert states == ["COMPLETED"] * 5


def text_of(folder):
    return (folder / STATE).read_text()


def pid_of(name, folder):
    """The process of a worker, by what it was called with."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "pid=,args=", "e"], capture_output=True, text=True
    ).stdout
    for line in listed.splitlines():
        is_tuner = "mm_tf.experiments.tune" in line and str(folder) in line
        if is_tuner and f"KERASTUNER_TUNER_ID={name}" in line:
            return int(line.split()[0])
    raise AssertionError(f"no process of {name}")


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_search_stops_at_a_signal_and_goes_on(workers, number, tmp_path, undisturbed):
    folder = tmp_path / "s"
    process = real(folder, f"--workers={workers}")
    while process.poll() is None and not under_way(folder):
        time.sleep(0.02)
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in out
    assert "To go on:\n" in out and "python -m mm_tf.experiments.tune" in out
    assert under_way(folder)
    process = real(folder, f"--workers={workers}")
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert found_by(folder) == undisturbed


@pytest.mark.long
def test_the_hypermodel_in_a_tuner_of_kerastuner(tmp_path):
    import keras_tuner

    config = RunConfig(model="resnet8", imbalance_ratio=20, epochs=3, batch_size=64)
    model = tune.hypermodel(config, search=["beta", "delta"])
    places = {"directory": str(tmp_path), "objective": model.objective}
    for tuner in (
        keras_tuner.RandomSearch(model, max_trials=2, project_name="r", **places),
        keras_tuner.Hyperband(model, max_epochs=3, project_name="h", **places),
    ):
        tuner.search(verbose=0)
        (best,) = tuner.get_best_hyperparameters(1)
        assert {"beta", "delta"} <= best.values.keys()
        assert 0 <= tuner.oracle.get_best_trials(1)[0].score <= 100
