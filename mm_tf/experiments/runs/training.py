"""From a config to a trained network: model, loss, callbacks, fit, result.

One file, so that a reader sees in one place what each flag changes in a training.
"""

import csv
import dataclasses
import functools
import sys
import warnings

import keras
import numpy as np

from mm_tf import (
    _files,
    backbones,
    callbacks,
    checkpoints,
    layers,
    losses,
    metrics,
    models,
    optimizers,
)
from mm_tf._checks import ScheduleWarning
from mm_tf._text import counted
from mm_tf.data import EpochOrder
from mm_tf.experiments import paper
from mm_tf.experiments.config import device_parts
from mm_tf.experiments.config.fields import AS_IS, MODEL_DEPTHS, WHITENED_CNN
from mm_tf.experiments.machine import determinism, environment, precision, strategies
from mm_tf.experiments.runs import first_stage, probabilities, second_stage
from mm_tf.experiments.runs.finished import HISTORY, MODEL, PER_CLASS, PREDICTIONS
from mm_tf.experiments.runs.folder import CHECKPOINTS, FIRST_STAGE
from mm_tf.experiments.runs.result import RunResult

# Test images in a batch. Several devices take fewer if one would have no image.
TEST_BATCH_SIZE = 500

# What a result says of its method, for processes that do not have it.
_FACTS_OF_METHOD = ("title", "head", "weighting", "sampling")

# The loss is checked after so many steps at the latest.
_MOST_STEPS_AT_ONCE = 16


def train(config, data, folder, stop=lambda: None):
    """Trains the config's network and writes all files but the result's.

    Returns the `RunResult`. Resumes from the checkpoints in `folder`, if there are any.
    """
    with (
        # First, because a backend gets its devices before it starts.
        strategies.distributed(config.strategy, config.devices) as devices,
        determinism.computing(config.deterministic) as is_deterministic,
    ):
        if is_deterministic and config.jit and keras.backend.backend() == "tensorflow":
            raise ValueError(
                "`jit` must not be True where TensorFlow computes deterministically, "
                "as Keras does not compile there: give --nodeterministic with it. "
                f"Received: jit={config.jit}, deterministic={config.deterministic}"
            )
        if config.strategy == "mirrored":
            device_parts.check(len(data.train_labels), config.batch_size, devices)
        facts = _facts(config)
        model = build_model(config, data.info, data.train_images)
        frozen = second_stage.freeze(model, config.row.second_stage)
        test = error_callback(config, data, devices)
        throughput = callbacks.Throughput(len(data.train_labels))
        log = callbacks.EpochLog(folder / HISTORY)
        changes = [throughput, *schedule(config), test, log]
        chosen = _fit(config, data, folder, stop, model, changes)
        for layer in frozen:
            # As the model is to be saved.
            layer.trainable = True
        errors = _errors(config, data, test, log)
        if config.views > 1:
            model = models.mean_over_views(model, config.views)
        outputs, predictions = test.outputs(model), test.predictions
        if config.views > 1:
            predictions = np.argmax(outputs, axis=-1)
            one_view = {"top1_error_one_view": errors["top1_error"]}
            errors |= one_view | _last_errors(config, data, predictions)
        _write_outputs(folder, model, data, test, predictions, outputs)
        facts["hyperparameters"] |= chosen
        device = environment.device()
        return RunResult(
            **errors,
            images_per_second=throughput.images_per_second or 0.0,
            training_seconds=sum(throughput.seconds),
            device=f"{devices} x {device}" if devices > 1 else device,
            deterministic=is_deterministic,
            **facts,
        )


def _fit(config, data, folder, stop, model, changes):
    """Trains the model; returns the hyper-parameters that were chosen on the way."""
    saved = checkpoints.Checkpoints(
        checkpoints.CheckpointFolder(folder / CHECKPOINTS, _identity(config)),
        config.checkpoint_minutes,
        stop,
    )
    with strategies.synchronized(model), warnings.catch_warnings():
        # The summary of the run has said what of its schedule never comes.
        warnings.simplefilter("ignore", ScheduleWarning)
        if not saved.folder.exists():
            train = functools.partial(_train_first, config, data, folder)
            first_stage.start(config, data, model, verbosity(), folder, stop, train)
        if config.row.second_stage == "normalized":
            tau = second_stage.normalize_head(model, data, bool(config.holdout))
            why = "chosen on the hold-out, where its error flatters"
            print(f"Tau {tau:g}{f', {why}' if config.holdout else ''}", flush=True)
            _measure(model, changes)
            return {"tau": tau}
        checkpoints.fit(
            model,
            data.train_images,
            data.train_labels,
            build_order(config, data.train_labels, data.info),
            config.last_stage_epochs,
            saved,
            callbacks=[callbacks.StopOnDivergence(), *changes],
            verbose=verbosity(),
        )
    return {}


def _train_first(config, data, folder, stop):
    """Trains the network of ERM on which a second stage puts its head."""
    epochs = counted(config.epochs, "epoch")
    print(f"First stage: ERM, {epochs}", flush=True)
    place = checkpoints.CheckpointFolder(folder / FIRST_STAGE, _identity(config))
    config = dataclasses.replace(config, method="erm")
    model = build_model(config, data.info, data.train_images)
    with strategies.synchronized(model):
        checkpoints.fit(
            model,
            data.train_images,
            data.train_labels,
            build_order(config, data.train_labels, data.info),
            config.epochs,
            checkpoints.Checkpoints(place, config.checkpoint_minutes, stop),
            callbacks=[callbacks.StopOnDivergence(), *schedule(config)],
            verbose=verbosity(),
        )
    return model


def _measure(model, changes):
    """Measures the errors of a model that is not trained, as at the end of an epoch."""
    logs: dict[str, float] = {}
    for callback in changes:
        if isinstance(callback, callbacks.TestError | callbacks.EpochLog):
            callback.set_model(model)
            callback.on_epoch_end(0, logs)


def _identity(config):
    """The config's identity, with the precision that is the default on this device."""
    computed_in = precision.resolved(config.precision)
    in_half = {} if computed_in == "float32" else {"precision": computed_in}
    return config.identity() | in_half


def build_model(config, info, images=None):
    """Returns the config's network, compiled with its loss and optimizer.

    `whitened_cnn` computes its first layer from the training images.
    """
    method = config.row
    with precision.computing(config.precision):
        model = _network(config, info, method.head, images)
        if method.second_stage == "scales":
            model = second_stage.add_scales(model)
    loss = method.loss.make(config)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    if config.mixup or config.cutmix:
        # Labels are soft: shares of all classes.
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
        if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
            loss = keras.losses.CategoricalCrossentropy(from_logits=loss.from_logits)
    # With weights of 1 it makes the batch's mean for losses that ignore replicas.
    knows_replicas = isinstance(loss, losses.PerExampleLoss)
    if method.weighting != "none" or not (config.strategy == "none" or knows_replicas):
        from_start = method.weighting == "from_start"
        loss = losses.ClassWeighted(
            loss,
            info.num_classes,
            class_weights=config.class_weights if from_start else None,
        )
    jit = "auto" if config.jit is None else config.jit
    if config.strategy == "mirrored":
        # TensorFlow does not compile the exchange between replicas.
        jit = False
    model.compile(
        optimizer=optimizers.SGD(
            _learning_rate(config),
            momentum=config.momentum,
            l2=config.l2,
            nesterov=config.nesterov,
            vector_rate=config.vector_rate,
        ),
        loss=loss,
        metrics=[accuracy],
        jit_compile=jit,
        steps_per_execution=(
            config.steps_per_execution
            or steps_at_once(config.steps_per_epoch, config.strategy)
        ),
    )
    return model


def _learning_rate(config):
    """The rate, or the schedule of the whole training; steps are set by a callback."""
    if config.schedule == "steps" or config.row.second_stage != "none":
        return config.learning_rate
    return optimizers.OneCycle(
        config.learning_rate,
        config.epochs * config.steps_per_epoch,
        rise=config.warmup_epochs / config.epochs,
    )


def steps_at_once(steps, strategy="none"):
    """Returns the default number of steps that are taken at once.

    It is the largest number up to 16 that divides the steps of an epoch on a GPU, as
    Keras would go past the epoch's end, and 1 elsewhere.
    """
    # Keras takes one step at a time on torch; several devices were not tried.
    takes_one = keras.backend.backend() == "torch" or strategy != "none"
    if takes_one or not environment.has_accelerator():
        return 1
    return max(n for n in range(1, _MOST_STEPS_AT_ONCE + 1) if steps % n == 0)


def _network(config, info, head, images):
    is_flipped = info.horizontal_flip and config.augment
    augmentation = dict(
        crop_padding=info.crop_padding if config.augment else 0,
        horizontal_flip=is_flipped and config.flip == "random",
        seed=config.seed,
        augmentation=_more_augmentation(config, info),
    )
    if config.model == WHITENED_CNN:
        # As in its source, for 32 pixels 2: what leaves the image is mirrored in.
        augmentation["crop_padding"] //= 2
        return models.whitened_cnn(
            info.num_classes,
            images,
            head,
            input_shape=info.image_shape,
            mean=info.mean,
            std=info.std,
            **augmentation,
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


def _more_augmentation(config, info):
    """The layers of the flags, with seeds that leave those of the network alone."""
    # 31 bits, which Keras takes on torch too.
    seeds = np.random.default_rng([config.seed, 0]).integers(2**31 - 1, size=2)
    found = []
    if config.augmentation == "randaugment":
        found.append(
            keras.layers.RandAugment(
                value_range=(0, 255),
                seed=int(seeds[0]),
                # In half precision it would round pixels, and where they come from.
                dtype="float32",
                data_format="channels_last",
                name="randaugment",
            )
        )
    if config.cutout:
        color = 255 * np.asarray(info.mean)
        found.append(
            layers.Cutout(config.cutout, color, seed=int(seeds[1]), name="cutout")
        )
    return found


def build_order(config, labels, info):
    """Returns the `EpochOrder` of the config's method and of the data's flips."""
    method = config.row
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
        mixup=config.mixup,
        cutmix=config.cutmix,
        num_classes=len(config.class_counts),
        alternating_flip=(
            config.flip == "alternating" and info.horizontal_flip and config.augment
        ),
    )


def schedule(config):
    """Returns the callbacks that change the training as epochs go by."""
    if config.row.second_stage != "none":
        return [second_stage.rate(config)]
    changes: list[keras.callbacks.Callback] = []
    if config.schedule == "steps":
        changes.append(
            callbacks.WarmUpStepDecay(
                config.learning_rate, config.warmup_epochs, config.drops
            )
        )
    if config.row.weighting == "deferred":
        changes.append(
            callbacks.DeferredReweighting(
                config.class_weights, config.first_reweighted_epoch
            )
        )
    if config.frozen_epochs:
        changes.append(callbacks.FrozenBackbone(config.frozen_epochs))
    return changes


def error_callback(config, data, devices=1):
    """Returns the callback that measures errors on the test or hold-out images."""
    size = device_parts.largest(len(data.test_labels), TEST_BATCH_SIZE, devices)
    if size is None:
        raise ValueError(
            "`devices` must be fewer: no batch size gives each of them one of the "
            f"{len(data.test_labels)} images that errors are measured on. "
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
    """Returns Keras's `verbose`: progress bars at a terminal, else a line an epoch."""
    return 1 if sys.stdout.isatty() else 2


def _write_outputs(folder, model, data, test, predictions, outputs):
    with _files.whole_file(folder / MODEL) as unfinished:
        model.save(unfinished)
    with (
        _files.whole_file(folder / PER_CLASS) as unfinished,
        # Names of folders that are not Unicode are written as their bytes.
        unfinished.open(
            "w", newline="", encoding="utf-8", errors="surrogateescape"
        ) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["epoch", *data.class_names])
        for epoch, errors in enumerate(test.per_class_errors):
            writer.writerow([epoch, *(f"{error:.4g}" for error in errors)])
    with _files.whole_file(folder / PREDICTIONS) as unfinished:
        np.savez_compressed(
            unfinished,
            labels=data.test_labels.astype("uint16"),
            predictions=predictions.astype("uint16"),
            outputs=outputs.astype("float16"),
        )


def _errors(config, data, test, log):
    """What the result says of the errors over the epochs and after the last one."""
    top1 = [row[f"{config.evaluated_on}_top1_error"] for row in log.rows]
    best = {"best_top1_error": min(top1), "best_epoch": int(np.argmin(top1))}
    return best | _last_errors(config, data, test.predictions)


def _last_errors(config, data, predictions):
    labels = data.test_labels
    errors = metrics.per_class_error(labels, predictions, len(data.class_names))
    counts = np.bincount(data.test_labels, minlength=len(data.class_names))
    return {
        "class_names": list(data.class_names),
        "top1_error": 100.0 * float(np.mean(predictions != labels)),
        "balanced_error": metrics.mean_error(errors),
        "per_class_error": [None if np.isnan(e) else float(e) for e in errors],
        "evaluated_counts": counts.tolist(),
    } | {
        f"{group}_shot_error": metrics.mean_error(
            errors, metrics.shot_group(config.class_counts, group)
        )
        for group in metrics.SHOT_GROUPS
    }


def _facts(config):
    """What the result says of the run, apart from what it found."""
    comparison, backend = paper.compare(config), keras.backend.backend()
    loss = config.row.loss.make(config)
    prior = probabilities.output_prior(config, config.class_counts, loss)
    names = ("method", "setting", "dataset", "imbalance", "imbalance_ratio", "seed")
    more = ("subset_seed", "epochs", "hyperparameters", "evaluated_on")
    facts = {name: getattr(config, name) for name in (*names, *more)}
    if config.imbalance == AS_IS:
        drawn = config.drawn_class_counts
        facts["imbalance_ratio"] = float(drawn.max() / drawn.min())
    return facts | {
        **{name: getattr(config.row, name) for name in _FACTS_OF_METHOD},
        "scale": config.output_scale,
        "class_counts": config.class_counts.tolist(),
        "output_prior": probabilities.UNKNOWN if prior is None else prior.tolist(),
        "published_top1_error": comparison.published,
        "protocol_differences": list(comparison.differences),
        "backend": backend,
        "versions": environment.versions(),
        "precision": precision.resolved(config.precision),
        "flags": _identity(config) | {"backend": backend},
    }
