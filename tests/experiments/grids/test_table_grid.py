"""The command that fills the table: its flags, what it trains, what it leaves."""

import functools
import sys

import numpy as np
import pytest
from absl import flags
from flag_parsing import call_command, parse
from helpers import ROOT, refused
from made_up_images import save_classes
from made_up_worker import MadeUpWorker

from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments import paper, table
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import grid
from mm_tf.experiments.grids import worker as trains
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs.result import RESULT, RunResult
from mm_tf.experiments.runs.run import RunFailedError

TINY = (
    "--settings=digits_lt20",
    "--methods=erm,mm_drw",
    "--seeds=0,1",
    "--model=resnet8",
    "--epochs=1",
)


call = functools.partial(call_command, table)


@pytest.fixture
def worker(monkeypatch):
    def errors(config):
        return dict.fromkeys(["top1_error", "best_top1_error"], float(config.seed))

    return MadeUpWorker(errors, monkeypatch)


SETTING_SAYS_IT = "`dataset` is not for a table: use --settings"
WRONG = [
    (["--methods=erm,mm_drv"], "Did you mean mm_drw?"),
    (["--methods="], "`methods` must be a list"),
    (["--methods=erm,erm"], "`methods` must be a list without"),
    (["--settings=imagenet_lt10"], "`settings` must be a data set"),
    (["--settings=cifar10_long10"], "settings='cifar10_long10'"),
    (["--settings=cifar10_lt"], "settings='cifar10_lt'"),
    (["--settings=digits_lt0.5"], "`imbalance_ratio` must be"),
    (["--settings=digits_lt500"], "digits_lt500 is not possible"),
    (["--settings=digits_lt20.0"], "must be written digits_lt20"),
    (["--seeds=one"], "`seeds` must be numbers"),
    (["--seeds=-1"], "`seeds` must be numbers"),
    (["--seeds=2-0"], "`seeds` must be numbers"),
    (["--seeds=0-1000000000"], "`seeds` must be numbers"),
    (["--seeds=0-2,1"], "`seeds` must be a list without repeats"),
    (["--method=erm"], "use --methods"),
    ([f"--flagfile={ROOT}/experiments/cifar10_lt100.flags"], SETTING_SAYS_IT),
    (["--compare=erm"], "`compare` must be two"),
    (["--compare=erm,erm"], "`compare` must be two"),
    (
        ["--methods=erm,mm", "--compare=erm,focal"],
        "`compare` must name methods of the table (erm, mm)",
    ),
    (["--epochs=0"], "`epochs` must be"),
    (["--output_dir= "], "`output_dir` must be a path"),
    (["--report_only"], "`output_dir` holds no result"),
    (["erm"], "Only flags, as --method=mm, and one path"),
    (["--settings=cifar10_lt100", "."], "`settings` must not be given with a path"),
    (["--ray_address=auto"], "`ray_address` is for --executor=ray"),
    (["--gpus_per_run=1"], "`gpus_per_run` is for --executor=ray"),
    (["--cpus_per_run=2"], "`cpus_per_run` is for --executor=ray"),
    (["--executor=ray", "--cpus_per_run=0"], "`cpus_per_run` must be"),
    (["--executor=ray", "--gpus_per_run=-1"], "`gpus_per_run` must be"),
    (["--executor=ray", "--gpus_per_run=1.5"], "`gpus_per_run` must be a whole number"),
    (["--executor=ray", "--ray_address=localhost"], "`ray_address` must be HOST:PORT"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_flags(arguments, message, tmp_path, monkeypatch, worker):
    monkeypatch.chdir(tmp_path)
    printed = refused(call, *arguments)
    assert message in printed and printed.count("\n") == 1
    assert not worker.trained and not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["{}", "--data_dir={}"])
def test_a_path_is_the_data_of_the_table(form, tmp_path, worker):
    photos = save_classes(tmp_path / "photos", {"ant": 3, "bee": 2})
    words = (form.format(photos), "--seeds=0", f"--output_dir={tmp_path / 'runs'}")
    call(*TINY[1:], *words)
    settings = {(config.dataset, config.setting) for config in worker.trained}
    assert settings == {("folder", "folder-photos_as_is")}


@pytest.mark.parametrize("flag", ["output_dir", "report"])
def test_folder_that_cannot_be_made(flag, tmp_path, worker):
    (tmp_path / "file").write_text("mine")
    arguments = {"output_dir": tmp_path / "runs", flag: tmp_path / "file" / "x" / "y"}
    printed = refused(call, *TINY, *(f"--{k}={v}" for k, v in arguments.items()))
    assert f"`{flag}` cannot be written" in printed
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
        flagfile = ROOT / "experiments" / f"{config.setting}.flags"
        again = parse(
            f"--flagfile={flagfile}",
            f"--method={config.method}",
            f"--seed={config.seed}",
        )
        assert again.identity() == config.identity()
        assert again.run_folder == config.run_folder
        if config.method in paper.TABLE1:
            assert not paper.compare(config).differences


def test_beta_and_delta_are_the_papers_unless_given():
    def pair(setting, **arguments):
        (config,) = grid.grid(["mm_drw"], [setting], [0], **arguments)
        return config.beta, config.delta

    assert pair("cifar10_step10") == (1.0, 2.1)
    assert pair("cifar10_step10", beta=1.7) == (1.7, 2.1)
    assert pair("digits_lt20") == (RunConfig.beta, RunConfig.delta)


def trained(worker):
    """The method and the seed of each training since the last call."""
    configs, worker.trained = worker.trained, []
    return [(config.method, config.seed) for config in configs]


def test_the_lines_of_the_readme_take_folders_of_their_own():
    configs = [parse("--setting=quickstart")]
    for line in (ROOT / "README.md").read_text().splitlines():
        words = line.partition("#")[0].split()
        if "PHOTOS" in words:
            continue
        if words[:2] == ["mm_tf", "run"]:
            configs.append(parse(*words[2:]))
        elif words[:2] == ["mm_tf", "table"]:
            values = flags.FlagValues()
            table.define_flags(values)
            values(words[1:])
            configs += table._check(values)[0]
    assert len(configs) > 40
    folders = {config.run_folder: config.identity() for config in configs}
    for config in configs:
        assert folders[config.run_folder] == config.identity()


def test_a_failed_run_is_reported_and_does_not_stop_the_rest(tmp_path, capsys, worker):
    worker.failures = {0: RunFailedError("out of memory")}
    arguments = (*TINY, f"--output_dir={tmp_path}")
    err = refused(call, *arguments, "--compare=mm_drw,erm", status=1)
    runs = [("erm", 0), ("mm_drw", 0), ("erm", 1), ("mm_drw", 1)]
    assert trained(worker) == runs
    out = capsys.readouterr().out
    assert "[1/4] ERM, digits_lt20, seed 0: failed: out of memory" in out
    assert "1 of 4 runs failed" in err and "seed 0: out of memory" in err
    text = (tmp_path / "table.md").read_text()
    assert "1.00 [1] (n = 1)" in text and "0.50 ± 0.71 [1]" in text
    assert (tmp_path / "table.tex").exists() and (tmp_path / "table.csv").exists()
    # Again: only what failed is trained.
    worker.failures = {}
    call(*arguments)
    assert trained(worker) == [("erm", 0)]
    assert "4 runs: 3 there, 1 to train" in capsys.readouterr().out


def test_without_methods_only_those_that_are_compared_are_trained(tmp_path, worker):
    compared = ("--compare=mm_drw,erm", f"--output_dir={tmp_path}")
    call(TINY[0], "--seeds=0", *compared)
    assert trained(worker) == [("erm", 0), ("mm_drw", 0)]
    call(TINY[0], "--seeds=0", *compared, "--methods=erm,mm,mm_drw")
    assert trained(worker) == [("mm", 0)]


def test_a_folder_with_another_run_is_reported_and_stays(tmp_path, capsys, worker):
    call(*TINY, "--seeds=0", f"--output_dir={tmp_path}")
    trained(worker)
    other = (*TINY, "--batch_size=64", f"--output_dir={tmp_path}")
    printed = refused(call, *other, status=1)
    assert "2 of 4 runs failed" in printed
    # Which flags differ, and a place that is free for all runs of the table.
    assert "--batch_size=128 there; --batch_size=64 here" in printed
    assert f"--output_dir={tmp_path}_2. Received: " in printed
    assert trained(worker) == [("erm", 1), ("mm_drw", 1)]
    assert capsys.readouterr().out.count("--batch_size=128 there") == 2
    # With --overwrite only those are trained again.
    call(*other, "--overwrite")
    assert trained(worker) == [("erm", 0), ("mm_drw", 0)]
    # A table is not replaced by one of nothing.
    before = (tmp_path / "table.md").read_text()
    refused(call, *other, "--batch_size=32", status=1)
    assert "no table written" in capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() == before


def test_report_only_trains_nothing(tmp_path, capsys, worker):
    call(*TINY, f"--output_dir={tmp_path}")
    trained(worker)
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


def test_errors_after_post_hoc_logit_adjustment(tmp_path, capsys, worker):
    line = (*TINY, f"--output_dir={tmp_path}", "--post_hoc=la", "--post_hoc_tau=1")
    call(*TINY, f"--output_dir={tmp_path}")
    runs = tmp_path / "digits_lt20"
    labels = np.array([0, 1, 2, 2])
    # Class 2 is ten times as rare as class 0.
    outputs = np.float16([[9, 0, 0], [0, 9, 0], [1, 0, 0], [9, 0, 0]])
    for seed in (0, 1):
        np.savez(
            runs / "erm" / f"seed{seed}" / "predictions.npz",
            labels=labels,
            predictions=outputs.argmax(1),
            outputs=outputs,
        )
    capsys.readouterr()
    call(*line)
    text = (tmp_path / "table.md").read_text()
    assert "## After post-hoc logit adjustment" in text
    rows = [[cell.strip() for cell in x.split("|")] for x in text.splitlines()]
    there = ["ERM", "2", "1", "50.00 ± 0.00", "25.00 ± 0.00", "-25.00"]
    assert ["", "digits_lt20", *there, ""] in rows
    assert ["", "digits_lt20", "MM-DRW", "0", "-", "-", "-", "-", ""] in rows
    assert "- Not adjusted: MM-DRW, digits_lt20, seed 0: No such file" in text
    assert "after post-hoc logit" in (tmp_path / "table.tex").read_text()
    assert "25.00 ± 0.00" in capsys.readouterr().out
    assert "`post_hoc_tau` must be" in refused(call, *line, "--post_hoc_tau=-1")


@pytest.mark.parametrize("ending", ["md", "csv", "tex"])
def test_only_an_earlier_table_is_replaced(ending, tmp_path, worker):
    arguments = (*TINY, "--seeds=0", f"--output_dir={tmp_path / 'runs'}")
    report = f"--report={tmp_path / 'paper'}"
    call(*arguments, report)
    call(*arguments, report)
    mine = tmp_path / f"paper.{ending}"
    mine.write_text("# My paper")
    trained(worker)
    assert mine.name in refused(call, *arguments, "--seeds=1", report)
    assert mine.read_text() == "# My paper" and not trained(worker)


def test_missing_data_are_reported_before_the_first_run(tmp_path, worker, monkeypatch):
    def check_data(name, data_dir, options):
        raise DatasetUnavailableError(f"no {name} in {data_dir}")

    monkeypatch.setattr(trains, "check_data", check_data)
    cifar = ("--settings=cifar10_lt100", "--data_dir=there")
    printed = refused(call, *TINY, *cifar, f"--output_dir={tmp_path}")
    assert printed == "mm_tf: no cifar10 in there\n"
    assert not worker.trained


@pytest.mark.long
def test_a_real_grid_is_stopped_and_resumes(tmp_path, capsys, monkeypatch):
    """Two methods, two seeds, really trained; Ctrl-C in the second run."""

    train = trains.train

    def stopped(config, on_look):
        if config.method == "mm_drw":
            raise KeyboardInterrupt
        return train(config, on_look)

    arguments = [*TINY, f"--output_dir={tmp_path}", "--compare=mm_drw,erm"]
    monkeypatch.setattr(sys, "argv", ["table", *arguments])
    with monkeypatch.context() as patch:
        patch.setattr(trains, "train", stopped)
        line = refused(call, *arguments, status=130).splitlines()[-1]
    capsys.readouterr()
    assert line.endswith(" ".join(["-m mm_tf.experiments.table", *arguments]))
    (first,) = tmp_path.rglob(RESULT)
    before = first.stat()

    call(*arguments)
    out = capsys.readouterr().out
    assert "4 runs: 1 there, 3 to train" in out
    assert "[4/4] MM-DRW, digits_lt20, seed 1: " in out and "left" in out
    now = first.stat()
    assert (now.st_mtime_ns, now.st_ino) == (before.st_mtime_ns, before.st_ino)
    errors = [
        RunResult.read(tmp_path / "digits_lt20" / "erm" / f"seed{seed}").top1_error
        for seed in (0, 1)
    ]
    text = (tmp_path / "table.md").read_text()
    assert f"{sum(errors) / 2:.2f} ± {abs(errors[0] - errors[1]) / 2**0.5:.2f}" in text
    assert "MM-DRW - ERM | 2 " in text
