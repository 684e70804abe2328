"""Fills the paper's Table 1: methods x settings x seeds, each cell a run.

    python -m mm_tf.experiments.table --methods=ldam_drw,mm_drw --seeds=0-4
    python -m mm_tf.experiments.table --settings=digits_lt20 --epochs=50

All flags of `mm_tf.experiments.run` hold for every run, except those that the
grid sets itself. The runs are saved under <output_dir>/<setting>/<method>/, and
finished ones are not run again: stop the command when you like, and the same line
resumes it. The same from Python:

    from mm_tf.experiments.grids import aggregate, grid
    results, failures = grid.run_grid(
        grid.grid(["erm", "mm_drw"], ["digits_lt20"], [0, 1, 2], epochs=50)
    )
    print(aggregate.summarize(results).to_markdown())
"""

import pathlib
import tempfile
from typing import Any

from absl import app, flags

from mm_tf import _files
from mm_tf.data import DATASETS, DatasetUnavailableError
from mm_tf.data.dataset import dataset_at
from mm_tf.experiments import paper
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.grids import cluster, grid
from mm_tf.experiments.machine import command, stopping

# The flags of a run that the grid sets, and the flag that says them here.
_SET_BY_GRID = {
    "dataset": "settings",
    "imbalance": "settings",
    "imbalance_ratio": "settings",
    "method": "methods",
    "seed": "seeds",
}

# The command's own flags: kind, name, default, the values of an enum, help.
_FLAGS: tuple[tuple[Any, ...], ...] = (
    (
        flags.DEFINE_list,
        "methods",
        list(paper.TABLE1),
        "The methods, with commas; by default those of --compare, else the paper's.",
    ),
    (
        flags.DEFINE_list,
        "settings",
        list(paper.SETTINGS),
        "The settings, with commas: a data set, _lt (long-tailed) or _step, and the "
        "imbalance ratio; digits_lt20 needs no download.",
    ),
    (flags.DEFINE_list, "seeds", ["0-2"], "The seeds: 0,1,2 or 0-2."),
    (
        flags.DEFINE_boolean,
        "best_epoch",
        False,
        "Show the best epoch's error as well. It is chosen on the test images.",
    ),
    (
        flags.DEFINE_multi_string,
        "compare",
        [],
        "METHOD_A,METHOD_B: the difference of their errors over the same seeds, with "
        "a confidence interval. May be given several times.",
    ),
    (
        flags.DEFINE_enum,
        "post_hoc",
        None,
        ["la"],
        "Errors after post-hoc logit adjustment as well, without training.",
    ),
    (
        flags.DEFINE_float,
        "post_hoc_tau",
        None,
        "Its strength, >= 0; by default chosen on the hold-out of runs that have one, "
        "and 1 for others.",
    ),
    (
        flags.DEFINE_boolean,
        "report_only",
        False,
        "Train nothing: the table of the runs that are there, whatever other flags "
        "they were run with.",
    ),
    (
        flags.DEFINE_enum,
        "executor",
        "local",
        ["local", "ray"],
        "Where the runs are trained: one at a time in this machine, or side by side on "
        "a Ray cluster, all of whose machines must see --output_dir.",
    ),
    (
        flags.DEFINE_string,
        "ray_address",
        None,
        "The Ray cluster, HOST:PORT, or auto for the one that this machine is in; by "
        "default one on this machine only.",
    ),
    (
        flags.DEFINE_float,
        "gpus_per_run",
        None,
        "GPUs of a run on a Ray cluster, 0.25 for four runs on one; by default 1 where "
        "there are any.",
    ),
    (flags.DEFINE_float, "cpus_per_run", 1.0, "CPU cores of a run on a Ray cluster."),
    (
        flags.DEFINE_string,
        "report",
        None,
        "Where the table is written: PATH, for PATH.md, PATH.csv and PATH.tex; "
        "default <output_dir>/table. An earlier table of mm_tf is replaced, also one "
        "with notes of yours.",
    ),
)


# How the files of a table begin, by their endings.
_BEGINS = {
    "md": "# Top-1 errors beside the paper's Table 1\n",
    "csv": "setting,method,n,seeds,mean,sd,",
    "tex": "% Needs \\usepackage{booktabs}.\n",
}


def define_flags(values=flags.FLAGS):
    """Defines the command's flags, those of a run among them."""
    config_flags.define_flags(values)
    for name, instead in _SET_BY_GRID.items():
        values[name].help = f"Not for a table: use --{instead}."
        if instead == "settings":
            values[name].help += " With your images, give it as in `run`."
    values.set_default("output_dir", grid.ROOT)
    values[
        "output_dir"
    ].help = "The folder of all runs: each has <setting>/<method>/seed<seed> in it."
    values["overwrite"].help = (
        "Replace runs of other flags by those of these flags. Runs of the same flags "
        "are not run again."
    )
    for name in ("beta", "delta"):
        values[name].help += " By default the paper's best of each setting."
    for define, *arguments in _FLAGS:
        define(*arguments, flag_values=values)


def main(argv, values=flags.FLAGS):
    """The command."""
    try:
        command.take_path(argv, values)
        configs, layout = _check(values)
        worker = _worker(configs[0], values)
        tau = command.check_post_hoc(values.post_hoc, values.post_hoc_tau)
        command.set_up(configs[0].backend)
        root = pathlib.Path(values.output_dir).expanduser()
        report = pathlib.Path(values.report or root / "table").expanduser()
        failures: list[grid.Failure] = []
        if values.report_only:
            results = grid.read_results(configs)
            if not results:
                raise ValueError(
                    "`output_dir` holds no result of these methods, settings and "
                    f"seeds. Received: output_dir={str(root)!r}"
                )
        else:
            _check_writable("output_dir", root)
        _check_writable("report", report.parent)
        for ending, begin in _BEGINS.items():
            _files.check_is_ours(
                "report", report.with_name(f"{report.name}.{ending}"), begin
            )
        if not values.report_only:
            with stopping.Stop():
                results, failures = grid.run_grid(configs, None, worker, root)
        if values.post_hoc is not None and results:
            from mm_tf.experiments.grids import adjusted

            layout["more"] = [adjusted.section(configs, results, tau)]
        _report(results, layout, report)
    except (ValueError, DatasetUnavailableError) as error:
        command.fail(error)
    except KeyboardInterrupt as stopped:
        stopping.leave(
            stopped,
            "mm_tf.experiments.table",
            "The runs that are finished stay, and the one under way has a checkpoint.",
        )
    if failures:
        lines = "".join(f"\n  {failure}" for failure in failures)
        command.fail(f"{len(failures)} of {len(configs)} runs failed:{lines}", 1)


def _check(values):
    """The runs that the flags say, and how `aggregate.summarize` puts them together."""
    dataset = values.dataset
    if dataset is None and not values["settings"].present:
        dataset = dataset_at(values.data_dir)
    is_custom = dataset not in (None, *DATASETS)
    for name, instead in _SET_BY_GRID.items():
        if values[name].present and not (is_custom and instead == "settings"):
            raise ValueError(
                f"`{name}` is not for a table: use --{instead}. "
                f"Received: {name}={values[name].value!r}"
            )
    methods = grid.parse_methods(values.methods)
    pairs = grid.parse_pairs(values.compare, methods)
    if pairs and not values["methods"].present:
        methods = tuple(m for m in methods if any(m in pair for pair in pairs))
    settings = (
        _own_setting(values) if is_custom else grid.parse_settings(values.settings)
    )
    seeds = grid.parse_seeds(values.seeds)
    for name in ("output_dir", "report"):
        path = values[name].value
        if path is not None and not path.strip():
            raise ValueError(f"`{name}` must be a path. Received: {name}={path!r}")
    # Those that were not given have `RunConfig`'s defaults, or the paper's.
    given = config_flags.given(values)
    configs = grid.grid(methods, settings, seeds, values.output_dir, **given)
    layout = {"methods": methods, "settings": tuple(settings), "compare": pairs}
    return configs, {**layout, "best_epoch": values.best_epoch}


def _own_setting(values):
    """Returns {setting: its arguments} of custom data."""
    if values["settings"].present:
        raise ValueError(
            "`settings` must not be given with your images: --imbalance says "
            f"the setting. Received: settings={','.join(values.settings)!r}"
        )
    names = ("dataset", "imbalance", "imbalance_ratio")
    arguments = {name: values[name].value for name in names}
    config = RunConfig(**arguments, data_dir=values.data_dir)
    return {config.setting: arguments}


def _worker(config, values):
    """What trains, as the flags say, or None for the grid's own."""
    if values.executor == "ray":
        return cluster.Cluster(
            values.output_dir,
            values.ray_address,
            values.gpus_per_run,
            values.cpus_per_run,
            config.backend,
            values.devices,
        )
    for name in ("ray_address", "gpus_per_run", "cpus_per_run"):
        if values[name].present:
            raise ValueError(
                f"`{name}` is for --executor=ray. "
                f"Received: {name}={values[name].value!r}, executor='local'"
            )
    return None


def _check_writable(flag, folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"`{flag}` cannot be written ({error.strerror}). Received: {flag}={folder}"
        ) from None


def _report(results, layout, report):
    # pandas and SciPy take a second to import, which a wrong flag need not wait for.
    from mm_tf.experiments.grids import aggregate

    table = aggregate.summarize(results, **layout)
    table.print()
    if not results:
        # A table of nothing must not take the place of one that is there.
        print("No run has a result: no table written.")
        return
    texts = {"md": table.to_markdown(), "csv": table.to_csv(), "tex": table.to_latex()}
    for ending, text in texts.items():
        _files.write_text(f"{report}.{ending}", text)
    print(f"Written: {', '.join(f'{report}.{ending}' for ending in texts)}")


if __name__ == "__main__":
    define_flags()
    flags.adopt_module_key_flags(config_flags)
    app.run(main, flags_parser=command.parse_flags)
