"""The methods of the paper's Table 1: one row each."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class MethodLoss:
    """A method's loss: its class, and from where each argument comes.

    Attributes:
        loss: The name of a class of `mm_tf.losses` or `keras.losses`, or a class.
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

        arguments = {name: getattr(config, flag) for name, flag in self.flags.items()}
        if self.takes_class_counts:
            arguments["class_counts"] = config.class_counts
        made_by = self.loss
        if isinstance(made_by, str):
            made_by = getattr(losses, made_by, None) or getattr(keras.losses, made_by)
        return made_by(**arguments, **self.constants)


@dataclasses.dataclass(frozen=True)
class Method:
    """A method: what it changes in the training.

    Attributes:
        name: Its name on the command line.
        title: Its name in the paper's Table 1.
        loss: Its `MethodLoss`.
        weighting: When classes are weighted: `"none"`, `"from_start"`, or
            `"deferred"` to a later epoch (DRW).
        sampling: When classes are re-sampled with the same weights: likewise (DRS).
        pretraining: `"none"` or `"rotation"` (SSP).
    """

    name: str
    title: str
    loss: MethodLoss
    weighting: str = "none"
    sampling: str = "none"
    pretraining: str = "none"

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
        """The flags that its loss, class weights and pre-training take."""
        weights = ("class_weighting", "effective_number_beta")
        pretraining = ("pretraining_epochs",)
        return (
            self.loss_uses
            + (weights if self.is_balanced else ())
            + (pretraining if self.pretraining != "none" else ())
        )


_CE = MethodLoss(
    "SparseCategoricalCrossentropy", head="linear", constants={"from_logits": True}
)
_FOCAL = MethodLoss("Focal", {"gamma": "focal_gamma"}, head="linear")
_MARGIN = {"margin": "max_class_margin", "scale": "ldam_scale"}
_UNIFORM = MethodLoss("UniformMargin", _MARGIN)
_HINGE = MethodLoss("Hinge", _MARGIN)
_LDAM_HINGE = MethodLoss("Hinge", _MARGIN, takes_class_counts=True)
_LDAM = MethodLoss(
    "LDAM",
    {"max_margin": "max_class_margin", "scale": "ldam_scale"},
    takes_class_counts=True,
)
_MAXIMUM = {"delta": "delta", "beta": "beta", "scale": "scale"}
_MM = MethodLoss("MaximumMargin", _MAXIMUM)
_MM_LDAM = MethodLoss(
    "MaximumMargin",
    {**_MAXIMUM, "max_class_margin": "max_class_margin"},
    takes_class_counts=True,
)

# In the order of Table 1: name, title, loss, and what else differs from ERM.
_ROWS = (
    Method("erm", "ERM", _CE),
    Method("focal", "Focal", _FOCAL),
    Method("ldam", "LDAM", _LDAM),
    Method("mm", "MM", _MM),
    Method("cb_rs", "CB-RS", _CE, sampling="from_start"),
    Method("cb_rw", "CB-RW", _CE, weighting="from_start"),
    Method("cb_focal", "CB-Focal", _FOCAL, weighting="from_start"),
    Method("hg_drs", "HG-DRS", _HINGE, sampling="deferred"),
    Method("ldam_hg_drs", "LDAM-HG-DRS", _LDAM_HINGE, sampling="deferred"),
    Method("m_drw", "M-DRW", _UNIFORM, weighting="deferred"),
    Method("ldam_drw", "LDAM-DRW", _LDAM, weighting="deferred"),
    Method("ldam_drw_ssp", "LDAM-DRW+SSP", _LDAM, "deferred", pretraining="rotation"),
    Method("mm_drw", "MM-DRW", _MM, weighting="deferred"),
    Method("mm_ldam_drw", "MM-LDAM-DRW", _MM_LDAM, weighting="deferred"),
)

# A row that is added here is a method of every command.
METHODS: dict[str, Method] = {method.name: method for method in _ROWS}


def is_used(flag, method):
    """Whether a flag has an effect on the runs of a method."""
    row = METHODS.get(method)
    if row is None or flag in row.uses:
        return True
    if flag == "reweight_epoch":
        return row.is_deferred
    return not any(flag in other.uses for other in METHODS.values())
