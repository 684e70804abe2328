"""What a run is: one frozen dataclass, from flags or from Python.

The dataclass's fields are the flags: their names, defaults, help texts and
ranges stand there once. Nothing heavy is imported here, so that a wrong flag
is told in well under a second.
"""

import dataclasses
import fractions
import functools
import os
import pathlib
import re
import typing

import numpy as np
from absl import flags

from mm_tf import _checks, _files, backbones
from mm_tf.data import sources
from mm_tf.data.files import MEMORY_LIMIT, check_image_size
from mm_tf.data.holdout import holdout_counts
from mm_tf.data.imbalance import IMBALANCES, class_counts
from mm_tf.data.options import DEFAULT_SIZE, ReadOptions, parse_image_size
from mm_tf.data.sources import DATASETS
from mm_tf.experiments import parts
from mm_tf.experiments.methods import METHODS

# The paper's schedule: its epochs, and the epochs of its changes.
PAPER_EPOCHS = 200
PAPER_FIRST_DROP = 160
PAPER_SECOND_DROP = 180
PAPER_REWEIGHTING = 160
DROP_FACTORS = (1e-2, 1e-4)

MODEL_DEPTHS = {f"resnet{depth}": depth for depth in (8, 20, 32, 44, 56, 110)}
BACKENDS = ("tensorflow", "jax", "torch")
# One run on several devices, and Keras's backend on which it works.
STRATEGIES = {"none": None, "mirrored": "tensorflow", "data_parallel": "jax"}
PRECISIONS = ("float32", "bfloat16", "float16")
CLASS_WEIGHTINGS = ("effective_number", "inverse_frequency")

SHORT_IMBALANCE = {"long_tailed": "lt", "step": "step"}

# The imbalance of images that stay as many as they are.
AS_IS = "as_is"
_WITHOUT_RATIO = {"none": "balanced", AS_IS: AS_IS}

# What is said of images of one's own, and of no other data set.
OF_OWN_IMAGES = (
    *(field.name for field in dataclasses.fields(ReadOptions)),
    "data_digest",
)
# Of the part of a setting's name that a user's folder gives.
_LONGEST_NAME = 80


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
class RunConfig:
    """Everything that decides a run.

    Each field is a flag of `python -m mm_tf.experiments.run`; its help text says
    what it is (`--help` prints them all).

    Raises:
        ValueError: A value is outside its range, or values do not go together;
            the message names the field.

    Example:

    >>> from mm_tf.experiments.config import RunConfig
    >>> config = RunConfig(dataset="cifar10", method="mm_drw", epochs=10)
    >>> config.setting, config.drops, config.first_reweighted_epoch
    ('cifar10_lt100', ((8, 0.01), (9, 0.0001)), 8)
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
        None, "Compile the training step with XLA; by default as Keras chooses."
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
    pretrained_dir: str = _place(
        "saved_models/pretrained",
        "SSP: where pre-trained backbones are kept and found again.",
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
    coordinator_address: str | None = _place(
        None,
        "data_parallel on several machines: HOST:PORT of the first one, the same for "
        "all. Each has a process of this command, and sees the output folder.",
    )
    num_processes: int | None = _place(
        None, "data_parallel on several machines: their number.", low=2
    )
    process_id: int | None = _place(
        None, "data_parallel on several machines: this one's number, from 0.", low=0
    )
    overwrite: bool = _place(
        False, "Replace a finished run in the output folder by this one."
    )

    counts_of_data: tuple[int, ...] | None = dataclasses.field(
        default=None, metadata={"found": True}
    )

    def __post_init__(self):
        sources.check_name(self.dataset, "dataset")
        if self.imbalance is None:
            self._set("imbalance", AS_IS if self.is_own else "long_tailed")
        if not isinstance(self.image_size, str):
            self._set("image_size", _size_text(self.image_size))
        for field in flag_fields():
            self._set(field.name, _checked(field, getattr(self, field.name)))
        if self.counts_of_data is not None:
            self._set("counts_of_data", tuple(map(int, self.counts_of_data)))
        if self.effective_number_beta == 1:
            raise ValueError(
                "`effective_number_beta` must be below 1. Received: "
                f"effective_number_beta={self.effective_number_beta!r}"
            )
        self._check_model()
        for name in ("data_dir", "output_dir", "pretrained_dir"):
            _check_place(name, getattr(self, name), "a folder")
        _check_place("weights", self.weights, f"{backbones.IMAGENET} or a file")
        if self.holdout == 1:
            raise ValueError(
                "`holdout` must be below 1, or nothing is left to train on. "
                f"Received: holdout={self.holdout!r}"
            )
        (first, _), (second, _) = self.drops
        if first > second:
            raise ValueError(
                "`second_drop_epoch` must not come before `first_drop_epoch`. "
                f"Received: first_drop_epoch={first}, second_drop_epoch={second}"
            )
        self._check_reading()
        if self.knows_counts:
            self._check_counts()
        self._check_steps_per_execution()
        self._check_strategy()

    def _set(self, name, value):
        object.__setattr__(self, name, value)

    def _check_model(self):
        if self.model not in (*MODEL_DEPTHS, *backbones.APPLICATIONS):
            names = (*MODEL_DEPTHS, *backbones.APPLICATIONS)
            raise ValueError(
                f"`model` must be one of {', '.join(MODEL_DEPTHS)}, or a network of "
                "keras.applications by its name there, as EfficientNetV2B0."
                f"{_checks.nearest(self.model, names)} "
                f"Received: model={self.model!r}"
            )
        if self.model in MODEL_DEPTHS and self.weights is not None:
            raise ValueError(
                "`weights` are for networks of keras.applications (--model="
                f"EfficientNetV2B0, say). Received: weights={self.weights!r} with "
                f"model={self.model!r}"
            )
        if self.weights_digest is not None and not self.has_weights_file:
            raise ValueError(
                "`weights_digest` must not be given without a file of `weights`. "
                f"Received: weights_digest={self.weights_digest!r}, "
                f"weights={self.weights!r}"
            )
        if self.frozen_epochs and self.weights is None:
            raise ValueError(
                "`frozen_epochs` needs `weights`: a network of drawn weights has "
                f"nothing to keep. Received: frozen_epochs={self.frozen_epochs}"
            )

    def _check_size(self, height, width):
        if self.model in backbones.APPLICATIONS:
            argument = "image_size" if self.is_own else "dataset"
            backbones.check_size(self.model, height, width, argument)

    def _check_reading(self):
        """Checks what is about images of one's own, without looking at them."""
        if self.is_own:
            if self.dataset in sources.OWN_DATASETS and self.data_dir is None:
                raise ValueError(
                    f"`data_dir` must say where the images of --dataset={self.dataset} "
                    "are. Received: data_dir=None"
                )
            size = self.read_options.image_size
            needs_squares = METHODS[self.method].pretraining == "rotation"
            if size is not None and size[0] != size[1] and needs_squares:
                raise _not_square(self, size)
            if size is None and self.dataset in ("folder", "csv"):
                size = DEFAULT_SIZE
            if size is not None:
                self._check_size(*size)
            return
        self._check_size(*DATASETS[self.dataset].image_shape[:2])
        if self.imbalance == AS_IS:
            raise ValueError(
                f"`imbalance` must be one of {', '.join(IMBALANCES)} for "
                f"{self.dataset}, which is balanced as it is. "
                f"Received: imbalance={self.imbalance!r}"
            )
        for field in flag_fields():
            if field.name in OF_OWN_IMAGES and not self._is_default(field):
                raise ValueError(
                    f"`{field.name}` is for images of your own (--dataset=folder, csv, "
                    f"npz or tfds:NAME), and {self.dataset} is read in one way. "
                    f"Received: {field.name}={getattr(self, field.name)!r}"
                )

    def _check_counts(self):
        """Checks, once class counts are known, that they can be what is asked for."""
        # A ratio that leaves a class empty is told here, before data are read.
        largest = min(self._known_counts)
        if self.imbalance not in ("none", AS_IS) and self.imbalance_ratio > largest:
            of = "the smallest class" if self.is_own else self.dataset
            raise ValueError(
                f"`imbalance_ratio` must be at most {largest} for {of}, or a class has "
                f"no image left. Received: imbalance_ratio={self.imbalance_ratio!r}"
            )
        if self.holdout and self.drawn_class_counts.min() < 2:
            single = int((self.drawn_class_counts < 2).sum())
            more = " (a smaller --imbalance_ratio leaves more)"
            raise ValueError(
                "`holdout` needs at least two images of each class, one to hold out "
                f"and one to train on, and in {self.setting} {single} of "
                f"{len(self.drawn_class_counts)} classes have one"
                f"{'' if self.imbalance == AS_IS else more}. "
                f"Received: holdout={self.holdout!r}"
            )

    def _check_steps_per_execution(self):
        at_once = self.steps_per_execution
        if self.backend == "torch" and (at_once or 1) > 1:
            raise ValueError(
                "`steps_per_execution` must be 1 on torch, where Keras takes one step "
                f"at a time. Received: steps_per_execution={at_once}"
            )
        if not self.knows_counts or at_once is None:
            return
        if self.steps_per_epoch % at_once:
            raise ValueError(
                "`steps_per_execution` must divide the steps of an epoch, "
                f"{self.steps_per_epoch}. Received: steps_per_execution={at_once}"
            )

    def _check_strategy(self):
        needed = STRATEGIES[self.strategy]
        if needed and self.backend not in (None, needed):
            raise ValueError(
                f"`strategy` {self.strategy} is for the backend {needed}. "
                f"Received: strategy={self.strategy!r}, backend={self.backend!r}"
            )
        if needed and self.backend is None:
            self._set("backend", needed)
        if self.strategy == "mirrored" and self.jit:
            raise ValueError(
                "`jit` must not be True with the strategy mirrored: TensorFlow does "
                f"not compile what devices exchange. Received: jit={self.jit}"
            )
        self._check_machines()
        if self.devices is None:
            return
        if self.strategy == "none":
            raise ValueError(
                "`devices` is for a --strategy (mirrored or data_parallel). "
                f"Received: devices={self.devices}, strategy='none'"
            )
        if self.devices > self.batch_size:
            raise ValueError(
                "`devices` must be at most `batch_size`, of which each has a part. "
                f"Received: devices={self.devices}, batch_size={self.batch_size}"
            )
        if self.strategy == "mirrored" and self.knows_counts:
            parts.check(int(self.class_counts.sum()), self.batch_size, self.devices)

    def _check_machines(self):
        names = ("coordinator_address", "num_processes", "process_id")
        values = [getattr(self, name) for name in names]
        received = ", ".join(map("{}={!r}".format, names, values))
        if values == [None, None, None]:
            return
        if self.process_id is None or self.num_processes is None or None in values:
            missing = names[values.index(None)]
            raise ValueError(
                f"`{missing}` must be given with the others of several machines "
                f"({', '.join(names)}). Received: {received}"
            )
        _checks.check_address("coordinator_address", self.coordinator_address)
        _, num_processes, process_id = values
        if process_id >= num_processes:
            raise ValueError(
                f"`process_id` must be below `num_processes`. Received: {received}"
            )
        if self.strategy != "data_parallel":
            raise ValueError(
                "`num_processes` is for the strategy data_parallel. "
                f"Received: strategy={self.strategy!r}, {received}"
            )
        if METHODS[self.method].pretraining != "none":
            raise ValueError(
                "`num_processes` must not be given with a method that pre-trains. "
                f"Received: method={self.method!r}, {received}"
            )

    @property
    def is_own(self):
        """Whether the images are one's own, of which nothing is known beforehand."""
        return self.dataset not in DATASETS

    @property
    def read_options(self):
        """The `ReadOptions` of images of one's own; None for other data sets."""
        if not self.is_own:
            return None
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(ReadOptions)
        }
        if self.image_size is not None:
            values["image_size"] = parse_image_size(self.image_size)
        return ReadOptions(**values)

    @property
    def knows_counts(self):
        """Whether class counts are known: of images of one's own, by `on` alone."""
        return not self.is_own or self.counts_of_data is not None

    def on(self, data):
        """Returns the config with the class counts that images of one's own have.

        Args:
            data: The whole `ImageData`, as `mm_tf.data.load` gives it.

        Raises:
            ValueError: What is asked for cannot be had of these images.
        """
        if not self.is_own:
            return self
        self.check_shape(data.info.image_shape)
        return dataclasses.replace(self, counts_of_data=tuple(data.class_counts))

    def check_shape(self, image_shape):
        """Checks that the method and the network take images of a shape.

        Args:
            image_shape: Their height, width and channels.

        Raises:
            ValueError: They do not.
        """
        height, width, _ = image_shape
        if height != width and METHODS[self.method].pretraining == "rotation":
            raise _not_square(self, (height, width))
        self._check_size(height, width)

    @property
    def setting(self):
        """The setting's name, as in the flagfiles: `cifar10_lt100`.

        Of images of one's own it has the name of their folder or file in it:
        `folder-photos_as_is`.
        """
        name = self._name_of_data
        if self.imbalance in _WITHOUT_RATIO:
            return f"{name}_{_WITHOUT_RATIO[self.imbalance]}"
        short = SHORT_IMBALANCE[str(self.imbalance)]
        return f"{name}_{short}{self.imbalance_ratio:.15g}"

    @property
    def _name_of_data(self):
        """The data set's name, with that of its folder or file if it is one's own."""
        if not self.is_own:
            return self.dataset
        name = self.dataset
        if self.dataset in sources.OWN_DATASETS:
            place = pathlib.Path(_absolute(self.data_dir))
            name = f"{name}-{place.name if self.dataset == 'folder' else place.stem}"
        # A name that every file system takes.
        return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:_LONGEST_NAME]

    @property
    def run_folder(self):
        """The folder that the run leaves."""
        if self.output_dir is not None:
            return pathlib.Path(self.output_dir).expanduser()
        place = pathlib.Path("saved_models", self.setting, self.method)
        return place / f"seed{self.seed}"

    @property
    def class_counts(self):
        """Images of each class that are trained on, without a hold-out, int64 [K]."""
        drawn = self.drawn_class_counts
        return drawn - holdout_counts(drawn, self.holdout) if self.holdout else drawn

    @property
    def steps_per_epoch(self):
        """Steps of an epoch, the last and perhaps smaller one among them."""
        return -(-int(self.class_counts.sum()) // self.batch_size)

    @property
    def drawn_class_counts(self):
        """Images of each class that are drawn, a hold-out among them, int64 [K]."""
        if self.imbalance == AS_IS:
            return np.array(self._known_counts, dtype=np.int64)
        return class_counts(
            str(self.imbalance),
            min(self._known_counts),
            len(self._known_counts),
            self.imbalance_ratio,
        )

    @property
    def _known_counts(self):
        """Training images of each class before a subset is drawn."""
        if not self.is_own:
            info = DATASETS[self.dataset]
            return (info.images_per_class,) * info.num_classes
        if self.counts_of_data is None:
            raise ValueError(
                "Class counts of images of your own are known when they have been "
                f"read: see `RunConfig.on`. Received: dataset={self.dataset!r}"
            )
        return self.counts_of_data

    @property
    def drops(self):
        """Pairs (first epoch, factor of the learning rate)."""
        epochs = (
            self._given_or_in_proportion(self.first_drop_epoch, PAPER_FIRST_DROP),
            self._given_or_in_proportion(self.second_drop_epoch, PAPER_SECOND_DROP),
        )
        return tuple(zip(epochs, DROP_FACTORS, strict=True))

    @property
    def first_reweighted_epoch(self):
        """The first epoch of deferred re-weighting or re-sampling."""
        return self._given_or_in_proportion(self.reweight_epoch, PAPER_REWEIGHTING)

    @property
    def evaluated_on(self):
        """On which images errors are measured: `"test"` or `"holdout"`."""
        return "holdout" if self.holdout else "test"

    @property
    def hyperparameters(self):
        """The values of the flags that the method's loss and weights take."""
        values = {name: getattr(self, name) for name in METHODS[self.method].uses}
        if "pretraining_epochs" in values:
            values["pretraining_epochs"] = self.pretraining_epochs or self.epochs
        return values

    @property
    def has_weights_file(self):
        """Whether the weights to begin with are in a file."""
        return self.weights not in (None, backbones.IMAGENET)

    def identity(self):
        """What the run is, without where and how it is kept: {flag: value}.

        A file of weights is what its digest says, wherever it lies.
        """
        return {
            field.name: getattr(self, field.name)
            for field in flag_fields()
            if "place" not in field.metadata
            and not ("later" in field.metadata and self._is_default(field))
            and not (field.name == "weights" and self.weights_digest is not None)
        }

    def _is_default(self, field):
        return getattr(self, field.name) == field.default

    def to_flagfile(self):
        """Returns the text of a flagfile that repeats the run."""
        values = {
            name: value for name, value in self.identity().items() if value is not None
        }
        # It is to repeat the run from wherever it is read.
        if self.has_weights_file:
            values["weights"] = _absolute(self.weights)
        if self.data_dir is not None:
            is_bucket = "://" in self.data_dir
            values["data_dir"] = (
                self.data_dir if is_bucket else _absolute(self.data_dir)
            )
        return "".join(
            f"--{'' if value else 'no'}{name}\n"
            if isinstance(value, bool)
            else f"--{name}={value}\n"
            for name, value in values.items()
        )

    def _given_or_in_proportion(self, given, of_paper):
        if given is not None:
            return given
        return round(fractions.Fraction(of_paper * self.epochs, PAPER_EPOCHS))


def flag_fields():
    """Returns the fields of `RunConfig` that are flags."""
    return [
        field
        for field in dataclasses.fields(RunConfig)
        if "found" not in field.metadata
    ]


def _absolute(path):
    return os.path.abspath(os.path.expanduser(path))


def _size_text(size):
    """An image size as the flag has it: `64` or `48x64`."""
    if size is None:
        return None
    height, width = check_image_size(size)
    return str(height) if height == width else f"{height}x{width}"


def _not_square(config, size):
    return ValueError(
        f"`method`: {config.method} turns images by quarters, so they must be square "
        "(--image_size=64, say). "
        f"Received: images of {size[0]} x {size[1]} pixels"
    )


def _kind(field):
    """The type of a field's values, and whether None is one of them."""
    hint = typing.get_type_hints(RunConfig)[field.name]
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return (kinds[0], True) if kinds else (hint, False)


def _checked(field, value):
    kind, is_optional = _kind(field)
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


_DEFINE: dict[type, typing.Callable] = {
    bool: flags.DEFINE_boolean,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    str: flags.DEFINE_string,
}


def define_flags(values=flags.FLAGS):
    """Defines a flag for each field of `RunConfig`; for commands alone."""
    for field in flag_fields():
        kind, _ = _kind(field)
        choices, help = field.metadata["choices"], field.metadata["help"]
        if choices:
            define = functools.partial(flags.DEFINE_enum, enum_values=choices)
        else:
            define = functools.partial(_DEFINE[kind])
        define(field.name, default=field.default, help=help, flag_values=values)


def refuse_machines(values=flags.FLAGS):
    """Raises a ValueError where a command of many runs is given a run's machines."""
    if values.num_processes is not None:
        raise ValueError(
            "`num_processes` is of one run on several machines, by "
            "mm_tf.experiments.run; many runs share machines by --executor=ray of "
            "mm_tf.experiments.table, or by chief and workers of "
            f"mm_tf.experiments.tune. Received: num_processes={values.num_processes}"
        )


def from_flags(values=flags.FLAGS):
    """Returns the `RunConfig` of parsed flags.

    Raises:
        ValueError: As `RunConfig`.
    """
    names = [field.name for field in flag_fields()]
    return RunConfig(**{name: getattr(values, name) for name in names})


def from_lines(lines):
    """Returns the `RunConfig` of the lines of a run's flags.

    Args:
        lines: As `RunConfig.to_flagfile` writes them.

    Raises:
        ValueError: As `RunConfig`.
        absl.flags.Error: A line is none of its flags.

    Example:

    >>> from mm_tf.experiments.config import from_lines
    >>> from_lines(["--method=ldam", "--noaugment"]).augment
    False
    """
    values = flags.FlagValues()
    define_flags(values)
    values(["flags", *lines])
    return from_flags(values)


def flagfiles_first(arguments):
    """Returns a command line with its flagfiles before its other flags.

    absl lets the last one win; a flag on the command line should beat a flagfile
    wherever it stands.

    Args:
        arguments: The command line, the program's name first.

    Raises:
        ValueError: A flagfile cannot be read as text, or none is named.

    Example:

    >>> from mm_tf.experiments.config import flagfiles_first
    >>> flagfiles_first(["run", "--epochs=10", "--flagfile=setup.cfg"])
    ['run', '--flagfile=setup.cfg', '--epochs=10']
    """
    program, *rest = arguments
    files, others = [], []
    while rest:
        argument = rest.pop(0)
        name, equals, path = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            others.append(argument)
            continue
        if not equals:
            path = rest.pop(0) if rest else ""
        try:
            path_of_file = pathlib.Path(path).expanduser()
            _files.read_text(path_of_file, _files.MOST_BYTES_OF_FLAGS)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(
                f"`flagfile` cannot be read ({reason}). Received: flagfile={path!r}"
            ) from None
        files.append(f"--flagfile={path}")
    return [program, *files, *others]
