"""From a config to a trained network: model, loss, callbacks, fit, result."""

import sys

import keras
import numpy as np

from mm_tf import (
    _files,
    backbones,
    callbacks,
    checkpoints,
    losses,
    metrics,
    models,
    optimizers,
)
from mm_tf.data import EpochOrder
from mm_tf.experiments import paper
from mm_tf.experiments.config import parts
from mm_tf.experiments.config.fields import AS_IS, MODEL_DEPTHS
from mm_tf.experiments.machine import (
    determinism,
    environment,
    precision,
    strategies,
)
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs import first_stage
from mm_tf.experiments.runs.folder import (
    CHECKPOINTS,
    HISTORY,
    MODEL,
    PER_CLASS,
    PREDICTIONS,
)
from mm_tf.experiments.runs.result import RunResult

# For one device; several take one that none of them has no image of.
TEST_BATCH_SIZE = 500

# A look at the loss every so many steps is seldom enough to cost nothing.
_MOST_STEPS_AT_ONCE = 16


def build_model(config, info):
    """Returns the config's network, compiled with its loss and optimizer."""
    with precision.computing(config.precision):
        return _build_model(config, info)


def _build_model(config, info):
    method = METHODS[config.method]
    model = _network(config, info, method.head)
    loss = method.loss.make(config)
    # Of losses that know no replicas it is the mean of the whole batch, with weights 1.
    knows_replicas = isinstance(loss, losses.PerExampleLoss)
    if method.weighting != "none" or not (config.strategy == "none" or knows_replicas):
        from_start = method.weighting == "from_start"
        loss = losses.ClassWeighted(
            loss,
            info.num_classes,
            class_weights=config.class_weights if from_start else None,
        )
    model.compile(
        optimizer=optimizers.SGD(
            config.learning_rate, momentum=config.momentum, l2=config.l2
        ),
        loss=loss,
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=_jit(config),
        steps_per_execution=_steps_per_execution(config),
    )
    return model


def _steps_per_execution(config):
    if config.steps_per_execution is not None:
        return config.steps_per_execution
    return steps_at_once(config.steps_per_epoch, config.strategy)


def steps_at_once(steps, strategy="none"):
    """Returns how many steps of an epoch's are taken at once unless a flag says so.

    Where there is a GPU, the largest number up to 16 that divides them: Keras would go
    past the epoch's end.
    """
    # Keras takes one at a time on torch; with several devices it was not tried.
    takes_one = keras.backend.backend() == "torch" or strategy != "none"
    if takes_one or not environment.has_accelerator():
        return 1
    return max(n for n in range(1, _MOST_STEPS_AT_ONCE + 1) if steps % n == 0)


def _jit(config):
    if config.strategy == "mirrored":
        # TensorFlow does not compile what replicas exchange.
        return False
    return "auto" if config.jit is None else config.jit


def _network(config, info, head):
    augmentation = dict(
        crop_padding=info.crop_padding if config.augment else 0,
        horizontal_flip=info.horizontal_flip and config.augment,
        seed=config.seed,
    )
    if config.model in MODEL_DEPTHS:
        return models.resnet_cifar(
            info.num_classes,
            depth=MODEL_DEPTHS[config.model],
            head=head,
            input_shape=info.image_shape,
            mean=info.mean,
            std=info.std,
            **augmentation,
        )
    backbone = backbones.build(
        config.model, info.image_shape, config.weights, config.seed
    )
    return models.with_cosine_head(
        backbone, info.num_classes, head, name=config.model, **augmentation
    )


def build_order(config, labels):
    """Returns the `EpochOrder` of the config's method."""
    method = METHODS[config.method]
    resample_from = {
        "none": None,
        "from_start": 0,
        "deferred": config.first_reweighted_epoch,
    }[method.sampling]
    return EpochOrder(
        labels,
        config.batch_size,
        config.seed,
        class_weights=config.class_weights,
        resample_from=resample_from,
    )


def schedule(config):
    """Returns the callbacks that change the training as epochs go by."""
    changes = [
        callbacks.WarmUpStepDecay(
            config.learning_rate, config.warmup_epochs, config.drops
        )
    ]
    if METHODS[config.method].weighting == "deferred":
        changes.append(
            callbacks.DeferredReweighting(
                config.class_weights, config.first_reweighted_epoch
            )
        )
    if config.frozen_epochs:
        changes.append(callbacks.FrozenBackbone(config.frozen_epochs))
    return changes


def test_error(config, data, devices=1):
    """Returns the callback that measures errors on the test or hold-out images."""
    size = parts.largest(len(data.test_labels), TEST_BATCH_SIZE, devices)
    if size is None:
        raise ValueError(
            f"`devices` must be fewer: no batch size leaves each an image of the "
            f"{len(data.test_labels)} that errors are measured on. "
            f"Received: devices={devices}"
        )
    return callbacks.TestError(
        data.test_images,
        data.test_labels,
        config.class_counts,
        batch_size=size,
        name=config.evaluated_on,
    )


def verbosity():
    """Returns Keras's progress bars at a terminal, one line an epoch elsewhere."""
    return 1 if sys.stdout.isatty() else 2


def train(config, data, folder, stop=lambda: None):
    """Trains the config's network and writes everything but the result.

    A training of which `folder` holds checkpoints goes on where it stopped.
    """
    with (
        # First: a backend is given its devices before it begins.
        strategies.distributed(config.strategy, config.devices) as devices,
        determinism.computing(config.deterministic) as is_deterministic,
    ):
        if is_deterministic and config.jit and keras.backend.backend() == "tensorflow":
            raise ValueError(
                "`jit` must not be True where TensorFlow computes repeatably, as Keras "
                "does not compile there: give --nodeterministic with it. "
                f"Received: jit={config.jit}, deterministic={config.deterministic}"
            )
        if config.strategy == "mirrored":
            parts.check(len(data.train_labels), config.batch_size, devices)
        device = environment.device()
        if devices > 1:
            device = f"{devices} x {device}"
        return _train(config, data, folder, stop, devices, device, is_deterministic)


def _train(config, data, folder, stop, devices, device, is_deterministic):
    model = build_model(config, data.info)
    kept = checkpoints.Checkpoints(
        checkpoints.CheckpointFolder(folder / CHECKPOINTS, _identity(config)),
        config.checkpoint_minutes,
        stop,
    )
    throughput = callbacks.Throughput(len(data.train_labels))
    test = test_error(config, data, devices)
    log = callbacks.EpochLog(folder / HISTORY)
    guard = callbacks.StopOnDivergence()
    with strategies.synchronized(model):
        if not kept.folder.exists():
            images = data.train_images
            first_stage.start(config, images, model, verbosity(), folder, stop)
        checkpoints.fit(
            model,
            data.train_images,
            data.train_labels,
            build_order(config, data.train_labels),
            config.epochs,
            kept,
            callbacks=[guard, throughput, *schedule(config), test, log],
            verbose=verbosity(),
        )
    with _files.whole_file(folder / MODEL) as unfinished:
        model.save(unfinished)
    _write_per_class_errors(folder / PER_CLASS, data.class_names, test)
    with _files.whole_file(folder / PREDICTIONS) as unfinished:
        np.savez_compressed(
            unfinished,
            labels=data.test_labels.astype("uint16"),
            predictions=test.predictions.astype("uint16"),
        )
    history = {name: [row[name] for row in log.rows] for name in log.rows[0]}
    return _result(config, data, history, test, throughput, device, is_deterministic)


def _identity(config):
    """What a checkpoint is of: on another device the default precision is another."""
    identity = config.identity()
    computed_in = precision.resolved(config.precision)
    return (
        identity if computed_in == "float32" else identity | {"precision": computed_in}
    )


def _write_per_class_errors(path, class_names, test):
    import csv

    with (
        _files.whole_file(path) as unfinished,
        # A name that is no Unicode comes out as the bytes that it is.
        unfinished.open(
            "w", newline="", encoding="utf-8", errors="surrogateescape"
        ) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["epoch", *class_names])
        for epoch, errors in enumerate(test.per_class_errors):
            writer.writerow([epoch, *(f"{error:.4g}" for error in errors)])


def _imbalance_ratio(config):
    if config.imbalance != AS_IS:
        return config.imbalance_ratio
    counts = config.drawn_class_counts
    return float(counts.max() / counts.min())


def _result(config, data, history, test, throughput, device, is_deterministic):
    errors = test.per_class_errors[-1]
    top1_errors = history[f"{config.evaluated_on}_top1_error"]
    shot_errors = {
        f"{group}_shot_error": metrics.mean_error(
            errors, metrics.shot_group(config.class_counts, group)
        )
        for group in metrics.SHOT_GROUPS
    }
    comparison = paper.compare(config)
    return RunResult(
        method=config.method,
        setting=config.setting,
        dataset=config.dataset,
        imbalance=config.imbalance,
        imbalance_ratio=_imbalance_ratio(config),
        seed=config.seed,
        subset_seed=config.subset_seed,
        epochs=config.epochs,
        hyperparameters=config.hyperparameters,
        class_names=list(data.class_names),
        class_counts=[int(count) for count in config.class_counts],
        top1_error=top1_errors[-1],
        best_top1_error=min(top1_errors),
        best_epoch=int(np.argmin(top1_errors)),
        balanced_error=history[f"{config.evaluated_on}_balanced_error"][-1],
        per_class_error=[None if np.isnan(error) else float(error) for error in errors],
        **shot_errors,
        published_top1_error=comparison.published,
        protocol_differences=list(comparison.differences),
        images_per_second=throughput.images_per_second,
        training_seconds=sum(throughput.seconds),
        backend=keras.backend.backend(),
        device=device,
        versions=environment.versions(),
        deterministic=is_deterministic,
        precision=precision.resolved(config.precision),
        flags={**_identity(config), "backend": keras.backend.backend()},
        evaluated_on=config.evaluated_on,
        evaluated_counts=np.bincount(
            data.test_labels, minlength=len(data.class_names)
        ).tolist(),
    )
