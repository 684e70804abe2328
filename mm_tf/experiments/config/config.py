"""What a run is: one frozen dataclass, and what follows from its flags.

Nothing heavy is imported here, nor by the files of its fields, checks and flags, so
that a wrong flag is reported in well under a second.
"""

import dataclasses
import fractions
import functools
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_tf import backbones, class_weights
from mm_tf.data.custom.options import ReadOptions, parse_image_size
from mm_tf.data.dataset import CUSTOM_DATASETS, DATASETS, check_name, dataset_at
from mm_tf.data.images.image_files import check_image_size
from mm_tf.data.imbalance import class_counts
from mm_tf.data.splits import holdout_counts
from mm_tf.experiments.config import checks as config_checks
from mm_tf.experiments.config import fields as config_fields
from mm_tf.experiments.config import recipes
from mm_tf.experiments.config.fields import AS_IS, CUSTOM_DATA_FLAGS, STRATEGIES
from mm_tf.experiments.paper.methods import METHODS, Method, check_method
from mm_tf.experiments.paper.protocol import (
    DROP_FACTORS,
    PAPER_EPOCHS,
    PAPER_FIRST_DROP,
    PAPER_REWEIGHTING,
    PAPER_SECOND_DROP,
)

SHORT_IMBALANCE = {"long_tailed": "lt", "step": "step"}
_WITHOUT_RATIO = {"none": "balanced", AS_IS: AS_IS}

# Letters of a setting's name.
_LONGEST_NAME = 80


@dataclasses.dataclass(frozen=True)
class RunConfig(config_fields.RunFields):
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

    # Training images of each class in custom data: no flag, set by `with_counts_of`.
    counts_of_data: tuple[int, ...] | None = None
    # Values of the method's own hyper-parameters, {flag: value}; those of others have
    # no effect, as flags of another method have none.
    method_arguments: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, hash=False
    )
    # What a finished run says of its method, where that is not registered.
    saved_method: Method | None = dataclasses.field(
        default=None, compare=False, repr=False
    )

    def __post_init__(self):
        if self.dataset is None:
            self._set("dataset", dataset_at(self.data_dir))
        if self.saved_method is None:
            check_method(self.method)
        check_name(self.dataset, "dataset")
        if self.imbalance is None:
            self._set("imbalance", AS_IS if self.is_custom else "long_tailed")
        if not isinstance(self.image_size, str | None):
            height, width = check_image_size(self.image_size)
            is_square = height == width
            self._set("image_size", f"{height}" if is_square else f"{height}x{width}")
        for field in config_fields.flag_fields():
            now = getattr(self, field.name)
            if field.name in self.row.defaults and now == field.default:
                self._set(field.name, self.row.defaults[field.name])
        for name, value in recipes.values_of(self.recipe).items():
            if getattr(self, name) is None:
                self._set(name, value)
        for field in config_fields.flag_fields():
            value = config_fields.checked(field, getattr(self, field.name))
            self._set(field.name, value)
        self._set("method_arguments", self._own_arguments())
        if self.method in METHODS:
            now = METHODS[self.method].digest
            self._set("method_digest", now and (self.method_digest or now))
        if self.counts_of_data is not None:
            self._set("counts_of_data", tuple(map(int, self.counts_of_data)))
        if self.pretrained_dir is not None:
            if self.first_stage not in (None, self.pretrained_dir):
                raise ValueError(
                    "`pretrained_dir` is the old name of `first_stage`: give one. "
                    f"Received: pretrained_dir={self.pretrained_dir!r}, "
                    f"first_stage={self.first_stage!r}"
                )
            self._set("first_stage", self.pretrained_dir)
            self._set("pretrained_dir", None)
        if self.backend is None:
            self._set("backend", STRATEGIES[self.strategy])
        config_checks.check(self)

    def _set(self, name, value):
        object.__setattr__(self, name, value)

    def _own_arguments(self):
        """The values of the method's own hyper-parameters, checked, {flag: value}."""
        given = self.method_arguments
        if self.method not in METHODS:
            return dict(given)
        known = {flag for each in METHODS.values() for flag in each.hyperparameters}
        for flag in given:
            if flag not in known:
                raise ValueError(
                    "`method_arguments` must name hyper-parameters of methods "
                    f"({', '.join(sorted(known))}). Received: {flag!r}"
                )
        return {
            flag: config_fields.checked_value(
                flag, given.get(flag, each.default), type(each.default), each.limits
            )
            for flag, each in self.row.hyperparameters.items()
        }

    @property
    def row(self):
        """The `Method`: the registered one, or what a finished run says of it."""
        return METHODS.get(self.method) or self.saved_method

    def value_of(self, flag):
        """Returns the value of a flag, which may be the method's own."""
        own = self.method_arguments
        return own[flag] if flag in own else getattr(self, flag)

    def with_values(self, values):
        """Returns the config with other values of flags, {flag: value}."""
        own = {flag: values[flag] for flag in values if flag in self.method_arguments}
        fields = {flag: values[flag] for flag in values if flag not in own}
        own = {**self.method_arguments, **own}
        return dataclasses.replace(self, **fields, method_arguments=own)

    @property
    def is_custom(self):
        """Whether the data are custom: their classes are known when they are read."""
        return self.dataset not in DATASETS

    @property
    def read_options(self):
        """The `ReadOptions` of custom data; None for other data sets."""
        if not self.is_custom:
            return None
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(ReadOptions)
            if field.name != "class_names"
        }
        if self.image_size is not None:
            values["image_size"] = parse_image_size(self.image_size)
        return ReadOptions(**values)

    @property
    def has_class_counts(self):
        """Whether class counts are known: for custom data after `with_counts_of`."""
        return not self.is_custom or self.counts_of_data is not None

    def with_counts_of(self, data):
        """Returns the config with the class counts of custom data.

        Args:
            data: The whole `ImageData`, as `mm_tf.data.load` gives it.

        Raises:
            ValueError: These images do not fit the config's flags.
        """
        if not self.is_custom:
            return self
        config_checks.check_shape(self, data.info.image_shape)
        return dataclasses.replace(self, counts_of_data=tuple(data.class_counts))

    @property
    def setting(self):
        """The setting's name, as in the flagfiles: `cifar10_lt100_fast`.

        For custom data it contains the name of their folder or file:
        `folder-photos_as_is`.
        """
        name = str(self.dataset)
        if name in CUSTOM_DATASETS:
            path = os.path.abspath(os.path.expanduser(str(self.data_dir)))
            place = pathlib.Path(path)
            name = f"{name}-{place.name if name == 'folder' else place.stem}"
        # A name that every file system takes.
        name = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:_LONGEST_NAME]
        if self.imbalance in _WITHOUT_RATIO:
            name = f"{name}_{_WITHOUT_RATIO[self.imbalance]}"
        else:
            short = SHORT_IMBALANCE[str(self.imbalance)]
            name = f"{name}_{short}{self.imbalance_ratio:.15g}"
        # Runs of another recipe never meet the paper's.
        return name if self.recipe == "paper" else f"{name}_{self.recipe}"

    @property
    def run_folder(self):
        """The folder that the run writes."""
        if self.output_dir is not None:
            return pathlib.Path(self.output_dir).expanduser()
        place = pathlib.Path("saved_models", self.setting, self.method)
        return place / f"seed{self.seed}"

    @property
    def class_counts(self):
        """Training images of each class, without the hold-out, int64 [K]."""
        drawn = self.drawn_class_counts
        return drawn - holdout_counts(drawn, self.holdout) if self.holdout else drawn

    @functools.cached_property
    def class_weights(self):
        """Weights of the classes in the loss or in re-sampling, float64 [K]."""
        return self.class_weights_for(self.class_counts)

    def class_weights_for(self, counts):
        """Returns the weights [K] that `class_weighting` gives to class counts."""
        # A second stage draws all classes equally often.
        is_second = self.row.second_stage != "none"
        if is_second or self.class_weighting == "inverse_frequency":
            return class_weights.inverse_frequency(counts)
        return class_weights.effective_number(counts, beta=self.effective_number_beta)

    @property
    def steps_per_epoch(self):
        """Steps of an epoch, with the last one, which may be smaller."""
        return -(-int(self.class_counts.sum()) // self.batch_size)

    @property
    def drawn_class_counts(self):
        """Drawn images of each class, with the hold-out, int64 [K]."""
        if self.imbalance == AS_IS:
            return np.array(self.full_class_counts, dtype=np.int64)
        return class_counts(
            str(self.imbalance),
            min(self.full_class_counts),
            len(self.full_class_counts),
            self.imbalance_ratio,
        )

    @property
    def full_class_counts(self):
        """Training images of each class before a subset is drawn."""
        if not self.is_custom:
            info = DATASETS[str(self.dataset)]
            return (info.images_per_class,) * info.num_classes
        if self.counts_of_data is None:
            raise ValueError(
                "Class counts of custom data are known after reading the data: see "
                f"`RunConfig.with_counts_of`. Received: dataset={self.dataset!r}"
            )
        return self.counts_of_data

    @property
    def drops(self):
        """Pairs (first epoch, factor of the learning rate)."""
        epochs = (
            self._epoch(self.first_drop_epoch, PAPER_FIRST_DROP),
            self._epoch(self.second_drop_epoch, PAPER_SECOND_DROP),
        )
        return tuple(zip(epochs, DROP_FACTORS, strict=True))

    @property
    def first_reweighted_epoch(self):
        """The first epoch of deferred re-weighting or re-sampling."""
        return self._epoch(self.reweight_epoch, PAPER_REWEIGHTING)

    @property
    def first_stage_epochs(self):
        """The epochs of what is trained before, 0 if nothing is."""
        if self.row.second_stage != "none":
            return self.epochs
        if self.row.pretraining != "none":
            return self.pretraining_epochs or self.epochs
        return 0

    @property
    def last_stage_epochs(self):
        """The epochs that the run's history has: those of its last stage."""
        if self.row.second_stage == "normalized":
            return 1
        has_second = self.row.second_stage != "none"
        return self.second_stage_epochs if has_second else self.epochs

    @property
    def evaluated_on(self):
        """The images that errors are measured on: `"test"` or `"holdout"`."""
        return "holdout" if self.holdout else "test"

    @property
    def hyperparameters(self):
        """{flag: value} of the method: its loss, class weights and pre-training."""
        values = {name: self.value_of(name) for name in self.row.uses}
        if "pretraining_epochs" in values:
            values["pretraining_epochs"] = self.first_stage_epochs
        return values

    @property
    def output_scale(self):
        """The number by which the network's outputs become the loss's logits."""
        flag = self.row.loss.flags.get("scale")
        return 1.0 if flag is None else float(self.value_of(flag))

    @property
    def has_weights_file(self):
        """Whether the initial weights are in a file."""
        return self.weights not in (None, backbones.IMAGENET)

    def identity(self):
        """The flags that decide the run's numbers: {flag: value}.

        The digest of a file of weights stands for its path.
        """
        skipped = () if self.is_custom else CUSTOM_DATA_FLAGS
        if self.weights_digest is not None:
            skipped = (*skipped, "weights")
        fields = {
            field.name: getattr(self, field.name)
            for field in config_fields.flag_fields()
            if not field.metadata["place"] and field.name not in skipped
        }
        return {**fields, **self.method_arguments}

    def _epoch(self, given, in_paper):
        """The epoch of a flag; by default the paper's, in proportion to `epochs`."""
        if given is not None:
            return given
        return round(fractions.Fraction(in_paper * self.epochs, PAPER_EPOCHS))
