"""The sections of `speed.py`: what is measured against what.

Each takes `Sizes` and the Keras backends and yields rows: {"case", "contender",
"unit", "value", "cpu_value", "peer", "ratio", "cpu_ratio", "rounds"}. A rate's ratio
says how many times as fast the contender was as the peer of its case; that of seconds
and mebibytes, how many times as much of them it took; that of an operation's
milliseconds, its share of all.

The file is long because all sections of the report share its rows, their ratios and
their rounds: one function a section, and the helpers below.
"""

import contextlib
import dataclasses
import functools
import statistics
import sys

import contenders
import profiles
import timing


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        model: The network.
        batch_size: Images of a step.
        processes: How often the processes of a step begin anew.
        rounds: How often each contender of a case is asked, in all its processes; of
            `fit` twice as often, and first steps of a process twice.
        seconds: The time after which a case has no further rounds, but for two in
            each process.
        steps: Steps of a round.
        short_steps: Steps of an epoch of a small network, for what `fit` adds to them.
        images: Images of an epoch.
        test_images: Images that are evaluated on after it.
        pipeline_images: Images of an epoch of the pipeline alone, smallest first.
        classes: Numbers of classes of the losses.
        loss_steps: Losses of a round.
        loss_rows: Rows of a batch where the memory of losses is measured.
        batch_sizes: Batch sizes to compare.
        image_sizes: Sides of images to compare, in pixels, with batches of 32.
    """

    model: str
    batch_size: int
    processes: int
    rounds: int
    seconds: float
    steps: int
    short_steps: int
    images: int
    test_images: int
    pipeline_images: tuple[int, ...]
    classes: tuple[int, ...]
    loss_steps: int
    loss_rows: int
    batch_sizes: tuple[int, ...]
    image_sizes: tuple[int, ...]


FULL = Sizes(
    model="resnet32",
    batch_size=128,
    processes=3,
    rounds=6,
    seconds=150.0,
    steps=4,
    short_steps=50,
    images=1_280,
    test_images=1_000,
    pipeline_images=(12_800, 51_200),
    classes=(10, 100, 1_000, 10_000),
    loss_steps=20,
    loss_rows=2_048,
    batch_sizes=(32, 128, 512),
    image_sizes=(32, 64),
)
QUICK = Sizes(
    model="resnet8",
    batch_size=8,
    processes=1,
    rounds=2,
    seconds=1.0,
    steps=1,
    short_steps=2,
    images=16,
    test_images=8,
    pipeline_images=(64,),
    classes=(10, 100),
    loss_steps=2,
    loss_rows=64,
    batch_sizes=(4, 8),
    image_sizes=(8,),
)


# What made it faster, taken back, and what might: {contender: what of its process is
# another}.
_WITHOUT_ONEDNN = {
    "tensorflow_without_onednn": {"environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}}
}
_STEPS_BEFORE = {
    **_WITHOUT_ONEDNN,
    "tensorflow_without_determinism": {"deterministic": False},
    "tensorflow_with_jit": {"deterministic": False, "jit": True},
    "tensorflow_without_fused_normalization": {"plain_normalization": True},
    "torch_without_fused_normalization": {"plain_normalization": True},
    "torch_with_filled_memory": {"filled_memory": True},
}
_EPOCHS_BEFORE = {**_WITHOUT_ONEDNN, "tensorflow_with_tuning": {"tuned": True}}


def step(sizes, backends):
    """One training step, and the convolutions in it alone."""
    shared = {"model": sizes.model, "batch_size": sizes.batch_size}
    processes = _keras("keras_step", backends, **shared)
    processes |= _before(_STEPS_BEFORE, "keras_step", backends, **shared)
    processes |= {
        f"torch_{layout}": {"kind": "torch_step", "layout": layout, **shared}
        for layout in ("eager", "channels_last")
    }
    yield from _measured(
        f"{sizes.model}, batch {sizes.batch_size}",
        processes,
        sizes,
        sizes.steps,
        sizes.steps * sizes.batch_size,
        peer="torch_eager",
        processes=sizes.processes,
    )
    only_convolutions = {
        framework: {"kind": "convolutions", "framework": framework}
        for framework in ("tensorflow", "jax")
        if framework in backends
    }
    only_convolutions |= {
        "torch_eager": {"kind": "convolutions", "framework": "torch", "layout": "nchw"},
        "torch_channels_last": {"kind": "convolutions", "framework": "torch"},
    }
    for settings in only_convolutions.values():
        settings["batch_size"] = sizes.batch_size
    yield from _measured(
        f"the convolutions of resnet32 alone, batch {sizes.batch_size}",
        only_convolutions,
        sizes,
        sizes.steps,
        sizes.steps * sizes.batch_size,
        peer="torch_eager",
    )


def profile(sizes, backends):
    """What a training step spends its time on, operation by operation.

    JAX has one operation for the whole step.
    """
    shared = {"model": sizes.model, "batch_size": sizes.batch_size}
    specs = {
        f"keras_{backend}": {"kind": "keras_profile", "backend": backend, **shared}
        for backend in backends
        if backend in profiles.PROFILES
    }
    specs |= {
        f"torch_{layout}": {"kind": "torch_profile", "layout": layout, **shared}
        for layout in ("eager", "channels_last")
    }
    for name, spec in specs.items():
        with contenders.Process(**spec) as process:
            taken = process.ask(sizes.steps)["milliseconds"]
        case = f"{name}, {sizes.model}, batch {sizes.batch_size}"
        everything = sum(taken.values())
        largest = dict(sorted(taken.items(), key=lambda item: -item[1])[:_LARGEST])
        largest["all others"] = everything - sum(largest.values())
        for operation, milliseconds in largest.items():
            share = milliseconds / everything
            yield _row(
                case, operation, "ms", milliseconds, peer="all of them", ratio=share
            )


_LARGEST = 10


def end_to_end(sizes, backends):
    """Epochs with augmentation and evaluation, as a run trains them."""
    shared = {
        "model": sizes.model,
        "batch_size": sizes.batch_size,
        "images": sizes.images,
        "test_images": sizes.test_images,
    }
    processes = _keras("keras_epoch", backends, **shared)
    processes |= _before(_EPOCHS_BEFORE, "keras_epoch", backends, **shared)
    # 4 is the number of workers in the code of Cao et al.
    for layout, workers in (("eager", 4), ("channels_last", 2)):
        processes[f"torch_{layout}_{workers}_workers"] = {
            "kind": "torch_epoch",
            "layout": layout,
            "workers": workers,
            **shared,
        }
    yield from _measured(
        f"{sizes.model}, {sizes.images} images, {sizes.test_images} test images",
        processes,
        sizes,
        1,
        sizes.images,
        peer="torch_eager_4_workers",
        processes=max(1, sizes.processes - 1),
    )


def pipeline(sizes, backends):
    """Batches alone, and with crops and flips."""
    for images in sizes.pipeline_images[:1]:
        yield from _pipeline_of(images, sizes, backends)


def _pipeline_of(images, sizes, backends):
    shared = {"images": images, "batch_size": sizes.batch_size}
    asked = {}
    for name, spec in _keras("keras_pipeline", backends, **shared).items():
        asked[f"{name}_batches"] = {"which": "batches", **spec}
        asked[f"{name}_augmented"] = {"which": "augmented", **spec}
    for workers in (0, 4):
        spec = {"kind": "torch_pipeline", "workers": workers, **shared}
        asked[f"torch_{workers}_workers"] = spec
    yield from _measured(f"{images} images", asked, sizes, 1, images, "torch_4_workers")


def losses(sizes, backends):
    """The value and gradient of each loss."""
    for backend in backends:
        for classes in sizes.classes:
            yield from _losses_of(backend, classes, sizes)


_LOSSES = (
    "cross_entropy",
    "mm",
    "mm_ldam",
    "mm_ldam_weighted",
    "ldam",
    "uniform_margin",
    "hinge",
    "focal",
)


def _losses_of(backend, classes, sizes):
    spec = {"kind": "keras_losses", "classes": classes, "batch_size": sizes.batch_size}
    samples = _of_one_process(
        {"backend": backend, **spec},
        _LOSSES,
        sizes.loss_steps,
        sizes.rounds,
        sizes.seconds,
    )
    case = f"{backend}, {classes} classes, batch {sizes.batch_size}"
    examples = sizes.loss_steps * sizes.batch_size
    for row in _rows(case, samples, examples, "cross_entropy"):
        yield _with_milliseconds_more(row, samples["cross_entropy"], sizes.loss_steps)


def _with_milliseconds_more(row, peer, count):
    """Returns a row with what the contender takes beyond the peer, each time."""
    more = [
        mine["wall"] - theirs["wall"]
        for mine, theirs in zip(row["rounds"], peer, strict=True)
    ]
    return {**row, "milliseconds_more": 1e3 * statistics.median(more) / count}


def fit(sizes, backends):
    """`checkpoints.fit` with callbacks, weights and metrics, and a bare loop."""
    for backend in backends:
        yield from _fit(backend, sizes.model, sizes.batch_size, sizes.steps, sizes)
        # Short steps show what `fit` adds, which is lost in the noise of long ones.
        yield from _fit(backend, "resnet8", 8, sizes.short_steps, sizes)


def _fit(backend, model, batch_size, steps, sizes):
    spec = {
        "kind": "keras_fit",
        "backend": backend,
        "images": steps * batch_size,
        "model": model,
        "batch_size": batch_size,
    }
    epochs, names = 2, ("by_hand", "fit")
    samples = _of_one_process(spec, names, epochs, 2 * sizes.rounds, 2 * sizes.seconds)
    case = f"{backend}, {model}, batch {batch_size}, {steps} steps an epoch"
    for row in _rows(case, samples, epochs * steps * batch_size, "by_hand"):
        yield _with_milliseconds_more(row, samples["by_hand"], epochs * steps)


def startup(sizes, backends):
    """Seconds of a process that begins anew."""
    commands = {
        "python": ["-c", "pass"],
        "import mm_tf": ["-c", "import mm_tf"],
        "run --help": ["-m", "mm_tf.experiments.run", "--help"],
    }
    asked = {name: _command(command) for name, command in commands.items()}
    timing.in_turn(asked, 1, 1)  # The first one reads files that the others have.
    samples = timing.in_turn(asked, 1, sizes.rounds, sizes.seconds)
    shared = {"model": sizes.model, "batch_size": sizes.batch_size}
    steps = {
        f"first step, {name}": _first_step(spec)
        for name, spec in _keras("keras_step", backends, **shared).items()
    }
    steps["first step, torch_eager"] = _first_step({"kind": "torch_step", **shared})
    samples |= timing.in_turn(steps, 1, 2, sizes.seconds)
    for name, taken in samples.items():
        yield _row(
            "a process from its start",
            name,
            "s",
            statistics.median(each["wall"] for each in taken),
            cpu_value=statistics.median(each["cpu"] for each in taken),
            rounds=taken,
        )


def _command(arguments):
    import subprocess

    def run(count):
        for _ in range(count):
            subprocess.run([sys.executable, *arguments], capture_output=True)

    return timing.timed(run)


def _first_step(spec):
    def run(count):
        for _ in range(count):
            with contenders.Process(**spec) as process:
                process.ask(0)

    return timing.timed(run)


def memory(sizes, backends):
    """The largest memory of a process, and what losses add to it."""
    shared = {"model": sizes.model, "batch_size": sizes.batch_size}
    processes = _keras("keras_step", backends, **shared)
    for layout in ("eager", "channels_last"):
        processes[f"torch_{layout}"] = {
            "kind": "torch_step",
            "layout": layout,
            **shared,
        }
    case = f"{sizes.model}, batch {sizes.batch_size}, whole process"
    measured = {name: _peak(spec)["peak_mebibytes"] for name, spec in processes.items()}
    yield from _memory_rows(case, measured, "torch_eager")
    classes = sizes.classes[-1]
    for backend in backends:
        case = (
            f"{backend}, loss and gradient of {sizes.loss_rows} x {classes} outputs "
            f"({sizes.loss_rows * classes * 4 / 2**20:.0f} MiB), above what was there "
            "before"
        )
        spec = {
            "kind": "keras_losses",
            "backend": backend,
            "classes": classes,
            "batch_size": sizes.loss_rows,
        }
        measured = {name: _added(spec, name, None) for name in _LOSSES} | {
            f"{name}_without_determinism": _added(spec, name, False)
            for name in _OTHER_WITHOUT_DETERMINISM.get(backend, ())
        }
        yield from _memory_rows(case, measured, "cross_entropy")


# On TensorFlow repeatable cross-entropy is computed by other operations.
_OTHER_WITHOUT_DETERMINISM = {"tensorflow": ("cross_entropy", "mm")}


def _added(spec, which, deterministic):
    """Returns what a loss adds to the memory of its process."""
    answer = _peak({**spec, "only": [which], "deterministic": deterministic}, which)
    return answer["peak_mebibytes"] - answer["before_mebibytes"]


def _peak(spec, which=""):
    with contenders.Process(**spec) as process:
        return process.ask(1, which)


def _memory_rows(case, measured, peer):
    for name, value in measured.items():
        ratio = value / measured[peer] if measured[peer] > 0 else None
        yield _row(case, name, "MiB", value, peer=peer, ratio=ratio)


def scaling(sizes, backends):
    """How the time of a step grows with batch and image size, and of the pipeline."""
    backends = backends[:1]
    for batch_size in sizes.batch_sizes:
        yield from _scaled(sizes, backends, batch_size, sizes.image_sizes[0])
    for size in sizes.image_sizes[1:]:
        yield from _scaled(sizes, backends, sizes.batch_sizes[0], size)
    for images in sizes.pipeline_images:
        yield from _pipeline_of(images, sizes, backends)


def _scaled(sizes, backends, batch_size, size):
    shared = {"model": sizes.model, "batch_size": batch_size, "size": size}
    processes = _keras("keras_step", backends, **shared)
    processes["torch_eager"] = {"kind": "torch_step", **shared}
    # About as many images of 32 pixels in each case.
    steps = max(1, sizes.steps * sizes.batch_size * 32**2 // (batch_size * size**2))
    yield from _measured(
        f"{sizes.model}, batch {batch_size}, {size} pixels",
        processes,
        sizes,
        steps,
        steps * batch_size,
        peer="torch_eager",
    )


SECTIONS = {
    each.__name__: each
    for each in (
        step,
        profile,
        end_to_end,
        pipeline,
        losses,
        fit,
        startup,
        memory,
        scaling,
    )
}

# Those that compare with nothing of PyTorch's.
WITHOUT_TORCH = {"losses", "fit"}


def _keras(kind, backends, **settings):
    return {
        f"keras_{backend}": {"kind": kind, "backend": backend, **settings}
        for backend in backends
    }


def _before(changes, kind, backends, **settings):
    """The contenders of `changes`, whose names begin with their backend."""
    specs = {}
    for name, change in changes.items():
        backend = name.partition("_")[0]
        if backend in backends:
            spec = {"kind": kind, "backend": backend, **settings, **change}
            specs[f"keras_{name}"] = spec
    return specs


def _measured(case, specs, sizes, count, images, peer, processes=1):
    asked = {
        name: functools.partial(_contender, **spec) for name, spec in specs.items()
    }
    rounds, seconds = sizes.rounds // processes, sizes.seconds / processes
    samples = timing.in_turn_anew(asked, processes, count, rounds, seconds)
    yield from _rows(case, samples, images, peer)


@contextlib.contextmanager
def _contender(which="", **spec):
    with contenders.Process(**spec) as process:
        yield process.contender(which)


def _of_one_process(spec, names, count, rounds, seconds):
    """Returns the samples of contenders that share a process."""
    with contenders.Process(**spec) as process:
        asked = {name: process.contender(name) for name in names}
        return timing.in_turn(asked, count, rounds, seconds)


def _rows(case, samples, images, peer):
    for name, values in timing.medians(samples, images).items():
        yield _row(
            case,
            name,
            "images/s",
            values["images_per_second"],
            cpu_value=values["images_per_cpu_second"],
            peer=peer,
            ratio=timing.times_faster(samples, name, peer),
            cpu_ratio=timing.times_faster(samples, name, peer, "cpu"),
            rounds=values["rounds"],
        )


def _row(
    case,
    contender,
    unit,
    value,
    cpu_value=None,
    peer=None,
    ratio=None,
    cpu_ratio=None,
    rounds=(),
):
    return {
        "case": case,
        "contender": contender,
        "unit": unit,
        "value": value,
        "cpu_value": cpu_value,
        "peer": peer,
        "ratio": ratio,
        "cpu_ratio": cpu_ratio,
        "rounds": list(rounds),
    }
