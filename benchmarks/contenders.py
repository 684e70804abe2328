"""What is measured, each in a process of its own, asked in turn.

    python benchmarks/contenders.py '{"kind": "keras_step", "batch_size": 128}'

Such a process builds its contenders, warms each up as it is first asked, and then
answers lines of JSON on standard input, {"which": name, "count": n}, by one each:
{"wall": seconds, "cpu": seconds, ...}. `Process` starts one and asks it.

The file is long because it is one script for all frameworks: each contender stands
beside the one that it is compared with, and all answer by the protocol above.
"""

import contextlib
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import timing

from mm_tf.experiments.machine import environment as run_environment

SEED = 0


class Process:
    """A contender in a process of its own; use it in a `with`.

    Args:
        kind: One of `KINDS`.
        backend: Keras's backend; None where it plays no part.
        environment: More environment variables.
        **settings: Arguments of the kind.
    """

    def __init__(self, kind, backend=None, environment=None, **settings):
        spec = json.dumps({"kind": kind, **settings})
        variables = {
            **run_environment.variables_for_tensorflow(),
            **os.environ,
            **(environment or {}),
        }
        if backend is not None:
            variables["KERAS_BACKEND"] = backend
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, __file__, spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=variables,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()

    def ask(self, count=1, which=""):
        """Lets a contender do its work `count` times; returns its times."""
        with contextlib.suppress(BrokenPipeError):
            print(
                json.dumps({"which": which, "count": count}),
                file=self._process.stdin,
                flush=True,
            )
        answer = self._process.stdout.readline()
        if not answer:
            self._log.seek(0)
            raise RuntimeError(f"A contender ended: {self._log.read()[-2000:]}")
        return json.loads(answer)

    def contender(self, which=""):
        """Returns a contender, as `timing.in_turn` takes it."""
        return lambda count: self.ask(count, which)


def made_up_images(count, size=32, classes=10):
    """Returns (images uint8 [count, size, size, 3], labels): speed sees no content."""
    generator = np.random.default_rng(SEED)
    images = generator.integers(0, 256, (count, size, size, 3), "uint8")
    return images, generator.integers(0, classes, count)


def _config(**values):
    from mm_tf.experiments.config import RunConfig

    return RunConfig(dataset="cifar10", **values)


def _info(size=32):
    import dataclasses

    from mm_tf.data import DATASETS

    return dataclasses.replace(DATASETS["cifar10"], image_shape=(size, size, 3))


# What holds as long as the process.
_KEPT = contextlib.ExitStack()


def _computing(deterministic):
    """Makes the whole process compute repeatably, or not."""
    from mm_tf.experiments.machine import determinism

    _KEPT.enter_context(determinism.computing(deterministic))


def keras_step(
    deterministic=None,
    size=32,
    plain_normalization=False,
    filled_memory=False,
    **values,
):
    """The training step of a run, on one batch."""
    import keras
    import steps

    from mm_tf import models

    _computing(deterministic)
    if filled_memory:
        import torch

        torch.utils.deterministic.fill_uninitialized_memory = True
    if plain_normalization:
        models.BatchNormalization = keras.layers.BatchNormalization
    return {"": steps.keras_steps(_config(**values), _info(size))}


def torch_step(layout="eager", size=32, **values):
    """The training step of the same network in PyTorch."""
    import steps

    return {"": steps.torch_steps(_config(**values), _info(size), layout)}


def keras_profile(deterministic=None, **values):
    """What a training step of a run spends its time on."""
    import keras
    import profiles

    train = keras_step(deterministic, **values)[""]
    return {"": profiles.PROFILES[keras.backend.backend()](train)}


def torch_profile(layout="eager", **values):
    """What a training step in PyTorch spends its time on."""
    import profiles

    return {"": profiles.PROFILES["torch"](torch_step(layout, **values)[""])}


def _tuning():
    """Lets TensorFlow tune the pipelines, as it does with those of Keras."""
    import tensorflow as tf

    from mm_tf.data import pipeline

    pipeline.ready_ahead = lambda dataset, batches: dataset.prefetch(tf.data.AUTOTUNE)


def keras_epoch(images, test_images, deterministic=None, tuned=False, **values):
    """Epochs as a run trains them: with evaluation, history and checkpoints."""
    from mm_tf import callbacks, checkpoints
    from mm_tf.data import ImageData
    from mm_tf.experiments.runs import training

    _computing(deterministic)
    if tuned:
        _tuning()
    config, info = _config(**values), _info()
    x, y = made_up_images(images)
    test_x, test_y = made_up_images(test_images)
    names = tuple(map(str, range(info.num_classes)))
    data = ImageData(info, x, y, test_x, test_y, names)
    model = training.build_model(config, info)
    order = training.build_order(config, y, info)
    folder = tempfile.TemporaryDirectory()
    reached = 0

    def train(epochs):
        nonlocal reached
        reached += epochs
        checkpoints.fit(
            model,
            x,
            y,
            order,
            reached,
            checkpoints.Checkpoints(pathlib.Path(folder.name, "checkpoints")),
            callbacks=[
                callbacks.StopOnDivergence(),
                callbacks.Throughput(images),
                *training.schedule(config),
                training.error_callback(config, data),
                callbacks.EpochLog(pathlib.Path(folder.name, "history.csv")),
            ],
            verbose=0,
        )

    return {"": train}


def torch_epoch(images, test_images, workers, layout="eager", **values):
    """Epochs of a plain PyTorch loop with evaluation."""
    import steps
    import torch
    import torch_loader

    config, info = _config(**values), _info()
    network, optimizer, device, memory_format = steps.torch_network(
        config, info, layout
    )
    batches = torch_loader.loader(
        *made_up_images(images), config.batch_size, workers, training=True
    )
    test_batches = torch_loader.loader(
        *made_up_images(test_images), config.batch_size, workers, training=False
    )

    def place(x, y):
        return x.to(device, memory_format=memory_format), y.to(device)

    def train(epochs):
        for _ in range(epochs):
            network.train()
            for x, y in batches:
                x, y = place(x, y)
                optimizer.zero_grad()
                outputs = config.scale * network(x)
                torch.nn.functional.cross_entropy(outputs, y).backward()
                optimizer.step()
            network.eval()
            correct = 0
            with torch.no_grad():
                for x, y in test_batches:
                    x, y = place(x, y)
                    correct += int((network(x).argmax(1) == y).sum())

    return {"": train}


def keras_pipeline(images, batch_size=128):
    """The batches of `fit_data`, alone and with crops and flips."""
    import keras

    from mm_tf import layers
    from mm_tf.data import EpochOrder, fit_data

    x, y = made_up_images(images)
    order = EpochOrder(y, batch_size, SEED)
    augmentation = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            layers.RandomPaddedCrop(4, seed=SEED),
            layers.RandomHorizontalFlip(seed=SEED),
            keras.layers.Rescaling(1 / 255),
        ]
    )
    augment = _compiled(augmentation)

    def read(epochs):
        for batch, _ in fit_data(x, y, order, epochs):
            np.asarray(batch[:1])

    def read_and_augment(epochs):
        for batch, _ in fit_data(x, y, order, epochs):
            augment(batch)

    return {"batches": read, "augmented": read_and_augment}


def torch_pipeline(images, workers, batch_size=128):
    """The batches of a DataLoader that augments."""
    import torch_loader

    batches = torch_loader.loader(
        *made_up_images(images), batch_size, workers, training=True
    )

    def read(epochs):
        for _ in range(epochs):
            for _ in batches:
                pass

    return {"": read}


def _compiled(model):
    """Returns a function that applies a model in training, and waits."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x: model(x, training=True), reduce_retracing=True)
    if backend == "jax":
        import jax

        @jax.jit
        def apply(trainable, non_trainable, x):
            return model.stateless_call(trainable, non_trainable, x, training=True)

        def run(x):
            # The states of the random layers go on, as in a training.
            outputs, states = apply(
                [variable.value for variable in model.trainable_variables],
                [variable.value for variable in model.non_trainable_variables],
                x,
            )
            pairs = zip(model.non_trainable_variables, states, strict=True)
            for variable, state in pairs:
                variable.assign(state)
            return outputs.block_until_ready()

        return run
    return lambda x: model(x, training=True)


def losses_of(classes):
    """Returns {name: Keras loss} on `classes` classes, cross-entropy first."""
    import keras

    from mm_tf import losses

    counts = np.linspace(500, 5, classes).astype(int).tolist()
    return {
        "cross_entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "mm": losses.MaximumMargin(),
        "mm_ldam": losses.MaximumMargin(class_counts=counts),
        "mm_ldam_weighted": losses.ClassWeighted(
            losses.MaximumMargin(class_counts=counts), classes
        ),
        "ldam": losses.LDAM(counts),
        "uniform_margin": losses.UniformMargin(),
        "hinge": losses.Hinge(),
        "focal": losses.Focal(),
    }


def _value_and_gradient(loss):
    """Returns a compiled function (labels, outputs) -> (value, gradient)."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def compute(labels, outputs):
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                value = loss(labels, outputs)
            return value, tape.gradient(value, outputs)

        return compute
    if backend == "jax":
        import jax

        return jax.jit(jax.value_and_grad(lambda y, x: loss(y, x), argnums=1))

    def with_torch(labels, outputs):
        outputs = outputs.detach().requires_grad_()
        value = loss(labels, outputs)
        value.backward()
        return value, outputs.grad

    return with_torch


def keras_losses(classes, batch_size=128, only=None, deterministic=None):
    """The value and gradient of each loss, [batch_size, classes]."""
    import keras

    _computing(deterministic)
    generator = np.random.default_rng(SEED)
    outputs = keras.ops.convert_to_tensor(
        generator.uniform(-1, 1, (batch_size, classes)).astype("float32")
    )
    labels = keras.ops.convert_to_tensor(
        generator.integers(0, classes, batch_size).astype("int32")
    )

    def repeat(compute, count):
        for _ in range(count):
            value, gradient = compute(labels, outputs)
        # The last one: devices compute in order.
        keras.ops.convert_to_numpy(gradient[:1])

    return {
        name: functools.partial(repeat, _value_and_gradient(loss))
        for name, loss in losses_of(classes).items()
        if only is None or name in only
    }


def keras_fit(images, **values):
    """Epochs of `checkpoints.fit` with all a run adds, and of a bare loop."""
    from mm_tf import callbacks, checkpoints
    from mm_tf.data import fit_data
    from mm_tf.experiments.runs import training

    _computing(True)
    config, info = _config(**values), _info()
    x, y = made_up_images(images)
    order = training.build_order(config, y, info)

    def ours(epochs):
        checkpoints.fit(
            model,
            x,
            y,
            order,
            epochs,
            None,
            callbacks=[
                callbacks.StopOnDivergence(),
                callbacks.Throughput(images),
                *training.schedule(config),
                callbacks.EpochLog(),
            ],
            verbose=0,
        )

    def by_hand(epochs):
        for batch, labels in fit_data(x, y, order, epochs):
            loss = step(batch, labels)
        float(loss)

    model = training.build_model(config, info)
    step = _step_by_hand(training.build_model(config, info))
    return {"fit": ours, "by_hand": by_hand}


def _step_by_hand(model):
    """Returns a bare training step: no metrics, no callbacks, no class weights."""
    import keras

    loss_of = getattr(model.loss, "loss", model.loss)
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(reduce_retracing=True)
        def step(x, y):
            with tf.GradientTape() as tape:
                loss = loss_of(y, model(x, training=True))
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        return step
    if backend == "jax":
        import jax

        @functools.partial(jax.jit, donate_argnums=0)
        def update(state, x, y):
            def compute(trainable, non_trainable):
                outputs, states = model.stateless_call(
                    trainable, non_trainable, x, training=True
                )
                return loss_of(y, outputs), states

            trainable, non_trainable, slots = state
            (loss, non_trainable), gradients = jax.value_and_grad(
                compute, has_aux=True
            )(trainable, non_trainable)
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            return loss, (trainable, non_trainable, slots)

        state = [
            [variable.value + 0 for variable in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
                optimizer.variables,
            )
        ]

        def step(x, y):
            nonlocal state
            loss, state = update(state, x, y)
            return loss

        return step

    def step(x, y):
        loss = loss_of(y, model(keras.ops.convert_to_tensor(x), training=True))
        model.zero_grad()
        loss.backward()
        variables = model.trainable_variables
        optimizer.apply([variable.value.grad for variable in variables], variables)
        return loss.detach()

    return step


def convolutions(batch_size=128, framework="tensorflow", layout="nhwc"):
    """All convolutions of ResNet-32, forwards and backwards, and nothing else.

    The limit of what a framework can do around its kernels.
    """
    shapes = [(32, 3, 16, 1, 1), (32, 16, 16, 1, 10)]
    shapes += [(32, 16, 32, 2, 1), (16, 32, 32, 1, 9)]
    shapes += [(16, 32, 64, 2, 1), (8, 64, 64, 1, 9)]
    return {"": _CONVOLUTIONS[framework](shapes, batch_size, layout)}


def _convolutions_in_tensorflow(shapes, batch_size, layout):
    import tensorflow as tf

    # As the steps of a run on a CPU.
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(SEED)

    @tf.function
    def both(x, kernel, strides):
        # oneDNN has no gradient for explicit paddings.
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.nn.conv2d(x, kernel, strides, _padding(strides))
        return tape.gradient(y, [x, kernel], output_gradients=y)

    arguments = _channels_last(shapes, batch_size, tf.random.normal)
    return _repeated(arguments, both, lambda gradients: gradients[1].numpy())


def _convolutions_in_jax(shapes, batch_size, layout):
    import jax

    @functools.partial(jax.jit, static_argnums=2)
    def both(x, kernel, strides):
        def convolve(x, kernel):
            return jax.lax.conv_general_dilated(
                x,
                kernel,
                (strides, strides),
                _padding(strides),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )

        y, gradients_of = jax.vjp(convolve, x, kernel)
        return gradients_of(y)

    normal = functools.partial(jax.random.normal, jax.random.key(SEED))
    arguments = _channels_last(shapes, batch_size, normal)
    return _repeated(arguments, both, jax.block_until_ready)


def _convolutions_in_torch(shapes, batch_size, layout):
    import torch

    memory = torch.channels_last if layout == "nhwc" else torch.contiguous_format

    def both(x, kernel, strides):
        y = torch.nn.functional.conv2d(x, kernel, None, strides, 1)
        return torch.autograd.grad(y, [x, kernel], y.detach())

    arguments = [
        (
            torch.randn(batch_size, before, size, size)
            .to(memory_format=memory)
            .requires_grad_(),
            torch.randn(after, before, 3, 3).to(memory_format=memory).requires_grad_(),
            strides,
            times,
        )
        for size, before, after, strides, times in shapes
    ]
    return _repeated(arguments, both, lambda gradients: None)


def _padding(strides):
    """Returns the padding of the network: with strides it pads before."""
    return "SAME" if strides == 1 else "VALID"


def _channels_last(shapes, batch_size, normal):
    """Returns (images, kernel, strides, how often) of each shape; `normal` draws."""
    arguments = []
    for size, before, after, strides, times in shapes:
        padded = size if strides == 1 else size + 2
        images = normal([batch_size, padded, padded, before])
        arguments.append((images, normal([3, 3, before, after]), strides, times))
    return arguments


def _repeated(arguments, both, wait):
    """Returns a function that does all convolutions n times, and waits for the last."""

    def run(count):
        for _ in range(count):
            for x, kernel, strides, times in arguments:
                for _ in range(times):
                    gradients = both(x, kernel, strides)
        wait(gradients)

    return run


_CONVOLUTIONS = {
    "tensorflow": _convolutions_in_tensorflow,
    "jax": _convolutions_in_jax,
    "torch": _convolutions_in_torch,
}

KINDS = {
    each.__name__: each
    for each in (
        keras_step,
        torch_step,
        keras_profile,
        torch_profile,
        keras_epoch,
        torch_epoch,
        keras_pipeline,
        torch_pipeline,
        keras_losses,
        keras_fit,
        convolutions,
    )
}


def _forget_peak():
    """Lets the largest memory of this process begin with what it has now."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def _mebibytes(name):
    """Returns what Linux says of this process: VmRSS is now, VmHWM the largest."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {name}.")


def _check_is_alone(kind):
    """Raises a RuntimeError where a contender of PyTorch has Keras beside it."""
    beside = {"keras", "tensorflow", "jax"} & sys.modules.keys()
    if kind.startswith("torch_") and beside:
        raise RuntimeError(f"{kind} has {', '.join(sorted(beside))} in its process.")


def main(argv):
    """Answers until standard input ends."""
    # What libraries print must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spec = json.loads(argv[1])
    kind = spec.pop("kind")
    works = KINDS[kind](**spec)
    _check_is_alone(kind)
    # Arguments are made, and what making them took is given back; nothing is
    # computed yet.
    _forget_peak()
    before = _mebibytes("VmRSS")
    warm = set()
    for line in sys.stdin:
        question = json.loads(line)
        which, count = question["which"], question["count"]
        if which not in warm:
            works[which](1)
            warm.add(which)
        times = timing.timed(works[which])(count) if count else {}
        peak = _mebibytes("VmHWM")
        memory = {"before_mebibytes": before, "peak_mebibytes": peak}
        print(json.dumps({**times, **memory}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv)
