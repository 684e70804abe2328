"""Searches beta, delta, scale and other flags of a run, with KerasTuner.

    python -m mm_tf.experiments.tune --flagfile=experiments/cifar10_lt100.flags
    python -m mm_tf.experiments.tune --flagfile=... --search=beta=1..2,delta --trials=24
    python -m mm_tf.experiments.tune --grid=table2     # the paper's ablation

All flags of `mm_tf.experiments.run` hold for every trial. Trials are compared by the
balanced error on a hold-out of the training images, and are runs in one folder: stop
the search when you like, and the same line resumes it. In Python, with any tuner of
KerasTuner:

    import keras_tuner
    from mm_tf.experiments import tune
    from mm_tf.experiments.config import RunConfig

    model = tune.hypermodel(RunConfig(imbalance_ratio=20, epochs=20))
    tuner = keras_tuner.RandomSearch(model, objective=model.objective, max_trials=12)
    tuner.search()
"""

import dataclasses
import pathlib
import sys

from absl import app, flags

from mm_tf._checks import check_integer
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments import paper
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.config.fields import STRATEGIES
from mm_tf.experiments.grids import ablation
from mm_tf.experiments.machine import command, stopping
from mm_tf.experiments.runs.data import with_digests
from mm_tf.experiments.searches import space, trials
from mm_tf.experiments.searches.search import TUNERS, Search, SearchFailedError

__all__ = ["HOLDOUT", "TRIALS", "hypermodel", "main"]

HOLDOUT = 0.2
TRIALS = 12

# The flags of a search, which a grid of the paper does not take.
_SEARCH_FLAGS = ("tuner", "trials", "search", "select_on", "search_seed", "holdout")


def hypermodel(config, search=(), select_on="holdout"):
    """Returns a run as a `keras_tuner.HyperModel`, to search with any tuner.

    Its space, hold-out and objective are those of the command. Give the model and its
    `objective` to a tuner of KerasTuner; `tuner.search()` needs no data.

    Args:
        config: A `RunConfig` of all that does not vary. Without a hold-out it gets
            one of 20 % of each class's training images.
        search: What varies: names of flags, for their usual ranges, or with a range
            (`"beta=1..2"`) or values (`"delta=0.6/1.2"`). By default those of beta,
            delta and scale that the method takes.
        select_on: `"holdout"`, or `"test"` for the test images, as in the paper: the
            errors then flatter. The config must have no hold-out for that.

    Returns:
        A `mm_tf.experiments.searches.hypermodel.RunHyperModel`.

    Raises:
        ValueError: An argument is not as described; the message names it.

    Example:

    >>> import keras_tuner
    >>> from mm_tf.experiments import tune
    >>> from mm_tf.experiments.config import RunConfig
    >>> config = RunConfig(model="resnet8", imbalance_ratio=20, epochs=20)
    >>> model = tune.hypermodel(config, search=["beta=1..2", "delta=0.6/1.2"])
    >>> model.objective.name, model.objective.direction
    ('holdout_balanced_error', 'min')
    >>> hp = keras_tuner.HyperParameters()
    >>> model.build(hp).output_shape
    (None, 10)
    >>> sorted(hp.values)
    ['beta', 'delta']
    """
    config = _with_holdout(config, select_on, config.holdout or None)
    dimensions = space.parse(list(search), config)
    from mm_tf.experiments.searches.hypermodel import RunHyperModel

    return RunHyperModel(config, dimensions)


def _with_holdout(config, select_on, holdout):
    """The config with the hold-out on which trials are compared, if any."""
    if select_on == "holdout":
        holdout = HOLDOUT if holdout is None else holdout
        if holdout == 0:
            raise ValueError(
                "`holdout` must be above 0 to compare trials on "
                f"(--select_on=test for the test images). Received: holdout={holdout!r}"
            )
        return dataclasses.replace(config, holdout=holdout)
    if select_on != "test":
        raise ValueError(
            f"`select_on` must be holdout or test. Received: select_on={select_on!r}"
        )
    if holdout:
        raise ValueError(
            "`holdout` must not be given with --select_on=test. "
            f"Received: holdout={holdout!r}"
        )
    return dataclasses.replace(config, holdout=0.0)


def define_flags(values=flags.FLAGS):
    """Defines the command's flags, those of a run among them."""
    config_flags.define_flags(values)
    values["holdout"].help = (
        "Share of each class's training images, at least one of each, on which trials "
        f"are compared; default {HOLDOUT}. They are not trained on."
    )
    values["output_dir"].help = (
        "The search's own folder; default saved_models/<setting>/<method>/search. With "
        "--grid the folder of all its runs; default saved_models/<grid>."
    )
    values["overwrite"].help = "Not for a search: give another --output_dir."
    flags.DEFINE_enum(
        "tuner",
        "random",
        TUNERS,
        "How values are chosen; grid tries all combinations, hyperband stops poor ones "
        "early.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "trials",
        None,
        f"The most trials; default {TRIALS}. Hyperband has as many as --epochs asks "
        "for. More of them continue the search that is there.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "search",
        [],
        "What varies, with commas: names of flags, with a range (beta=1..2), with "
        "values (beta=1.2/1.5) or for their usual range. By default those of beta, "
        "delta and scale that the method takes; also learning_rate, l2, epochs, "
        "batch_size and the other numbers that the method's loss takes.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "select_on",
        "holdout",
        ("holdout", "test"),
        "What trials are compared on. test repeats the paper's way, and flatters.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "search_seed", 0, "Which values the tuner draws.", flag_values=values
    )
    flags.DEFINE_enum(
        "grid",
        None,
        tuple(paper.ABLATIONS),
        "No search: the cells of the paper's ablation, beside the published numbers. "
        "table2 is CIFAR-10, table3 CIFAR-100.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "report_only", False, "Train nothing: report what is there.", flag_values=values
    )


def main(argv, values=flags.FLAGS):
    """The command."""
    try:
        command.take_path(argv, values)
        if values.overwrite:
            raise ValueError(
                "`overwrite` is not for a search: give another --output_dir. "
                "Received: overwrite=True"
            )
        command.set_up(values.backend or STRATEGIES[values.strategy])
        if values.grid is None:
            status = _search(_search_of_flags(values), values.report_only)
        else:
            status = _ablate(values)
    except (ValueError, DatasetUnavailableError) as error:
        command.fail(error)
    except OSError as error:
        command.fail(
            f"`output_dir` cannot be read or written ({error.strerror or error}). "
            f"Received: {error.filename}"
        )
    except SearchFailedError as error:
        command.fail(f"{error} The same line resumes the search.", status=1)
    except KeyboardInterrupt as stopped:
        stopping.leave(
            stopped,
            "mm_tf.experiments.tune",
            "Finished runs stay, and the one under way has a checkpoint.",
        )
    if status:
        sys.exit(status)


def _search_of_flags(values):
    config = config_flags.from_flags(values)
    holdout = config.holdout if values["holdout"].present else None
    config = _with_holdout(with_digests(config), values.select_on, holdout)
    if values.tuner == "hyperband" and values["trials"].present:
        raise ValueError(
            "`trials` must not be given with --tuner=hyperband, which has as many as "
            f"--epochs asks for. Received: trials={values.trials}"
        )
    number = check_integer(
        "trials", TRIALS if values.trials is None else values.trials, low=1
    )
    check_integer("search_seed", values.search_seed, low=0)
    dimensions = space.parse(values.search, config, grid=values.tuner == "grid")
    if values.tuner == "grid" and space.cells(dimensions) > number:
        raise ValueError(
            f"`trials` must be at least the {space.cells(dimensions)} cells of the "
            "grid, or --search must name fewer values, as --search=beta=1.2/1.5,delta="
            f"0.6/1.2. Received: trials={number}"
        )
    folder = pathlib.Path("saved_models", config.setting, config.method, "search")
    search = Search(
        config=config,
        tuner=values.tuner,
        dimensions=dimensions,
        trials=None if values.tuner == "hyperband" else number,
        seed=values.search_seed,
        folder=config.run_folder if config.output_dir else folder,
    )
    if values.tuner == "hyperband" and "epochs" in search.names:
        raise ValueError(
            "`search` must be without epochs with --tuner=hyperband, which varies them "
            f"itself. Received: search={values.search}"
        )
    search.check_folder()
    return search


def _search(search, report_only):
    """Runs the search, or only reports it; returns the exit status."""
    if not report_only:
        from mm_tf.experiments.searches import tuner

        with stopping.Stop():
            tuner.run_search(search)
    found = trials.read(search)
    trials.section(search, found).print()
    print(f"Written: {', '.join(map(str, trials.write(search, found)))}")
    if trials.best(search, found) is None:
        print("mm_tf: no trial has finished.", file=sys.stderr)
        return 1
    print(
        "To train on all training images with the best values, and measure on the test "
        f"images:\n{trials.command(search)}"
    )
    return 0


def _ablate(values):
    """Runs a grid of the paper, or only reports it; returns the exit status."""
    for name in (*_SEARCH_FLAGS, *ablation.SET_BY_GRID):
        if values[name].present:
            raise ValueError(
                f"`{name}` must not be given with --grid={values.grid}. "
                f"Received: {name}={values[name].value!r}"
            )
    root = values.output_dir or f"saved_models/{values.grid}"
    with stopping.Stop():
        return ablation.run(
            values.grid,
            pathlib.Path(root).expanduser(),
            config_flags.given(values),
            values.report_only,
        )


if __name__ == "__main__":
    define_flags()
    config_flags.define_setting()
    flags.adopt_module_key_flags(config_flags)
    app.run(main, flags_parser=command.parse_flags)
