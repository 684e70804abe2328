"""The flags of a run: their names, kinds, defaults, help texts and ranges."""

import dataclasses
import functools
import typing

from mm_tf import _checks
from mm_tf.data.custom.options import ReadOptions
from mm_tf.data.images.image_files import MEMORY_LIMIT
from mm_tf.data.imbalance import IMBALANCES
from mm_tf.experiments.config.recipes import RECIPES
from mm_tf.experiments.paper.methods import METHODS

WHITENED_CNN = "whitened_cnn"
MODEL_DEPTHS = {f"resnet{depth}": depth for depth in (8, 20, 32, 44, 56, 110)}
BACKENDS = ("tensorflow", "jax", "torch")
# The strategies for several devices, and the Keras backend that each needs.
STRATEGIES = {"none": None, "mirrored": "tensorflow", "data_parallel": "jax"}

# The imbalance that leaves all images as they are.
AS_IS = "as_is"

# The flags for custom data only.
CUSTOM_DATA_FLAGS = (
    *(field.name for field in dataclasses.fields(ReadOptions)),
    "data_digest",
)


def _flag(default, help, choices=None, place=False, **limits):
    """A field that is also a flag.

    A `place` says where and how a run is saved, which is no part of what the run is;
    `limits` are those of `_checks`.
    """
    metadata = {"help": help, "choices": choices, "limits": limits, "place": place}
    return dataclasses.field(default=default, metadata=metadata)


_place = functools.partial(_flag, place=True)
# Where it is not given, the recipe says what it is.
_of_recipe = functools.partial(_flag, None)
_POSITIVE = {"low": 0.0, "low_allowed": False}
_SHARE = {"low": 0.0, "high": 1.0}
_LARGEST = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class RunFields:
    """The fields of `RunConfig`: one for each flag.

    The metadata of a field has its `help` text, the `choices` of a name, the `limits`
    of a number, and whether it is a `place`.
    """

    dataset: str | None = _flag(
        None,
        "Data set: digits (no download), cifar10, cifar100, tfds:NAME, or your images "
        "in --data_dir as a folder, csv or npz; default as the path of --data_dir "
        "says, digits without one.",
    )
    imbalance: str | None = _flag(
        None,
        "Class counts: long_tailed (exponential), step, none (balanced) or as_is "
        "(your images as they are); default as_is for custom data, else long_tailed.",
        choices=(*IMBALANCES, AS_IS),
    )
    imbalance_ratio: float = _flag(
        100.0,
        "Images of the largest class / images of the smallest class; no effect with "
        "--imbalance=none or as_is.",
        low=1.0,
    )
    subset_seed: int = _flag(
        0, "Seed of the draw of each class's images, the same for all --seed.", low=0
    )
    holdout: float = _flag(
        0.0,
        "Share of each class's training images to hold out; errors are measured on "
        "them instead of the test images. 0 for no hold-out.",
        **_SHARE,
    )
    method: str = _flag(
        "mm_ldam_drw",
        f"The method: {', '.join(METHODS)}; or FILE:NAME for one of your own.",
    )
    beta: float = _flag(1.5, "MM: delta plus / delta minus.", low=0.0)
    delta: float = _flag(0.6, "MM: delta minus.", low=0.0)
    scale: float = _flag(10.0, "MM: the factor s from cosines to logits.", **_POSITIVE)
    max_class_margin: float = _flag(
        0.5, "LDAM and MM-LDAM: the margin gamma of the rarest class.", low=0.0
    )
    ldam_scale: float = _flag(
        30.0,
        "LDAM: the factor s from cosines to logits, as in the code of Cao et al.",
        **_POSITIVE,
    )
    focal_gamma: float = _flag(1.0, "Focal loss: its exponent.", low=0.0)
    class_weighting: str = _flag(
        "effective_number",
        "How class weights and re-sampling follow from class counts.",
        choices=("effective_number", "inverse_frequency"),
    )
    effective_number_beta: float = _flag(
        0.9999, "The beta of --class_weighting=effective_number.", **_SHARE
    )
    recipe: str = _flag(
        "paper",
        "What the flags of the training are where they are not given: paper, or fast, "
        "minutes on a processor.",
        choices=tuple(RECIPES),
    )
    model: str = _of_recipe(
        f"Network: {', '.join(MODEL_DEPTHS)}, {WHITENED_CNN}, or a network of "
        "keras.applications such as EfficientNetV2B0.",
    )
    weights: str | None = _flag(
        None,
        "Initial weights of a keras.applications network: imagenet (downloaded by "
        "Keras) or a .weights.h5 or .h5 file; default random.",
    )
    frozen_epochs: int = _flag(
        0, "With --weights: first epochs that train only the head.", low=0
    )
    epochs: int = _of_recipe("Epochs of training.", low=1)
    warmup_epochs: int = _of_recipe(
        "Epochs in which the learning rate rises to --learning_rate.", low=0
    )
    first_drop_epoch: int | None = _flag(
        None,
        "--schedule=steps: first epoch (from 0) with learning rate x 0.01; default "
        "160 of 200, in proportion to --epochs.",
        low=0,
    )
    second_drop_epoch: int | None = _flag(
        None,
        "--schedule=steps: first epoch (from 0) with learning rate x 0.0001; default "
        "180 of 200, in proportion to --epochs.",
        low=0,
    )
    reweight_epoch: int | None = _flag(
        None,
        "First epoch (from 0) of deferred re-weighting or re-sampling; default 160 of "
        "200, in proportion to --epochs.",
        low=0,
    )
    pretraining_epochs: int | None = _flag(
        None, "SSP: epochs of pre-training; default --epochs.", low=1
    )
    second_stage_epochs: int = _flag(
        30,
        "cRT and LWS: epochs of the second stage, which trains only the head.",
        low=1,
    )
    schedule: str = _of_recipe(
        "Learning rate after the warm-up: steps (two drops) or one_cycle (a straight "
        "line to 0).",
        choices=("steps", "one_cycle"),
    )
    batch_size: int = _of_recipe("Images in a training step.", low=1)
    learning_rate: float = _of_recipe("Learning rate after the warm-up.", **_POSITIVE)
    momentum: float = _flag(0.9, "Momentum of SGD.", **_SHARE)
    nesterov: bool = _of_recipe("Nesterov's momentum.")
    vector_rate: float = _of_recipe(
        "Learning rate of biases and normalization, as a multiple of --learning_rate.",
        **_POSITIVE,
    )
    l2: float = _of_recipe("Weight decay, as L2 in the gradient.", low=0.0)
    jit: bool | None = _flag(
        None,
        "Compile the training step with XLA; default: Keras decides. On TensorFlow "
        "it needs --nodeterministic.",
    )
    deterministic: bool | None = _flag(
        None,
        "Same flags, same weights, bit for bit, on one device; default: yes on a CPU, "
        "no on a GPU, where it is slower.",
    )
    precision: str | None = _flag(
        None,
        "Precision of the network's layers; weights and the loss stay in float32. "
        "Default bfloat16 on a GPU, else float32.",
        choices=("float32", "bfloat16", "float16"),
    )
    augment: bool = _flag(True, "Random crops, and flips where the data allow them.")
    cutout: int = _flag(
        0,
        "Side in pixels of a square that covers a part of each training image, as 16; "
        "0 for none.",
        low=0,
    )
    augmentation: str = _flag(
        "none",
        "More changes of training images: none or randaugment.",
        choices=("none", "randaugment"),
    )
    mixup: float = _flag(
        0.0,
        "Mixes training images and their labels in pairs: alpha of MixUp, as 1; 0 for "
        "none.",
        low=0.0,
    )
    cutmix: float = _flag(
        0.0,
        "Puts a rectangle of another image into each training image and mixes the "
        "labels: alpha of CutMix, as 1; 0 for none.",
        low=0.0,
    )
    flip: str = _of_recipe(
        "Flips in training: random, or alternating, in every second epoch.",
        choices=("random", "alternating"),
    )
    views: int = _of_recipe(
        "Views of an image over which the model's outputs are averaged after the "
        "training: 1, 2 (its mirror image), 3 (shifts of a pixel) or 6 (both).",
        low=1,
        high=6,
    )
    seed: int = _flag(
        0,
        "Seed of the initial weights, the order of images, crops and flips.",
        low=0,
        high=2**32 - 1,  # Keras saves seeds as uint32.
    )
    image_size: str | None = _flag(
        None,
        "Custom data: height and width in pixels after resizing and cropping, as 64 "
        "or 48x64; default 32, and the size that arrays have.",
    )
    channels: int | None = _flag(
        None,
        "Custom data: 3 (RGB) or 1 (grey); default 3, and the channels that arrays "
        "have.",
        low=1,
        high=3,
    )
    test_fraction: float = _flag(
        0.2,
        "Custom data without test images: share of each class to use as test images.",
        **_SHARE,
    )
    split_seed: int = _flag(
        0, "Custom data without test images: seed of the draw of test images.", low=0
    )
    horizontal_flip: bool = _flag(
        True, "Custom data: a mirrored image shows the same class."
    )
    data_digest: str | None = _flag(
        None,
        "Custom data: digest of the images, which a run computes and saves; if given, "
        "other images are an error.",
    )
    weights_digest: str | None = _flag(
        None,
        "Digest of the file of --weights, which a run computes and saves; if given, "
        "another file is an error.",
    )
    method_digest: str | None = _flag(
        None,
        "Digest of the file of --method=FILE:NAME, which a run computes and saves; if "
        "given, another file is an error.",
    )
    backend: str | None = _flag(
        None, "Backend of Keras; default: Keras decides.", choices=BACKENDS
    )
    strategy: str = _flag(
        "none",
        "Several devices of one machine for one run: mirrored (TensorFlow) or "
        "data_parallel (JAX), which share each batch.",
        choices=tuple(STRATEGIES),
    )
    devices: int | None = _flag(
        None,
        "Number of devices of --strategy; default all GPUs. Without a GPU, the CPU is "
        "split into this many, for a trial.",
        low=1,
    )
    data_dir: str | None = _place(
        None,
        "Folder, CSV file or archive of your images, or the folder of tfds; default "
        "for tfds TFDS_DATA_DIR or its own.",
    )
    strict: bool = _place(
        False,
        "Custom data: stop at a file that cannot be decoded, or has a copy in another "
        "class, instead of leaving it out.",
    )
    verify: bool = _place(
        True,
        "Custom data: decode every file once at the start, to find those that cannot "
        "be decoded, or have a copy in another class; --noverify looks for none.",
    )
    memory_limit: int = _place(
        MEMORY_LIMIT, "Custom data: bytes of decoded images to hold in memory.", low=0
    )
    num_threads: int | None = _place(
        None,
        "Custom data: threads that decode; default: the number of CPU cores.",
        low=1,
    )
    output_dir: str | None = _place(
        None, "Folder of the run; default saved_models/<setting>/<method>/seed<seed>."
    )
    first_stage: str | None = _place(
        None,
        "cRT, LWS, tau-norm: folder of a finished run of erm or of one of them, with "
        "the same data, network, seed and schedule, whose first stage to use; SSP: of "
        "a run of SSP, likewise; default: train it first.",
    )
    pretrained_dir: str | None = _place(None, "The old name of --first_stage.")
    checkpoint_minutes: float | None = _place(
        None,
        "Minutes between checkpoints within an epoch; default: only at the end of "
        "each epoch.",
        **_POSITIVE,
    )
    steps_per_execution: int | None = _place(
        None,
        "Training steps in one call of the device, a divisor of the steps of an "
        "epoch; default: the largest up to 16 on one GPU, else 1.",
        low=1,
    )
    overwrite: bool = _place(False, "Replace the finished run in the output folder.")


def flag_fields():
    """Returns the fields of `RunConfig` that are flags."""
    return list(dataclasses.fields(RunFields))


def kind_of(field):
    """Returns the type of a field's values, and whether None is one of them."""
    hint = typing.get_type_hints(RunFields)[field.name]
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return (kinds[0], True) if kinds else (hint, False)


def checked(field, value):
    """Returns a field's value as its kind, or raises a ValueError that names it."""
    kind, is_optional = kind_of(field)
    if value is None and is_optional:
        return None
    choices, limits = field.metadata["choices"], field.metadata["limits"]
    if choices and not (isinstance(value, str) and value in choices):
        raise ValueError(
            f"`{field.name}` must be one of {', '.join(choices)}. "
            f"Received: {field.name}={value!r}"
        )
    return checked_value(field.name, value, kind, limits)


def checked_value(name, value, kind, limits):
    """Returns the value of a flag as its kind, or raises a ValueError that names it."""
    if kind is float:
        return _checks.check_number(name, value, **limits)
    if kind is int:
        return _checks.check_integer(name, value, **{"low": -_LARGEST, **limits})
    if not isinstance(value, kind):
        raise ValueError(
            f"`{name}` must be a {kind.__name__}. Received: {name}={value!r}"
        )
    return value
