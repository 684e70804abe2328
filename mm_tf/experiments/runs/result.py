"""The result of a run, as its `result.json` has it."""

import dataclasses
import pathlib
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pydantic

from mm_tf import _files
from mm_tf._text import escaped
from mm_tf.experiments.paper.methods import METHODS, Method, MethodLoss, check_method

# `evaluated_on` in words, before "images".
EVALUATED_ON = MappingProxyType({"test": "test", "holdout": "hold-out"})
RESULT = "result.json"


@dataclasses.dataclass(frozen=True)
class RunResult:
    r"""What a run found. Errors are in %, on the images that `evaluated_on` names.

    Attributes:
        method: As in the config, and so are `setting`, `dataset`, `imbalance`,
            `imbalance_ratio`, `seed`, `subset_seed` and `epochs`.
        hyperparameters: The flags that the method's loss and weights take.
        class_names: The K names. A byte of a folder's name that is not Unicode is
            written as `\udcff`.
        class_counts: Training images of each class, without a hold-out, [K].
        top1_error: After the last epoch, of the mean over `--views`, and so are all
            errors below but the best.
        best_top1_error: The smallest of all epochs, of one view. It is chosen on the
            images that it is measured on, so it flatters.
        best_epoch: Its epoch, from 0.
        balanced_error: The mean over the classes, last epoch.
        per_class_error: [K], last epoch; None for a class without such images.
        many_shot_error: The mean over the classes with > 100 training images, last
            epoch; None where there is no such class.
        medium_shot_error: Likewise, with 20 to 100.
        few_shot_error: Likewise, with < 20.
        published_top1_error: Table 1's, None where there is none.
        protocol_differences: How the run's protocol differs from the paper's.
        images_per_second: Training images a second, in the median epoch.
        training_seconds: The time of the training steps of all epochs.
        backend: Keras's backend.
        device: The kind of device.
        versions: Versions of the packages, {name: version}.
        deterministic: Whether the same flags give the same numbers, bit for bit, on
            that device; None where that is not known.
        flags: All flags that decide the run, {name: value}, with the backend that was
            in use.
        precision: What the network computed in: `"float32"`, `"bfloat16"`, ...
        evaluated_on: `"test"` for the test images, `"holdout"` for training images
            that were held out. Hold-out errors do not compare with test errors.
        evaluated_counts: Images of each class that errors are measured on, [K].
        title: The method's name in tables, and of the same method: `head`, `scale` (by
            which the model's outputs become logits), `weighting` and `sampling`. They
            are here for commands that do not have the method. None in files of 0.1.0.
        output_prior: The prior of the classes that the model's outputs have, [K], or
            `"unknown"`; None in files of 0.1.0.
        top1_error_one_view: As `top1_error`, without the mean over views; None where
            there is one view.
    """

    method: str
    setting: str
    dataset: str
    imbalance: str
    imbalance_ratio: float
    seed: int
    subset_seed: int
    epochs: int
    hyperparameters: dict[str, Any]
    class_names: Annotated[list[str], pydantic.Field(min_length=2)]
    class_counts: list[pydantic.PositiveInt]
    top1_error: float
    best_top1_error: float
    best_epoch: int
    balanced_error: float
    per_class_error: list[float | None]
    many_shot_error: float | None
    medium_shot_error: float | None
    few_shot_error: float | None
    published_top1_error: float | None
    protocol_differences: list[str]
    images_per_second: float
    training_seconds: float
    backend: str
    device: str
    versions: dict[str, str]
    deterministic: bool | None
    flags: dict[str, Any]
    precision: str
    evaluated_on: Literal["test", "holdout"]
    evaluated_counts: list[pydantic.NonNegativeInt]
    title: str | None = None
    head: Literal["linear", "normalized"] | None = None
    scale: pydantic.PositiveFloat | None = None
    weighting: Literal["none", "from_start", "deferred"] = "none"
    sampling: Literal["none", "from_start", "deferred"] = "none"
    output_prior: list[pydantic.PositiveFloat] | Literal["unknown"] | None = None
    top1_error_one_view: float | None = None

    # `read` checks a file that someone may have edited.
    __pydantic_config__ = {"strict": True, "allow_inf_nan": False}

    def __post_init__(self):
        """Makes all names text that JSON and every screen take."""
        names = [escaped(name) for name in self.class_names]
        object.__setattr__(self, "class_names", names)

    @property
    def row(self):
        """The `Method`: the registered one, or what this result says of it."""
        if self.method in METHODS:
            return METHODS[self.method]
        return Method(
            self.method,
            self.title or self.method,
            MethodLoss(
                "",
                flags={name: name for name in self.hyperparameters},
                head=self.head or "normalized",
            ),
            self.weighting,
            self.sampling,
        )

    @property
    def evaluated_words(self):
        """The word before "images": test or hold-out."""
        return EVALUATED_ON[self.evaluated_on]

    def to_json(self):
        """Returns the result as JSON text."""
        return _files.json_text(dataclasses.asdict(self), indent=2)

    @classmethod
    def read(cls, path):
        """Reads a `result.json`.

        Args:
            path: The file, or the run's folder.

        Raises:
            ValueError: There is none, or it holds something else.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            path = path / RESULT
        try:
            text = _files.read_text(path, _files.MOST_BYTES_OF_TEXT)
            result = pydantic.TypeAdapter(cls).validate_json(text)
            size = len(result.class_names)
            lists = ["class_counts", "per_class_error", "evaluated_counts"]
            if isinstance(result.output_prior, list):
                lists.append("output_prior")
            for name in lists:
                if len(getattr(result, name)) != size:
                    raise ValueError(f"{name} is not a list of {size}")
            if ":" in result.method:
                check_method(result.method)
            return result
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            reason = ": ".join([".".join(map(str, first["loc"])), first["msg"]])
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{path} holds no result of a run: {reason}")
