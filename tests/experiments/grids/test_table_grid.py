"""The command that fills the table: its flags, what it trains, what it leaves."""

import dataclasses
import pathlib
import sys

import made_up
import pytest
from absl import flags
from flag_parsing import parse

from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments import paper, table
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import grid
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.result import RESULT, RunResult
from mm_tf.experiments.runs.run import RunFailedError

PROJECT = pathlib.Path(__file__).parents[3]
TINY = (
    "--settings=digits_lt20",
    "--methods=erm,mm_drw",
    "--seeds=0,1",
    "--model=resnet8",
    "--epochs=1",
)


def call(*arguments):
    """Calls the command in this process, with flags of its own."""
    values = flags.FlagValues()
    table.define_flags(values)
    rest = values(["table", *arguments])
    table.main(rest, values)


class FakeWorker:
    """Trains nothing: the error of a run is its seed."""

    failing = ()
    outcomes = grid.Worker.outcomes

    def __init__(self):
        self.trained = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def check_data(self, name, data_dir, options=None):
        pass

    def train(self, config, on_epoch):
        on_epoch(1)
        if (config.method, config.seed) in self.failing:
            raise RunFailedError("out of memory")
        folder = RunFolder(config)
        found = dataclasses.replace(made_up.RESULT, **_of(config))
        with folder.locked():
            folder.prepare()
            folder.finish(found)
        self.trained.append((config.method, config.seed))
        return found


def _of(config):
    comparison = paper.compare(config)
    return {
        "method": config.method,
        "setting": config.setting,
        "seed": config.seed,
        "epochs": config.epochs,
        "backend": "tensorflow",
        "flags": {**config.identity(), "backend": "tensorflow"},
        "top1_error": float(config.seed),
        "best_top1_error": float(config.seed),
        "protocol_differences": list(comparison.differences),
    }


@pytest.fixture
def worker(monkeypatch):
    fake = FakeWorker()
    monkeypatch.setattr(grid, "Worker", lambda: fake)
    return fake


WRONG = {
    "unknown method": (["--methods=erm,mm_drv"], "Did you mean mm_drw?"),
    "no methods": (["--methods="], "`methods` must be a list"),
    "a method twice": (["--methods=erm,erm"], "`methods` must be a list without"),
    "unknown data set": (["--settings=imagenet_lt10"], "`settings` must be a data set"),
    "unknown imbalance": (["--settings=cifar10_long10"], "settings='cifar10_long10'"),
    "no ratio": (["--settings=cifar10_lt"], "settings='cifar10_lt'"),
    "ratio below 1": (["--settings=digits_lt0.5"], "`imbalance_ratio` must be"),
    "ratio that empties a class": (["--settings=digits_lt500"], "digits_lt500 cannot"),
    "another name": (["--settings=digits_lt20.0"], "must be written digits_lt20"),
    "seed that is a word": (["--seeds=one"], "`seeds` must be numbers"),
    "negative seed": (["--seeds=-1"], "`seeds` must be numbers"),
    "range backwards": (["--seeds=2-0"], "`seeds` must be numbers"),
    "endless range": (["--seeds=0-1000000000"], "`seeds` must be numbers"),
    "a seed twice": (["--seeds=0-2,1"], "`seeds` must be a list without repeats"),
    "a flag of the grid": (["--method=erm"], "--methods says it"),
    "a flagfile of a setting": (
        [f"--flagfile={PROJECT}/experiments/cifar10_lt100.flags"],
        "`dataset` is not to be given here: --settings says it",
    ),
    "one method compared": (["--compare=erm"], "`compare` must be two"),
    "compared with itself": (["--compare=erm,erm"], "`compare` must be two"),
    "compared with one not there": (
        ["--methods=erm,mm", "--compare=erm,focal"],
        "`compare` must be of the methods of the table (erm, mm)",
    ),
    "a value of a run": (["--epochs=0"], "`epochs` must be"),
    "blank folder": (["--output_dir= "], "`output_dir` must be a path"),
    "nothing to report": (["--report_only"], "`output_dir` holds no result"),
    "a word that is no flag": (["erm"], "Only flags are expected"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_flags(name, tmp_path, monkeypatch, capsys, worker):
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[name]
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not worker.trained and not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["output_dir", "report"])
def test_folder_that_cannot_be_made(flag, tmp_path, capsys, worker):
    (tmp_path / "file").write_text("mine")
    arguments = {"output_dir": tmp_path / "runs", flag: tmp_path / "file" / "x" / "y"}
    with pytest.raises(SystemExit) as stopped:
        call(*TINY, *(f"--{name}={value}" for name, value in arguments.items()))
    assert stopped.value.code == 2
    assert f"`{flag}` cannot be written" in capsys.readouterr().err
    assert not worker.trained


def test_settings_and_seeds():
    names = [*paper.SETTINGS, "digits_step2.5", "digits_balanced"]
    for name, arguments in grid.parse_settings(names).items():
        assert RunConfig(**arguments).setting == name
    assert grid.parse_seeds(["0-2", "7", "4-4"]) == (0, 1, 2, 7, 4)


def test_cells_of_the_paper_are_the_runs_of_its_flagfiles():
    seeds = [0, 1]
    configs = grid.grid(list(METHODS), paper.SETTINGS, seeds)
    assert len(configs) == len(METHODS) * 8 * 2
    assert [config.seed for config in configs] == sorted(c.seed for c in configs)
    for config in configs:
        flagfile = PROJECT / "experiments" / f"{config.setting}.flags"
        again = parse(
            f"--flagfile={flagfile}",
            f"--method={config.method}",
            f"--seed={config.seed}",
        )
        assert again.identity() == config.identity()
        assert again.run_folder == config.run_folder
        assert not paper.compare(config).differences


def test_beta_and_delta_are_the_papers_unless_given():
    def pair(setting, **arguments):
        (config,) = grid.grid(["mm_drw"], [setting], [0], **arguments)
        return config.beta, config.delta

    assert pair("cifar10_step10") == (1.0, 2.1)
    assert pair("cifar10_step10", beta=1.7) == (1.7, 2.1)
    assert pair("digits_lt20") == (RunConfig.beta, RunConfig.delta)


def test_a_failed_run_is_reported_and_does_not_stop_the_rest(tmp_path, capsys, worker):
    worker.failing = [("erm", 0)]
    with pytest.raises(SystemExit) as stopped:
        call(*TINY, f"--output_dir={tmp_path}", "--compare=mm_drw,erm")
    assert stopped.value.code == 1
    out, err = capsys.readouterr()
    assert worker.trained == [("mm_drw", 0), ("erm", 1), ("mm_drw", 1)]
    assert "[1/4] ERM, digits_lt20, seed 0: failed: out of memory" in out
    assert "1 of 4 runs failed" in err and "seed 0: out of memory" in err
    text = (tmp_path / "table.md").read_text()
    assert "1.00 [1] (n = 1)" in text and "0.50 ± 0.71 [1]" in text
    assert (tmp_path / "table.tex").exists() and (tmp_path / "table.csv").exists()
    # Again: only what failed is trained.
    worker.failing, worker.trained = (), []
    call(*TINY, f"--output_dir={tmp_path}")
    assert worker.trained == [("erm", 0)]
    assert "4 runs: 3 there, 1 to train" in capsys.readouterr().out


def test_a_folder_with_another_run_is_reported_and_stays(tmp_path, capsys, worker):
    call(*TINY, "--seeds=0", f"--output_dir={tmp_path}")
    worker.trained = []
    other = (*TINY, "--batch_size=64", f"--output_dir={tmp_path}")
    with pytest.raises(SystemExit) as stopped:
        call(*other)
    assert stopped.value.code == 1
    assert worker.trained == [("erm", 1), ("mm_drw", 1)]
    out, err = capsys.readouterr()
    assert out.count("--batch_size=128 there") == 2
    assert "2 of 4 runs failed" in err
    # With --overwrite those alone are trained again.
    worker.trained = []
    call(*other, "--overwrite")
    assert worker.trained == [("erm", 0), ("mm_drw", 0)]


def test_a_table_is_not_replaced_by_one_of_nothing(tmp_path, capsys, worker):
    call(*TINY, f"--output_dir={tmp_path}")
    before = (tmp_path / "table.md").read_text()
    with pytest.raises(SystemExit) as stopped:
        call(*TINY, "--batch_size=64", f"--output_dir={tmp_path}")
    assert stopped.value.code == 1
    assert "no table written" in capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() == before


def test_report_only_trains_nothing(tmp_path, capsys, worker):
    call(*TINY, f"--output_dir={tmp_path}")
    worker.trained = []
    report = tmp_path / "texts" / "v1.0"
    call(
        "--settings=digits_lt20",
        "--report_only",
        "--best_epoch",
        f"--output_dir={tmp_path}",
        f"--report={report}",
    )
    assert not worker.trained
    names = sorted(path.name for path in report.parent.iterdir())
    assert names == ["v1.0.csv", "v1.0.md", "v1.0.tex"]
    assert "chosen on test: flatters" in capsys.readouterr().out


def test_pairs_of_runs_with_other_flags_are_marked(tmp_path, capsys, worker):
    compare = [*TINY, f"--output_dir={tmp_path}", "--compare=mm_drw,erm"]
    note = "Not of the methods alone, as the runs differ: batch_size 64 and 128."
    call(*TINY, "--methods=mm_drw", "--batch_size=64", f"--output_dir={tmp_path}")
    call(*TINY, "--methods=erm", f"--output_dir={tmp_path}")
    assert note not in capsys.readouterr().out
    call(*compare, "--report_only")
    assert note in " ".join(capsys.readouterr().out.split())
    assert note in (tmp_path / "table.md").read_text()
    call(*compare, "--overwrite")
    assert "Not of the methods alone" not in capsys.readouterr().out


def test_missing_data_are_reported_before_the_first_run(tmp_path, capsys, worker):
    def check_data(name, data_dir, options=None):
        raise DatasetUnavailableError(f"no {name} in {data_dir}")

    worker.check_data = check_data
    with pytest.raises(SystemExit) as stopped:
        call(*TINY, "--data_dir=there", f"--output_dir={tmp_path}")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "mm_tf: no digits in there\n"
    assert not worker.trained


@pytest.mark.long
def test_a_real_grid_is_stopped_and_goes_on(tmp_path, capsys, monkeypatch):
    """Two methods, two seeds, really trained; Ctrl-C in the second run."""

    class Stopped(grid.Worker):
        def train(self, config, on_epoch):
            if config.method == "mm_drw":
                raise KeyboardInterrupt
            return super().train(config, on_epoch)

    arguments = [*TINY, f"--output_dir={tmp_path}", "--compare=mm_drw,erm"]
    monkeypatch.setattr(sys, "argv", ["table", *arguments])
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(grid, "Worker", Stopped)
        call(*arguments)
    assert stopped.value.code == 130
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(" ".join(["-m mm_tf.experiments.table", *arguments]))
    (first,) = tmp_path.rglob(RESULT)
    before = first.stat()

    call(*arguments)
    out = capsys.readouterr().out
    assert "4 runs: 1 there, 3 to train" in out
    assert "[4/4] MM-DRW, digits_lt20, seed 1: " in out and "left" in out
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == (
        before.st_mtime_ns,
        before.st_ino,
    )
    errors = [
        RunResult.read(tmp_path / "digits_lt20" / "erm" / f"seed{seed}").top1_error
        for seed in (0, 1)
    ]
    text = (tmp_path / "table.md").read_text()
    assert f"{sum(errors) / 2:.2f} ± {abs(errors[0] - errors[1]) / 2**0.5:.2f}" in text
    assert "MM-DRW - ERM | 2 " in text
