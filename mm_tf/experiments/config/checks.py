"""Which flags of a run do not go together, checked before any work starts."""

import re

from mm_tf import _checks, backbones
from mm_tf.data.custom.options import DEFAULT_SIZE
from mm_tf.data.dataset import CUSTOM_DATASETS, DATASETS, DEFAULT_DATASET
from mm_tf.data.imbalance import IMBALANCES
from mm_tf.experiments.config import device_parts
from mm_tf.experiments.config.fields import (
    AS_IS,
    CUSTOM_DATA_FLAGS,
    MODEL_DEPTHS,
    STRATEGIES,
    WHITENED_CNN,
    flag_fields,
)

# What flags.txt, the terminal or a file system cannot take: ends of lines, bytes that
# are no text, the end of a C string.
_NO_NAME = re.compile(r"[\0\n-\r\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]")


def check(config):
    """Checks that the flags of a run go together."""
    _check_model(config)
    _check_places(config)
    _check_ranges(config)
    if config.is_custom:
        _check_custom_data(config)
    else:
        _check_known_data(config)
    _check_views(config)
    _check_devices(config)
    _check_steps_per_execution(config)
    if config.has_class_counts:
        _check_counts(config)


def check_shape(config, image_shape):
    """Checks that the method and the network take images of a shape."""
    height, width, _ = image_shape
    if height != width and config.row.pretraining == "rotation":
        raise ValueError(
            f"`method`: {config.method} turns images by 90 degrees, so they must be "
            "square (--image_size=64, for example). "
            f"Received: images of {height} x {width} pixels"
        )
    argument = "image_size" if config.is_custom else "dataset"
    if (
        config.model == WHITENED_CNN
        and min(height, width) < backbones.SMALLEST_WHITENED
    ):
        smallest = backbones.SMALLEST_WHITENED
        message = f"`model` {WHITENED_CNN} takes images of at least {smallest} pixels"
        raise _error(config, message, "model", argument)
    if config.model in backbones.APPLICATIONS:
        backbones.check_size(config.model, height, width, argument)


def _error(config, message, *names):
    values = ", ".join(f"{name}={getattr(config, name)!r}" for name in names)
    return ValueError(f"{message}. Received: {values}")


def _check_model(config):
    from_nothing = (*MODEL_DEPTHS, WHITENED_CNN)
    names = (*from_nothing, *backbones.APPLICATIONS)
    if config.model not in names:
        raise ValueError(
            f"`model` must be one of {', '.join(from_nothing)}, or the name of a "
            "network of keras.applications, such as EfficientNetV2B0."
            f"{_checks.nearest(config.model, names)} Received: model={config.model!r}"
        )
    if config.model in from_nothing and config.weights is not None:
        message = "`weights` are only for networks of keras.applications"
        raise _error(config, message, "weights", "model")
    if config.weights_digest is not None and not config.has_weights_file:
        message = "`weights_digest` must not be given without a file of `weights`"
        raise _error(config, message, "weights_digest", "weights")
    if config.frozen_epochs and config.weights is None:
        message = "`frozen_epochs` needs `weights`: random weights must be trained"
        raise _error(config, message, "frozen_epochs", "weights")


def _check_places(config):
    for name in ("data_dir", "output_dir", "first_stage", "weights"):
        place = getattr(config, name)
        if place is not None and (_NO_NAME.search(place) or not place.strip()):
            is_file = name == "weights"
            expected = f"{backbones.IMAGENET} or a file" if is_file else "a folder"
            message = f"`{name}` must name {expected}, in UTF-8 and on one line"
            raise _error(config, message, name)


def _check_ranges(config):
    # 1 is the end of their ranges, but not in them.
    for name in ("effective_number_beta", "holdout"):
        if getattr(config, name) == 1:
            raise _error(config, f"`{name}` must be below 1", name)
    if config.mixup and config.cutmix:
        message = "`mixup` and `cutmix` must not both be above 0"
        raise _error(config, message, "mixup", "cutmix")
    if config.views not in (1, 2, 3, 6):
        raise _error(config, "`views` must be 1, 2, 3 or 6", "views")
    if config.schedule == "one_cycle" and config.warmup_epochs > config.epochs:
        message = "`warmup_epochs` must be at most `epochs` with the schedule one_cycle"
        raise _error(config, message, "warmup_epochs", "epochs")
    (first, _), (second, _) = config.drops
    if first > second:
        raise ValueError(
            "`second_drop_epoch` must not come before `first_drop_epoch`. "
            f"Received: first_drop_epoch={first}, second_drop_epoch={second}"
        )


def _check_views(config):
    if config.is_custom:
        has_mirror_images = config.horizontal_flip
    else:
        has_mirror_images = DATASETS[config.dataset].horizontal_flip
    if config.views % 2 == 0 and not has_mirror_images:
        message = (
            "`views` must be 1 or 3, without mirror images, where those show another "
            "class"
        )
        raise _error(config, message, "views", "dataset")


def _check_custom_data(config):
    if config.dataset in CUSTOM_DATASETS and config.data_dir is None:
        message = f"`data_dir` must say where the data of {config.dataset} are"
        raise _error(config, message, "data_dir")
    size = config.read_options.image_size
    if size is None and config.dataset in ("folder", "csv"):
        size = DEFAULT_SIZE
    if size is not None:
        check_shape(config, (*size, config.channels))


def _check_known_data(config):
    check_shape(config, DATASETS[config.dataset].image_shape)
    if config.imbalance == AS_IS:
        choices = ", ".join(IMBALANCES)
        message = f"`imbalance` must be one of {choices} for {config.dataset}"
        raise _error(config, message, "imbalance")
    if config.dataset == DEFAULT_DATASET and config.data_dir is not None:
        message = (
            "`data_dir` must not be given for digits, which come with scikit-learn "
            "(your images: --dataset=folder, csv or npz)"
        )
        raise _error(config, message, "data_dir", "dataset")
    for field in flag_fields():
        value = getattr(config, field.name)
        if field.name in CUSTOM_DATA_FLAGS and value != field.default:
            raise _error(
                config,
                f"`{field.name}` is for custom data (--dataset=folder, csv, npz or "
                "tfds:NAME)",
                *(field.name, "dataset"),
            )


def _check_counts(config):
    # A ratio that leaves a class empty is reported here, before data are read.
    largest = min(config.full_class_counts)
    if config.imbalance not in ("none", AS_IS) and config.imbalance_ratio > largest:
        counted = "the smallest class" if config.is_custom else config.dataset
        message = (
            f"`imbalance_ratio` must be at most {largest} for {counted}, or a class "
            "has no image left"
        )
        raise _error(config, message, "imbalance_ratio")
    if config.holdout and config.drawn_class_counts.min() < 2:
        single = int((config.drawn_class_counts < 2).sum())
        hint = " (a smaller --imbalance_ratio leaves more)"
        message = (
            "`holdout` needs at least two images of each class, one to hold out "
            f"and one to train on, and in {config.setting} {single} of "
            f"{len(config.drawn_class_counts)} classes have one"
            f"{'' if config.imbalance == AS_IS else hint}"
        )
        raise _error(config, message, "holdout")
    if config.strategy == "mirrored" and config.devices is not None:
        device_parts.check(
            int(config.class_counts.sum()), config.batch_size, config.devices
        )


def _check_steps_per_execution(config):
    at_once = config.steps_per_execution
    if at_once is None:
        return
    if config.backend == "torch" and at_once > 1:
        message = (
            "`steps_per_execution` must be 1 on torch, where Keras takes one step at "
            "a time"
        )
        raise _error(config, message, "steps_per_execution")
    if config.has_class_counts and config.steps_per_epoch % at_once:
        steps = config.steps_per_epoch
        divisors = [str(each) for each in range(1, steps + 1) if steps % each == 0]
        message = (
            f"`steps_per_execution` must divide the steps of an epoch, {steps}: be one "
            f"of {', '.join(divisors)}"
        )
        raise _error(config, message, "steps_per_execution")


def _check_devices(config):
    needed = STRATEGIES[config.strategy]
    if needed and config.backend != needed:
        message = f"`strategy` {config.strategy} is for the backend {needed}"
        raise _error(config, message, "strategy", "backend")
    if config.strategy == "mirrored" and config.jit:
        message = (
            "`jit` must not be True with the strategy mirrored: TensorFlow does not "
            "compile the exchange between devices"
        )
        raise _error(config, message, "jit")
    if config.devices is not None and config.strategy == "none":
        message = "`devices` is for a --strategy (mirrored or data_parallel)"
        raise _error(config, message, "devices", "strategy")
    if config.devices is not None and config.devices > config.batch_size:
        message = "`devices` must be at most `batch_size`, which they share"
        raise _error(config, message, "devices", "batch_size")
