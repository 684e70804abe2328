"""The search: its flags, what it trains, what it leaves, how it resumes.

One file, because all of it calls the one command with one made-up worker.
"""

import csv
import dataclasses
import functools
import itertools
import sys

import helpers
import numpy as np
import pytest
from flag_parsing import call_command, parse
from made_up_worker import Killed, MadeUpWorker

from mm_tf.experiments import paper, tune
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import ablation
from mm_tf.experiments.grids import worker as trains
from mm_tf.experiments.run import RunDivergedError, RunFailedError
from mm_tf.experiments.runs.result import RunResult
from mm_tf.experiments.searches import trials

SETTING = ("--dataset=digits", "--imbalance_ratio=20")
TINY = (*SETTING, "--model=resnet8", "--epochs=1", "--batch_size=64")
call = functools.partial(call_command, tune)
TWO_BETAS = ("--tuner=grid", "--trials=2", "--search=beta=1.2/1.5")


def bowl(config):
    """Errors that are least at beta 1.5 and delta 1."""
    error = 10 + 20 * abs(config.beta - 1.5) + 5 * abs(config.delta - 1)
    return {"balanced_error": error, "top1_error": error / 2}


@pytest.fixture
def worker(monkeypatch):
    return MadeUpWorker(bowl, monkeypatch)


def rows(folder):
    with (folder / trials.CSV).open(newline="") as file:
        return list(csv.DictReader(file))


WRONG = [
    (["--trials=0"], "`trials` must be an integer >= 1"),
    (["--search_seed=-1"], "`search_seed` must be"),
    (
        ["--tuner=hyperband", "--trials=3"],
        "`trials` must not be given with --tuner=hyperband",
    ),
    (["--tuner=hyperband", "--search=epochs"], "`search` must be without epochs"),
    (["--tuner=grid", "--trials=11"], "`trials` must be at least the 12 cells"),
    (["--holdout=0"], "`holdout` must be above 0"),
    (
        ["--holdout=0.2", "--select_on=test"],
        "`holdout` must not be given with --select_on=test",
    ),
    (["--epochs=0"], "`epochs` must be"),
    (["--output_dir= "], "`output_dir` must name a folder"),
    (
        [f"--output_dir={__file__}/s"],
        "`output_dir` cannot be read or written (Not a directory)",
    ),
    (["--overwrite"], "`overwrite` is not for a search"),
    (["beta"], "Only flags, as --method=mm, and one path"),
    (["--report_only"], "holds no trial of a search"),
    (["--grid=table2", "--tuner=random"], "`tuner` must not be given with --grid"),
    (["--grid=table2"], "`dataset` must not be given with --grid=table2"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_flags(arguments, message, tmp_path, monkeypatch, worker):
    monkeypatch.chdir(tmp_path)
    printed = helpers.refused(call, *SETTING, *arguments)
    assert message in printed and printed.count("\n") == 1
    assert not worker.trained and not list(tmp_path.iterdir())


def test_a_search_and_what_it_leaves(tmp_path, capsys, worker):
    folder = tmp_path / "search"
    arguments = (*TINY, "--trials=5", "--learning_rate=0.05", f"--output_dir={folder}")
    call(*arguments)
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
    assert folder / "trials" / found[0]["trial"] == smallest.run_folder
    assert {row["evaluated_on"] for row in found} == {"holdout"}
    text = (folder / trials.TABLE).read_text()
    out = capsys.readouterr().out
    for printed in (text, " ".join(out.split())):
        assert "Chosen on a hold-out of 84 training images (25 to 1 a class)" in printed
        assert "the test images chose nothing" in printed
    assert "[5/5] beta=" in out and "best so far" in out
    assert (folder / trials.PICTURE).read_bytes().startswith(b"\x89PNG")
    again = parse(f"--flagfile={folder / trials.FLAGS}")
    assert again.identity() == dataclasses.replace(smallest, holdout=0.0).identity()
    assert again.run_folder == folder / trials.BEST
    # Again: nothing is trained, and the same is reported.
    call(*arguments)
    assert len(worker.trained) == 5
    assert (folder / trials.TABLE).read_text() == text


def test_selecting_on_test_images_says_everywhere_that_it_flatters(
    tmp_path, capsys, worker
):
    call(*TINY, "--trials=2", "--select_on=test", f"--output_dir={tmp_path}/s")
    assert {config.holdout for config in worker.trained} == {0.0}
    out = " ".join(capsys.readouterr().out.split())
    files = [
        (tmp_path / "s" / name).read_text() for name in (trials.TABLE, trials.FLAGS)
    ]
    for printed in (out, *files):
        assert "Chosen on the TEST images (--select_on=test)" in printed
        assert "flatters" in printed
    assert {row["evaluated_on"] for row in rows(tmp_path / "s")} == {"test"}


def test_more_trials_continue_the_search(tmp_path, worker):
    arguments = (*TINY, f"--output_dir={tmp_path}/s")
    call(*arguments, "--trials=3")
    call(*arguments, "--trials=11")
    assert len(worker.trained) == 11
    call(*TINY, "--trials=11", f"--output_dir={tmp_path}/once")
    drawn = [(c.beta, c.delta, c.scale) for c in worker.trained]
    assert drawn[:11] == drawn[11:]
    assert rows(tmp_path / "s") == rows(tmp_path / "once")


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
    other, difference, tmp_path, worker
):
    arguments = (*TINY, "--trials=1", f"--output_dir={tmp_path}/s")
    call(*arguments)
    before = sorted(tmp_path.rglob("*"))
    printed = helpers.refused(call, *arguments, other)
    assert "`output_dir` holds another search" in printed and difference in printed
    assert f"--output_dir={tmp_path}/s_2. Received: " in printed
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_something_else_is_refused(tmp_path, worker):
    (tmp_path / "thesis.txt").write_text("mine")
    printed = helpers.refused(call, *TINY, f"--output_dir={tmp_path}")
    assert "this one holds thesis.txt" in printed


def test_trials_that_diverge_are_reported_and_do_not_end_the_search(tmp_path, worker):
    # As many as would end a search of KerasTuner's own.
    worker.failures = {
        number: RunDivergedError(f"Training diverged in epoch {number}")
        for number in range(4)
    }
    arguments = (*TINY, "--trials=6", f"--output_dir={tmp_path}/s")
    call(*arguments)
    states = [row["state"] for row in rows(tmp_path / "s")]
    assert states == ["finished"] * 2 + ["failed"] * 4
    text = (tmp_path / "s" / trials.TABLE).read_text()
    assert "failed: Training diverged in epoch 2" in text
    # It would diverge again.
    call(*arguments)
    assert len(worker.trained) == 6
    assert (tmp_path / "s" / trials.TABLE).read_text() == text


def test_a_search_without_a_finished_trial(tmp_path, worker):
    worker.failures = {0: RunDivergedError("Training diverged")}
    arguments = (*TINY, "--trials=1", f"--output_dir={tmp_path}/s")
    assert "no trial has finished" in helpers.refused(call, *arguments, status=1)
    assert not (tmp_path / "s" / trials.FLAGS).exists()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (RunFailedError("No space left"), 1, "left The same line resumes the search."),
        (KeyboardInterrupt(), 130, "python -m mm_tf.experiments.tune {}\n"),
    ],
)
def test_a_search_that_ends_early_loses_no_trial_and_resumes(
    error, status, words, tmp_path, worker, monkeypatch
):
    arguments = [*TINY, *TWO_BETAS, f"--output_dir={tmp_path}/s"]
    monkeypatch.setattr(sys, "argv", ["tune", *arguments])
    worker.failures = {1: error}
    printed = helpers.refused(call, *arguments, status=status)
    assert words.format(" ".join(arguments)) in printed
    call(*arguments)
    assert [config.beta for config in worker.trained] == [1.2, 1.5, 1.5]
    assert {row["state"] for row in rows(tmp_path / "s")} == {"finished"}


def test_a_trial_whose_process_dies_is_run_once_more(tmp_path, worker):
    died = trains.RunCrashedError("its process ended by itself (signal 9)")
    worker.failures = {0: died, 2: died, 3: died}
    call(*TINY, *TWO_BETAS, f"--output_dir={tmp_path}/s")
    assert [config.beta for config in worker.trained] == [1.2, 1.2, 1.5, 1.5]
    finished, failed = rows(tmp_path / "s")
    assert (finished["beta"], finished["state"]) == ("1.2", "finished")
    assert failed["reason"] == "its process ended by itself (signal 9)"


TUNERS = {
    "random": ("--tuner=random", "--trials=3"),
    "bayesian": ("--tuner=bayesian", "--trials=5", "--search=beta"),
    "hyperband": ("--tuner=hyperband", "--epochs=3", "--search=beta"),
    "grid": ("--tuner=grid", "--trials=4", "--search=beta=1.2/1.5,delta=0.6/1.2"),
}


# A Gaussian process fits few trials well or ill.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("tuner", TUNERS)
def test_killed_before_and_after_any_trial_it_ends_the_same(
    tuner, tmp_path, worker, monkeypatch
):
    monkeypatch.setattr(trials, "_draw", lambda *_: None)
    arguments = (*TINY, *TUNERS[tuner])
    call(*arguments, f"--output_dir={tmp_path}/once")
    expected, drawn = rows(tmp_path / "once"), worker.trained
    assert len(expected) == len(drawn) > 2
    if tuner == "grid":
        pairs = [(config.beta, config.delta) for config in drawn]
        assert pairs == [(1.2, 0.6), (1.2, 1.2), (1.5, 0.6), (1.5, 1.2)]
    if tuner == "hyperband":
        assert {config.epochs for config in drawn} == {1, 3} and drawn[0].epochs == 1
        # The best of a first look is not the best.
        assert parse(f"--flagfile={tmp_path}/once/{trials.FLAGS}").epochs == 3
    for at, is_before in itertools.product(range(len(drawn)), (True, False)):
        folder = tmp_path / f"{at}{is_before}"
        worker.trained = []
        worker.failures = {at: Killed()} if is_before else {}
        worker.killed_after = None if is_before else at
        with pytest.raises(Killed):
            call(*arguments, f"--output_dir={folder}")
        worker.failures, worker.killed_after = {}, None
        call(*arguments, f"--output_dir={folder}")
        assert rows(folder) == expected
        # None was trained twice, but for the one that was killed before its end.
        assert len(worker.trained) == len(drawn) + is_before


def test_report_only_trains_nothing_and_imports_no_tensorflow(tmp_path, worker):
    folder = tmp_path / "s"
    call(*TINY, "--trials=2", f"--output_dir={folder}")
    (folder / trials.TABLE).unlink()
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('imported')")
    done = helpers.python(
        *("-m", "mm_tf.experiments.tune", *TINY),
        *("--report_only", f"--output_dir={folder}"),
        env=helpers.environment(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert (folder / trials.TABLE).exists()
    assert len(worker.trained) == 2


@pytest.mark.parametrize("report_only", [True, False])
@pytest.mark.parametrize("text", ["", "[1]", "[" * 10_000])
@pytest.mark.parametrize("name", ["search.json", "trials/beta=1.2.failed.json"])
def test_a_damaged_file_is_named(name, text, report_only, tmp_path, worker):
    worker.failures = {0: RunDivergedError("Training diverged")}
    arguments = (*TINY, *TWO_BETAS, f"--output_dir={tmp_path}/s")
    call(*arguments)
    (tmp_path / "s" / name).write_text(text)
    more = ["--report_only"] if report_only else []
    status = 1 if name.startswith("trials") and not report_only else 2
    printed = helpers.refused(call, *arguments, *more, status=status)
    assert "damaged" in printed and name in printed and "Remove" in printed


def test_a_trial_whose_values_do_not_name_it_is_refused(tmp_path, worker):
    # The name of a stranger's trial would stand in best.flags.
    worker.failures = {0: RunDivergedError("Training diverged")}
    arguments = (*TINY, *TWO_BETAS, f"--output_dir={tmp_path}/s", "--report_only")
    call(*arguments[:-1])
    folder = tmp_path / "s" / "trials"
    (finished,) = (path for path in folder.iterdir() if path.is_dir())
    failure = folder / "x.failed.json"
    for values in ('{"beta": 1.5}', '{"beta": "../x"}', "[]"):
        failure.write_text(f'{{"values": {values}, "reason": ""}}')
        assert "do not name its folder" in helpers.refused(call, *arguments)
    failure.unlink()
    finished.rename(folder / "x\n--overwrite")
    assert "do not name its folder" in helpers.refused(call, *arguments)


class TestAblation:
    def test_it_runs_exactly_the_cells_of_the_paper(self, tmp_path, capsys, worker):
        arguments = ("--grid=table3", "--epochs=10", f"--output_dir={tmp_path}/t3")
        call(*arguments)
        cells = [(c.setting, c.beta, c.delta) for c in worker.trained]
        assert cells == list(paper.TABLE3)
        assert {(c.method, c.holdout) for c in worker.trained} == {("mm_drw", 0.0)}
        text = (tmp_path / "t3" / "table3.md").read_text()
        for printed in (text, capsys.readouterr().out):
            for published in paper.TABLE3.values():
                assert f"{published:.2f}" in printed
            assert "epochs 10 (paper: 200)" in printed
            assert "beta 1.2 (paper" not in printed
        found = ablation.configs("table3", tmp_path / "t3", epochs=10)
        frame = ablation.measured(found)
        assert (frame["difference"] == frame["measured"] - frame["published"]).all()
        # Again: nothing is trained.
        call(*arguments, "--report_only")
        assert len(worker.trained) == 12

    def test_the_papers_protocol_is_said_to_be_that(self, tmp_path, capsys, worker):
        call("--grid=table2", "--report_only", f"--output_dir={tmp_path}/t2")
        out = " ".join(capsys.readouterr().out.split())
        assert paper.ALWAYS_DIFFERENT in out and "Not the paper's protocol" not in out
        assert not worker.trained and not (tmp_path / "t2").exists()

    def test_only_an_earlier_table_is_replaced(self, tmp_path, worker):
        mine = tmp_path / "table2.csv"
        mine.write_text("sample,weight\n")
        line = ("--grid=table2", f"--output_dir={tmp_path}")
        assert f"Received: {mine}" in helpers.refused(call, *line)
        assert mine.read_text() == "sample,weight\n" and not worker.trained

    def test_a_failed_cell_is_reported(self, tmp_path, worker):
        worker.failures = {0: RunFailedError("out of memory")}
        arguments = ("--grid=table2", "--seed=3", f"--output_dir={tmp_path}/t2")
        printed = helpers.refused(call, *arguments, status=1)
        assert "out of memory" in printed


@pytest.mark.long
def test_a_real_search_and_the_same_by_a_hypermodel(tmp_path):
    folder = tmp_path / "s"
    call(*TINY, "--trials=2", "--search=beta", f"--output_dir={folder}")
    found = rows(folder)
    result = RunResult.read(folder / "trials" / found[0]["trial"])
    assert result.evaluated_on == "holdout" and sum(result.class_counts) == 333
    error = float(found[0]["balanced_error"])
    assert error == pytest.approx(result.balanced_error, rel=1e-5)

    import keras_tuner

    config = RunConfig(
        model="resnet8", imbalance_ratio=20, epochs=1, batch_size=64, beta=9.0
    )
    model = tune.hypermodel(config, search=["beta"])
    hp = keras_tuner.HyperParameters()
    hp.values = {"beta": result.hyperparameters["beta"]}
    errors = model.fit(hp, model.build(hp), verbose=0)
    assert errors[model.objective.name] == pytest.approx(result.balanced_error)
    assert errors["holdout_top1_error"] == pytest.approx(result.top1_error)


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


def shaded(per_class, seed):
    """Noise, brighter from class to class, and labels."""
    labels = np.repeat([0, 1, 2], per_class)
    noise = np.random.default_rng(seed).integers(0, 100, (len(labels), 8, 8))
    return (noise + 60 * labels[:, None, None]).astype("uint8"), labels


def found_by_kerastuner(tmp_path, name, test_images):
    """What a tuner of KerasTuner finds: the values and the error of its trial."""
    import keras_tuner

    train_images, train_labels = shaded(40, seed=0)
    path = tmp_path / f"{name}.npz"
    arrays = {"x_train": train_images, "y_train": train_labels, "x_test": test_images}
    np.savez(path, **arrays, y_test=shaded(3, seed=1)[1])
    config = RunConfig(
        dataset="npz",
        data_dir=str(path),
        imbalance_ratio=2,
        model="resnet8",
        epochs=2,
        batch_size=8,
    )
    model = tune.hypermodel(config, search=["beta", "delta"])
    tuner = keras_tuner.RandomSearch(
        model,
        objective=model.objective,
        max_trials=1,
        seed=1,
        directory=str(tmp_path),
        project_name=name,
    )
    tuner.search(verbose=0)
    (best,) = tuner.oracle.get_best_trials(1)
    return best.hyperparameters.values, best.score


def test_a_tuner_of_kerastuner_finds_the_same_when_the_test_images_are_spoiled(
    tmp_path,
):
    images, _ = shaded(3, seed=1)
    values, error = found_by_kerastuner(tmp_path, "whole", images)
    assert values.keys() == {"beta", "delta"}
    assert error < 60  # It is not the one that spoiled images would give.
    spoiled = found_by_kerastuner(tmp_path, "spoiled", np.zeros_like(images))
    assert spoiled == (values, error)
