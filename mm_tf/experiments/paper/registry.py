"""What a method is, and the registry of all methods."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from mm_tf import _checks

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NOTHING: Mapping = MappingProxyType({})
# Arguments of Keras's losses that are no hyper-parameters.
_OF_KERAS = ("name", "reduction", "dtype")
HEADS = ("normalized", "linear")
BALANCINGS = ("none", "from_start", "deferred")
PRETRAININGS = ("none", "rotation")
SECOND_STAGES = ("none", "head", "scales", "normalized")


@dataclasses.dataclass(frozen=True)
class Hyperparameter:
    """A value that a method takes, and the flag that gives it.

    Attributes:
        default: Its default, a number, text, or yes or no. The flag takes values of
            this kind: with 1.0 all numbers, with 1 whole ones.
        help: What `--help` says about it.
        limits: The range of a number, as `{"low": 0.0, "high": 1.0}`; with
            `"low_allowed": False` the lower end is not in it.
        usual: The ends of the range that a search varies it over, if none is given;
            by default half and twice the default.
    """

    default: float | int | bool | str
    help: str = ""
    limits: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    usual: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class MethodLoss:
    """A method's loss: its class, and from where each argument comes.

    Attributes:
        loss: The name of a class of `mm_tf.losses` or `keras.losses`, a class, or a
            function of labels [N] and outputs [N, K] that returns losses [N].
        flags: The flag whose value each argument takes, {argument: flag}.
        takes_class_counts: Whether `class_counts` is an argument too.
        head: `"normalized"` for a loss on cosines, `"linear"` for one on logits.
        constants: Arguments with the same value in every run.
    """

    loss: str | Callable[..., Any]
    flags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    takes_class_counts: bool = False
    head: str = "normalized"
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def make(self, config):
        """Returns the loss with the values of a `RunConfig`."""
        # Keras is imported when a loss is made, not when a flag is checked.
        import keras

        from mm_tf import losses

        arguments = {name: config.value_of(flag) for name, flag in self.flags.items()}
        if self.takes_class_counts:
            arguments["class_counts"] = config.class_counts
        made_by = self.loss
        if isinstance(made_by, str):
            made_by = getattr(losses, made_by, None) or getattr(keras.losses, made_by)
        elif not inspect.isclass(made_by):
            return losses.base.FunctionLoss(made_by, {**arguments, **self.constants})
        return made_by(**arguments, **self.constants)


@dataclasses.dataclass(frozen=True)
class Method:
    """A method: what it changes in the training.

    Attributes:
        name: Its name on the command line and in the path of its runs.
        title: Its name in tables, as in the paper's Table 1.
        loss: Its `MethodLoss`.
        weighting: When classes are weighted: `"none"`, `"from_start"`, or
            `"deferred"` to a later epoch (DRW).
        sampling: When classes are re-sampled with the same weights: likewise (DRS).
        pretraining: `"none"` or `"rotation"` (SSP).
        second_stage: What comes after a run of ERM, on its backbone: `"none"`,
            `"head"` for a fresh head (cRT), `"scales"` for a scale a class (LWS), or
            `"normalized"` for weight vectors over their lengths (tau-norm).
        defaults: Flags whose default it changes, {flag: value}.
        hyperparameters: The `Hyperparameter`s that no other method takes, {flag: it}.
        file: The `FILE:NAME` that it was loaded from, with the whole path, or None.
        digest: The digest of that file, or None.
    """

    name: str
    title: str
    loss: MethodLoss
    weighting: str = "none"
    sampling: str = "none"
    pretraining: str = "none"
    second_stage: str = "none"
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    hyperparameters: Mapping[str, Hyperparameter] = dataclasses.field(
        default_factory=dict
    )
    file: str | None = None
    digest: str | None = None

    @property
    def head(self):
        """The network's head: `"linear"` for logits, `"normalized"` for cosines."""
        return self.loss.head

    @property
    def is_balanced(self):
        """Whether class weights are used, for the loss or for the sampling."""
        return (self.weighting, self.sampling) != ("none", "none")

    @property
    def is_deferred(self):
        """Whether the balancing begins at a later epoch."""
        return "deferred" in (self.weighting, self.sampling)

    @property
    def loss_uses(self):
        """The flags that its loss takes."""
        return tuple(self.loss.flags.values())

    @property
    def uses(self):
        """The flags that its loss, class weights and stages take."""
        if self.second_stage != "none":
            trains = self.second_stage != "normalized"
            return self.loss_uses + (("second_stage_epochs",) if trains else ())
        weights = ("class_weighting", "effective_number_beta")
        pretraining = ("pretraining_epochs",)
        return (
            self.loss_uses
            + (weights if self.is_balanced else ())
            + (pretraining if self.pretraining != "none" else ())
        )


METHODS: dict[str, Method] = {}
"""The methods of every command, {name: `Method`}; `register_method` adds one."""

# Those that every process has. One of a user is only where it was registered.
EVERYWHERE: set[str] = set()


def register_method(
    name,
    loss=None,
    *,
    title=None,
    head=None,
    weighting="none",
    sampling="none",
    flags=_NOTHING,
    hyperparameters=_NOTHING,
    pretraining="none",
    second_stage="none",
    defaults=_NOTHING,
):
    """Registers a loss as a method, which all commands then take as `--method=name`.

    As a decorator, `@register_method("mine")`, it stands above a class or a function.

    Args:
        name: The method's name: small letters, digits and `_`, a letter first. Runs
            have it in their path. A name of your own may be registered again.
        loss: A `keras.losses.Loss` class that gives a loss for each example, as one
            that extends `mm_tf.losses.PerExampleLoss`; a function of labels [N],
            outputs [N, K] and hyper-parameters that returns losses [N]; or a
            `MethodLoss`. An argument `class_counts` gets the training images of each
            class. Every other one that is a number, text, or yes or no by default is a
            hyper-parameter: the argument `tau` of the method `mine` becomes the flag
            `--mine_tau`. Defaults to `None`, for a decorator.
        title: What tables call it. Defaults to `None`, the name.
        head: `"linear"` for a loss on logits, `"normalized"` for one on cosines.
            Defaults to `None`, which asks the loss (its `expects_cosines`).
        weighting: When classes are weighted in the loss: `"none"`, `"from_start"`, or
            `"deferred"` (DRW). Defaults to `"none"`.
        sampling: When classes are re-sampled, likewise. Defaults to `"none"`.
        flags: Arguments that existing flags of a run give, `{"scale": "scale"}`.
        hyperparameters: Ranges, usual ranges and help of arguments, `{"tau":
            Hyperparameter(1.0, "Its strength.", {"low": 0.0})}`.
        pretraining: `"rotation"` for SSP. Defaults to `"none"`.
        second_stage: What comes after a run of ERM, see `Method`. Defaults to `"none"`.
        defaults: Flags of a run whose default it changes, `{"mixup": 1.0}`.

    Returns:
        The loss, as a decorator must.

    Raises:
        ValueError: An argument is not as described, or the name or a flag is taken.

    Example:

    >>> from keras import ops
    >>> from mm_tf.experiments import register_method
    >>> from mm_tf.experiments.config import RunConfig
    >>> @register_method("smooth", title="Label smoothing")
    ... def smooth_cross_entropy(labels, logits, share=0.1):
    ...     log_p = ops.log_softmax(logits)
    ...     own = ops.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
    ...     return -(1 - share) * own - share * ops.mean(log_p, axis=-1)
    >>> config = RunConfig(method="smooth", method_arguments={"smooth_share": 0.2})
    >>> config.hyperparameters
    {'smooth_share': 0.2}
    """
    if loss is None:
        return functools.partial(
            register_method,
            name,
            title=title,
            head=head,
            weighting=weighting,
            sampling=sampling,
            flags=flags,
            hyperparameters=hyperparameters,
            pretraining=pretraining,
            second_stage=second_stage,
            defaults=defaults,
        )
    _check_new_name(name)
    _checks.check_choice("weighting", weighting, BALANCINGS)
    _checks.check_choice("sampling", sampling, BALANCINGS)
    _checks.check_choice("pretraining", pretraining, PRETRAININGS)
    _checks.check_choice("second_stage", second_stage, SECOND_STAGES)
    own = dict(hyperparameters)
    made = loss
    if not isinstance(loss, MethodLoss):
        own = {**_arguments(loss, flags), **own}
        made = MethodLoss(
            loss,
            takes_class_counts="class_counts" in inspect.signature(loss).parameters,
            head=_checks.check_choice("head", head or _head(loss), HEADS),
        )
    own_flags = {argument: f"{name}_{argument}" for argument in own}
    made = dataclasses.replace(made, flags={**made.flags, **flags, **own_flags})
    METHODS[name] = Method(
        name,
        title or name,
        made,
        weighting,
        sampling,
        pretraining,
        second_stage,
        dict(defaults),
        hyperparameters={own_flags[argument]: own[argument] for argument in own},
    )
    return loss


def _check_new_name(name):
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            "`name` must be small letters, digits and _, a letter first. "
            f"Received: name={name!r}"
        )
    if name in EVERYWHERE:
        raise ValueError(
            f"`name` must not be that of a method of mm_tf. Received: name={name!r}"
        )


def _head(loss):
    return "normalized" if getattr(loss, "expects_cosines", False) else "linear"


def _arguments(loss, flags):
    """The hyper-parameters in the signature of a loss, {argument: Hyperparameter}."""
    if not callable(loss):
        raise ValueError(
            "`loss` must be a class of losses, a function or a `MethodLoss`. "
            f"Received: loss={loss!r}"
        )
    parameters = list(inspect.signature(loss).parameters.values())
    if not inspect.isclass(loss):
        parameters = parameters[2:]  # Labels and outputs.
    found = {}
    for each in parameters:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        if each.name in ("class_counts", *_OF_KERAS, *flags):
            continue
        if each.default is each.empty:
            raise ValueError(
                "`loss` must have a default for each argument but class_counts: it is "
                f"that of the flag. Received: {each.name} of {loss.__name__}"
            )
        if isinstance(each.default, float | int | str):
            found[each.name] = Hyperparameter(each.default)
    return found


def came_from(name, file, digest):
    """Notes the file that a method was loaded from."""
    METHODS[name] = dataclasses.replace(METHODS[name], file=file, digest=digest)


def for_other_process(method):
    """Returns what `--method` must be in a new process, for a method's name.

    Raises:
        ValueError: The method is registered in this process only.
    """
    row = METHODS[method]
    if row.file is None and method not in EVERYWHERE:
        raise ValueError(
            "`method` is registered in this process only, and the run is trained in "
            "another one: put it into a file and give --method=FILE:NAME. "
            f"Received: method={method!r}"
        )
    return row.file or method


def check_method(name, flag="method"):
    """Returns the `Method` of a name, or raises a ValueError that names the flag."""
    if isinstance(name, str) and ":" in name:
        raise ValueError(
            f"`{flag}` names code, which runs only where it is named on the command "
            f"line itself: type --{flag}={name} there if you trust that file. "
            f"Received: {flag}={name!r}"
        )
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(
            f"`{flag}` must be one of {', '.join(METHODS)}, or FILE:NAME on the "
            f"command line for a method of your own.{_checks.nearest(name, METHODS)} "
            f"Received: {flag}={name!r}"
        )
    return METHODS[name]


def is_used(flag, method):
    """Whether a flag has an effect on the runs of a method: a name, or a `Method`."""
    row = method if isinstance(method, Method) else METHODS.get(method)
    if row is None or flag in row.uses:
        return True
    if flag == "reweight_epoch":
        return row.is_deferred
    return not any(flag in other.uses for other in METHODS.values())
