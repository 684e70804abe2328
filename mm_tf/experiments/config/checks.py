"""What the flags of a run must not say together, told before any work starts."""

from mm_tf import _checks, backbones
from mm_tf.data.custom.options import DEFAULT_SIZE
from mm_tf.data.dataset import CUSTOM_DATASETS, DATASETS
from mm_tf.data.imbalance import IMBALANCES
from mm_tf.experiments.config import parts
from mm_tf.experiments.config.fields import (
    AS_IS,
    MODEL_DEPTHS,
    OF_OWN_IMAGES,
    STRATEGIES,
    flag_fields,
)
from mm_tf.experiments.paper.methods import METHODS


def check(config):
    """Checks that the flags of a run go together."""
    _check_effective_number(config)
    _check_model(config)
    _check_places(config)
    _check_holdout(config)
    _check_drops(config)
    _check_reading(config)
    _check_counts(config)
    _check_steps_per_execution(config)
    _check_strategy(config)
    _check_devices(config)


def check_shape(config, image_shape):
    """Checks that the method and the network take images of a shape."""
    height, width, _ = image_shape
    if height != width and METHODS[config.method].pretraining == "rotation":
        raise _not_square(config, (height, width))
    _check_size(config, height, width)


def _check_effective_number(config):
    if config.effective_number_beta == 1:
        raise ValueError(
            "`effective_number_beta` must be below 1. Received: "
            f"effective_number_beta={config.effective_number_beta!r}"
        )


def _check_model(config):
    if config.model not in (*MODEL_DEPTHS, *backbones.APPLICATIONS):
        names = (*MODEL_DEPTHS, *backbones.APPLICATIONS)
        raise ValueError(
            f"`model` must be one of {', '.join(MODEL_DEPTHS)}, or a network of "
            "keras.applications by its name there, as EfficientNetV2B0."
            f"{_checks.nearest(config.model, names)} "
            f"Received: model={config.model!r}"
        )
    if config.model in MODEL_DEPTHS and config.weights is not None:
        raise ValueError(
            "`weights` are for networks of keras.applications (--model="
            f"EfficientNetV2B0, say). Received: weights={config.weights!r} with "
            f"model={config.model!r}"
        )
    if config.weights_digest is not None and not config.has_weights_file:
        raise ValueError(
            "`weights_digest` must not be given without a file of `weights`. "
            f"Received: weights_digest={config.weights_digest!r}, "
            f"weights={config.weights!r}"
        )
    if config.frozen_epochs and config.weights is None:
        raise ValueError(
            "`frozen_epochs` needs `weights`: a network of drawn weights has "
            f"nothing to keep. Received: frozen_epochs={config.frozen_epochs}"
        )


def _check_places(config):
    for name in ("data_dir", "output_dir", "pretrained_dir"):
        _check_place(name, getattr(config, name), "a folder")
    _check_place("weights", config.weights, f"{backbones.IMAGENET} or a file")


def _check_place(name, place, expected):
    if place is None:
        return
    try:
        # What flags.txt and the terminal take, and every file system.
        place.encode()
        is_writable = "\0" not in place and len(place.splitlines()) == 1
    except UnicodeEncodeError:
        is_writable = False
    if not is_writable or not place.strip():
        raise ValueError(
            f"`{name}` must name {expected}, in UTF-8 and on one line. "
            f"Received: {name}={place!r}"
        )


def _check_holdout(config):
    if config.holdout == 1:
        raise ValueError(
            "`holdout` must be below 1, or nothing is left to train on. "
            f"Received: holdout={config.holdout!r}"
        )


def _check_drops(config):
    (first, _), (second, _) = config.drops
    if first > second:
        raise ValueError(
            "`second_drop_epoch` must not come before `first_drop_epoch`. "
            f"Received: first_drop_epoch={first}, second_drop_epoch={second}"
        )


def _check_reading(config):
    """Checks what is about images of one's own, without looking at them."""
    if config.is_own:
        if config.dataset in CUSTOM_DATASETS and config.data_dir is None:
            raise ValueError(
                f"`data_dir` must say where the images of --dataset={config.dataset} "
                "are. Received: data_dir=None"
            )
        size = config.read_options.image_size
        needs_squares = METHODS[config.method].pretraining == "rotation"
        if size is not None and size[0] != size[1] and needs_squares:
            raise _not_square(config, size)
        if size is None and config.dataset in ("folder", "csv"):
            size = DEFAULT_SIZE
        if size is not None:
            _check_size(config, *size)
        return
    _check_size(config, *DATASETS[config.dataset].image_shape[:2])
    if config.imbalance == AS_IS:
        raise ValueError(
            f"`imbalance` must be one of {', '.join(IMBALANCES)} for "
            f"{config.dataset}, which is balanced as it is. "
            f"Received: imbalance={config.imbalance!r}"
        )
    for field in flag_fields():
        value = getattr(config, field.name)
        if field.name in OF_OWN_IMAGES and value != field.default:
            raise ValueError(
                f"`{field.name}` is for images of your own (--dataset=folder, csv, "
                f"npz or tfds:NAME), and {config.dataset} is read in one way. "
                f"Received: {field.name}={value!r}"
            )


def _check_size(config, height, width):
    if config.model in backbones.APPLICATIONS:
        argument = "image_size" if config.is_own else "dataset"
        backbones.check_size(config.model, height, width, argument)


def _not_square(config, size):
    return ValueError(
        f"`method`: {config.method} turns images by quarters, so they must be square "
        "(--image_size=64, say). "
        f"Received: images of {size[0]} x {size[1]} pixels"
    )


def _check_counts(config):
    """Checks, once class counts are known, that they can be what is asked for."""
    if not config.knows_counts:
        return
    # A ratio that leaves a class empty is told here, before data are read.
    largest = min(config.known_counts)
    if config.imbalance not in ("none", AS_IS) and config.imbalance_ratio > largest:
        of = "the smallest class" if config.is_own else config.dataset
        raise ValueError(
            f"`imbalance_ratio` must be at most {largest} for {of}, or a class has "
            f"no image left. Received: imbalance_ratio={config.imbalance_ratio!r}"
        )
    if config.holdout and config.drawn_class_counts.min() < 2:
        single = int((config.drawn_class_counts < 2).sum())
        more = " (a smaller --imbalance_ratio leaves more)"
        raise ValueError(
            "`holdout` needs at least two images of each class, one to hold out "
            f"and one to train on, and in {config.setting} {single} of "
            f"{len(config.drawn_class_counts)} classes have one"
            f"{'' if config.imbalance == AS_IS else more}. "
            f"Received: holdout={config.holdout!r}"
        )


def _check_steps_per_execution(config):
    at_once = config.steps_per_execution
    if config.backend == "torch" and (at_once or 1) > 1:
        raise ValueError(
            "`steps_per_execution` must be 1 on torch, where Keras takes one step "
            f"at a time. Received: steps_per_execution={at_once}"
        )
    if not config.knows_counts or at_once is None:
        return
    steps = config.steps_per_epoch
    if steps % at_once:
        divisors = [str(each) for each in range(1, steps + 1) if steps % each == 0]
        raise ValueError(
            f"`steps_per_execution` must divide the steps of an epoch, {steps}: be one "
            f"of {', '.join(divisors)}. Received: steps_per_execution={at_once}"
        )


def _check_strategy(config):
    needed = STRATEGIES[config.strategy]
    if needed and config.backend != needed:
        raise ValueError(
            f"`strategy` {config.strategy} is for the backend {needed}. "
            f"Received: strategy={config.strategy!r}, backend={config.backend!r}"
        )
    if config.strategy == "mirrored" and config.jit:
        raise ValueError(
            "`jit` must not be True with the strategy mirrored: TensorFlow does "
            f"not compile what devices exchange. Received: jit={config.jit}"
        )


def _check_devices(config):
    if config.devices is None:
        return
    if config.strategy == "none":
        raise ValueError(
            "`devices` is for a --strategy (mirrored or data_parallel). "
            f"Received: devices={config.devices}, strategy='none'"
        )
    if config.devices > config.batch_size:
        raise ValueError(
            "`devices` must be at most `batch_size`, of which each has a part. "
            f"Received: devices={config.devices}, batch_size={config.batch_size}"
        )
    if config.strategy == "mirrored" and config.knows_counts:
        parts.check(int(config.class_counts.sum()), config.batch_size, config.devices)
