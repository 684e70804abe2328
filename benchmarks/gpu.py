"""Measures speed against PyTorch on a GPU, then fills cells of Table 1.

    python benchmarks/gpu.py --images=cifar10.npz --output=results --minutes=9

It needs no TensorFlow and no network: set KERAS_BACKEND=jax, and give it the file
that `benchmarks/packed_images.py` wrote. `--output` gets `speed.json`, images/s of
one training step on this backend and in PyTorch (eager, channels last, compiled,
and with bfloat16), measured in turn, and a run's folder for each cell, as
`mm_tf.experiments.run` leaves it: `<setting>/<method>/seed<seed>`. Cells that are
there are not run again; a cell that would take longer than the time
left, by the longest so far, is not begun.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import sys
import time

import keras
import packed_images
import steps
import timing

from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config.fields import MODEL_DEPTHS
from mm_tf.experiments.grids import grid
from mm_tf.experiments.machine import environment, precision
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.run import run
from mm_tf.experiments.runs import training
from mm_tf.experiments.runs.folder import MODEL, RunFolder

# The paper's own rows first, then its closest rivals.
METHOD_ORDER = ("mm_ldam_drw", "mm_drw", "ldam_drw", "erm", "mm", "ldam")

# A cell must fit into what is left with this to spare: times vary.
SAFETY = 1.15


def cells(arguments):
    """Yields the configs of the cells, the paper's own rows first."""
    methods = arguments.methods or [
        *METHOD_ORDER,
        *(method for method in METHODS if method not in METHOD_ORDER),
    ]
    for seed in arguments.seeds:
        for method in methods:
            yield from grid.grid(
                [method],
                arguments.settings,
                [seed],
                arguments.output,
                epochs=arguments.epochs,
                warmup_epochs=arguments.warmup_epochs,
                model=arguments.model,
                batch_size=arguments.batch_size,
            )


def fill_cells(arguments, unpacked, deadline):
    """Runs cells until the time is up; returns how many were run."""
    longest, done = 0.0, 0
    for config in cells(arguments):
        if RunFolder(config).finished_result() is not None:
            continue
        if time.perf_counter() + SAFETY * longest > deadline:
            print(f"No time left for {config.run_folder}", flush=True)
            break
        began = time.perf_counter()
        data = packed_images.imbalanced(unpacked, config.drawn_class_counts)
        result = run(config, data)
        if not arguments.keep_models:
            (config.run_folder / MODEL).unlink()
        took = time.perf_counter() - began
        longest, done = max(longest, took), done + 1
        published = (
            "-"
            if result.published_top1_error is None
            else (f"{result.published_top1_error:.2f}")
        )
        print(
            f"{config.run_folder}: top-1 error {result.top1_error:.2f} % (published "
            f"{published}), {took:.0f} s, {result.images_per_second:,.0f} images/s",
            flush=True,
        )
        keras.backend.clear_session()
    return done


def measure_speed(arguments, info):
    """Measures training steps in turn; returns images/s, medians of the rounds."""
    backend = keras.backend.backend()
    count = arguments.steps or next(cells(arguments)).steps_per_epoch
    at_once = training.steps_at_once(count)
    config = RunConfig(
        dataset=info.name,
        model=arguments.model,
        batch_size=arguments.batch_size,
        steps_per_execution=at_once,
    )
    # As a run has it, and as plain PyTorch has it.
    ours = precision.resolved(config.precision)
    makers = {
        f"keras_{backend}_{each}": functools.partial(
            steps.keras_steps, dataclasses.replace(config, precision=each), info
        )
        for each in (ours, "float32")
    }
    for kind in arguments.torch:
        make = functools.partial(steps.torch_steps, config, info, kind)
        makers[f"torch_{kind}"] = make
    contenders, failed = {}, {}
    for name, make in makers.items():
        try:
            train = make()
            train(count)  # Compiles, for as many images as will come.
        except Exception as error:  # A contender that fails must not stop the rest.
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            contenders[name] = timing.timed(train)
    samples = timing.in_turn(contenders, count, arguments.rounds)
    images = count * arguments.batch_size
    mine = f"keras_{backend}_{ours}"
    measured = timing.medians(samples, images)
    return {
        "images_per_second": {
            name: median["images_per_second"] for name, median in measured.items()
        },
        "all_images_per_second": {
            name: [images / each["wall"] for each in rounds]
            for name, rounds in samples.items()
        },
        "times_as_fast_as": {
            name: timing.times_faster(samples, mine, name)
            for name in samples
            if mine in samples and name != mine
        },
        "failed": failed,
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "steps": count,
        "device": environment.device(),
        "steps_per_execution": at_once,
        "versions": environment.versions(),
        "command": " ".join(["python", *sys.argv]),
    }


def parse(argv):
    """Returns the command's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--images", required=True, help="what packed_images.py wrote")
    parser.add_argument("--output", required=True, help="the folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="when to end")
    parser.add_argument(
        "--settings",
        nargs="+",
        default=["cifar10_lt100"],
        help="of the file's data set",
    )
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--warmup_epochs", type=int, default=5)
    parser.add_argument("--model", default="resnet32", choices=tuple(MODEL_DEPTHS))
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument(
        "--steps", type=int, help="of a round; by default those of an epoch of a cell"
    )
    parser.add_argument("--rounds", type=int, default=5, help="0 measures no speed")
    parser.add_argument(
        "--torch",
        nargs="*",
        choices=tuple(steps.TORCH_KINDS),
        default=tuple(steps.TORCH_KINDS),
    )
    parser.add_argument("--keep_models", action="store_true")
    arguments = parser.parse_args(argv)
    try:
        settings = {config.dataset for config in cells(arguments)}
    except ValueError as error:
        parser.error(str(error))
    if not pathlib.Path(arguments.images).is_file():
        parser.error(
            "`images` must be a file that packed_images.py wrote. "
            f"Received: images={arguments.images!r}"
        )
    packed = packed_images.dataset_of(arguments.images)
    if settings != {packed}:
        parser.error(
            f"`settings` must be of the file's data set, {packed}. "
            f"Received: settings={' '.join(arguments.settings)}"
        )
    return arguments


def main(argv=None):
    """The command."""
    began = time.perf_counter()
    arguments = parse(argv)
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    unpacked = packed_images.unpack(arguments.images)
    info = unpacked[0].info
    print(f"Keras on {keras.backend.backend()}, {environment.device()}", flush=True)
    if arguments.rounds:
        speed = measure_speed(arguments, info)
        (output / "speed.json").write_text(json.dumps(speed, indent=2) + "\n")
        for name, value in speed["images_per_second"].items():
            print(f"{name}: {value:,.0f} images/s", flush=True)
        for name, ratio in speed["times_as_fast_as"].items():
            print(f"A run's step is {ratio:.2f} times as fast as {name}", flush=True)
        for name, reason in speed["failed"].items():
            print(f"{name}: failed: {reason}", flush=True)
    done = fill_cells(arguments, unpacked, began + 60 * arguments.minutes)
    print(f"{done} cells in {(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
