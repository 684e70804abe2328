"""The flags of a run: their names, kinds, defaults, help texts and ranges."""

import dataclasses
import typing

from mm_tf import _checks
from mm_tf.data.custom.image_files import MEMORY_LIMIT
from mm_tf.data.custom.options import ReadOptions
from mm_tf.data.imbalance import IMBALANCES
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.paper.protocol import PAPER_EPOCHS

MODEL_DEPTHS = {f"resnet{depth}": depth for depth in (8, 20, 32, 44, 56, 110)}
BACKENDS = ("tensorflow", "jax", "torch")
# One run on several devices, and Keras's backend on which it works.
STRATEGIES = {"none": None, "mirrored": "tensorflow", "data_parallel": "jax"}
PRECISIONS = ("float32", "bfloat16", "float16")
CLASS_WEIGHTINGS = ("effective_number", "inverse_frequency")

# The imbalance of images that stay as many as they are.
AS_IS = "as_is"

# What is said of images of one's own, and of no other data set.
OF_OWN_IMAGES = (
    *(field.name for field in dataclasses.fields(ReadOptions)),
    "data_digest",
)


def _flag(default, help, choices=None, **limits):
    """A field that is also a flag; `limits` are those of `_checks`."""
    metadata = {"help": help, "choices": choices, "limits": limits}
    return dataclasses.field(default=default, metadata=metadata)


def _later(default, help, choices=None, **limits):
    """A field that came later: runs kept before it was there are of its default."""
    metadata = {"help": help, "choices": choices, "limits": limits, "later": True}
    return dataclasses.field(default=default, metadata=metadata)


def _place(default, help, **limits):
    """A field that says where and how a run is kept, and is no part of what it is."""
    metadata = {"help": help, "choices": None, "limits": limits, "place": True}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class RunFields:
    """What `RunConfig` takes, and checks: a field for each flag.

    The metadata of a field has its `help` text, the `choices` of a name, and the
    `limits` of a number.
    """

    dataset: str = _flag(
        "digits",
        "The data set: digits, which needs no download, cifar10, cifar100; folder, csv "
        "or npz for images of your own in --data_dir; or tfds:NAME.",
    )
    imbalance: str | None = _flag(
        None,
        "How class counts fall: exponentially (long_tailed), in one step, or not at "
        "all (none); or as_is, the counts that images of your own have. By default "
        "as_is for them, and long_tailed otherwise.",
        choices=(*IMBALANCES, AS_IS),
    )
    imbalance_ratio: float = _flag(
        100.0,
        "Images of the largest class / images of the smallest; not for as_is.",
        low=1.0,
    )
    subset_seed: int = _flag(
        0, "Which images of each class are drawn; the same for all seeds.", low=0
    )
    holdout: float = _later(
        0.0,
        "Share of each class's training images, at least one of each, that is held "
        "out: errors are measured on them in place of the test images. 0 for none.",
        low=0.0,
        high=1.0,
    )
    method: str = _flag(
        "mm_ldam_drw", "A row of the paper's Table 1.", choices=tuple(METHODS)
    )
    beta: float = _flag(1.5, "MM: delta plus / delta minus.", low=0.0)
    delta: float = _flag(0.6, "MM: delta minus.", low=0.0)
    scale: float = _flag(
        10.0, "MM: s, by which cosines become logits.", low=0.0, low_allowed=False
    )
    max_class_margin: float = _flag(
        0.5, "LDAM and MM-LDAM: the gamma of the rarest class.", low=0.0
    )
    ldam_scale: float = _flag(
        30.0,
        "LDAM: s; 30 in the code of Cao et al., whose figures Table 1 quotes.",
        low=0.0,
        low_allowed=False,
    )
    focal_gamma: float = _flag(1.0, "Focal loss: its exponent.", low=0.0)
    class_weighting: str = _flag(
        "effective_number",
        "Where classes are weighted or re-sampled: by what.",
        choices=CLASS_WEIGHTINGS,
    )
    effective_number_beta: float = _flag(
        0.9999, "Effective number: its beta.", low=0.0, high=1.0
    )
    model: str = _flag(
        "resnet32",
        f"The network: {', '.join(MODEL_DEPTHS)}; or one of keras.applications by its "
        "name there, as EfficientNetV2B0.",
    )
    weights: str | None = _later(
        None,
        "Of a network of keras.applications, the weights to begin with: imagenet, "
        "which Keras downloads, or a file .weights.h5 or .h5; by default none.",
    )
    frozen_epochs: int = _later(
        0,
        "With --weights: the first epochs, in which the head alone is trained.",
        low=0,
    )
    epochs: int = _flag(PAPER_EPOCHS, "Epochs of training.", low=1)
    warmup_epochs: int = _flag(
        5, "Epochs in which the learning rate rises to its value.", low=0
    )
    first_drop_epoch: int | None = _flag(
        None,
        "First epoch (from 0) with learning rate x 0.01; default 160 of 200, and in "
        "proportion with other --epochs.",
        low=0,
    )
    second_drop_epoch: int | None = _flag(
        None,
        "First epoch with learning rate x 0.0001; default 180 of 200, in proportion.",
        low=0,
    )
    reweight_epoch: int | None = _flag(
        None,
        "Deferred re-weighting or re-sampling: its first epoch; default 160 of 200, "
        "in proportion.",
        low=0,
    )
    pretraining_epochs: int | None = _flag(
        None, "SSP: epochs of pre-training; default as many as --epochs.", low=1
    )
    batch_size: int = _flag(128, "Images of a step.", low=1)
    learning_rate: float = _flag(
        0.1, "The learning rate after the warm-up.", low=0.0, low_allowed=False
    )
    momentum: float = _flag(0.9, "Momentum of SGD.", low=0.0, high=1.0)
    l2: float = _flag(2e-4, "Weight decay, as L2 in the gradient.", low=0.0)
    jit: bool | None = _flag(
        None,
        "Compile the training step with XLA; by default as Keras chooses. On "
        "TensorFlow it needs --nodeterministic.",
    )
    deterministic: bool | None = _flag(
        None,
        "The same weights, bit for bit, from the same flags on one device; by default "
        "on a CPU alone, as it slows a GPU down.",
    )
    precision: str | None = _later(
        None,
        "What the network computes in; weights, cosines, margins and the loss are "
        "float32 in any case. By default bfloat16 where a GPU is found, else float32.",
        choices=PRECISIONS,
    )
    augment: bool = _flag(True, "Random crops, and flips where they make sense.")
    seed: int = _flag(
        0,
        "Initial weights, order of the images, crops and flips.",
        low=0,
        high=2**32 - 1,  # Keras keeps seeds as uint32.
    )
    image_size: str | None = _later(
        None,
        "Images of your own: the height and width that they are resized and cropped "
        "to, as 64 or 48x64; default 32, and the own size of arrays.",
    )
    channels: int | None = _later(
        None,
        "Images of your own: 3 (RGB) or 1 (grey); by default as they are.",
        low=1,
        high=3,
    )
    test_fraction: float = _later(
        0.2,
        "Images of your own without test images: the share of each class that is "
        "taken for them.",
        low=0.0,
        high=1.0,
    )
    split_seed: int = _later(
        0, "Images of your own without test images: which are taken for them.", low=0
    )
    horizontal_flip: bool = _later(
        True,
        "Images of your own: whether a mirrored image still shows the same class.",
    )
    data_digest: str | None = _later(
        None,
        "Images of your own: their digest, which a run finds out and keeps. Given, "
        "other images in --data_dir are an error.",
    )
    weights_digest: str | None = _later(
        None,
        "With --weights of a file: its digest, which a run finds out and keeps. Given, "
        "another file is an error.",
    )
    backend: str | None = _flag(
        None, "Keras's backend; by default the one Keras chooses.", choices=BACKENDS
    )
    strategy: str = _later(
        "none",
        "One run on several devices: mirrored on TensorFlow (of one machine), "
        "data_parallel on JAX. --batch_size is that of all together.",
        choices=tuple(STRATEGIES),
    )
    devices: int | None = _later(
        None,
        "Devices of --strategy on each machine; by default all GPUs. Without a GPU the "
        "CPU is taken as so many, to try it.",
        low=1,
    )
    data_dir: str | None = _place(
        None,
        "The folder, CSV file or archive of images of your own. Else where tfds keeps "
        "data sets; by default TFDS_DATA_DIR or tfds's own.",
    )
    strict: bool = _place(
        False, "Images of your own: a file that cannot be decoded is an error."
    )
    verify: bool = _place(
        True,
        "Images of your own: decode every file once before anything else, to leave "
        "out those that cannot be.",
    )
    memory_limit: int = _place(
        MEMORY_LIMIT,
        "Images of your own: bytes of decoded images that are kept in memory.",
        low=0,
    )
    num_threads: int | None = _place(
        None,
        "Images of your own: threads that decode; default as many as CPU cores.",
        low=1,
    )
    output_dir: str | None = _place(
        None,
        "The run's own folder; default saved_models/<setting>/<method>/seed<seed>.",
    )
    pretrained_dir: str | None = _place(
        None,
        "SSP: a finished run of SSP with the same data, network, seed and schedule, "
        "whose pre-trained backbone this run starts from. By default it is pre-trained "
        "first.",
    )
    checkpoint_minutes: float | None = _place(
        None,
        "Minutes after which a checkpoint is written within an epoch; by default at "
        "the end of each epoch alone.",
        low=0.0,
        low_allowed=False,
    )
    steps_per_execution: int | None = _place(
        None,
        "Steps that are taken at once, between which nothing is looked at; a divisor "
        "of the steps of an epoch. By default the largest up to 16 where a GPU is "
        "found, else 1, as on torch and with a --strategy.",
        low=1,
    )
    overwrite: bool = _place(
        False, "Replace a finished run in the output folder by this one."
    )


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
    if kind is float:
        return _checks.check_number(field.name, value, **limits)
    if kind is int:
        return _checks.check_integer(field.name, value, **limits)
    if not isinstance(value, kind):
        raise ValueError(
            f"`{field.name}` must be a {kind.__name__}. "
            f"Received: {field.name}={value!r}"
        )
    return value
