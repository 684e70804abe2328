"""The methods of the paper's Table 1: one row each."""

import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import Any


@dataclasses.dataclass(frozen=True)
class Method:
    """A method: what of the training it changes.

    Attributes:
        name: Its name on the command line.
        title: Its name in the paper's Table 1.
        loss: Makes the loss of each example from the run's config.
        head: `"linear"` for logits or `"normalized"` for cosines.
        weighting: When classes are weighted: `"none"`, `"from_start"`, or
            `"deferred"` to a later epoch (DRW).
        sampling: When classes are re-sampled, with the same weights: likewise
            (DRS).
        pretraining: `"none"` or `"rotation"` (SSP).
        loss_uses: The flags that its loss takes.
    """

    name: str
    title: str
    loss: Callable[[Any], Any]
    head: str
    weighting: str = "none"
    sampling: str = "none"
    pretraining: str = "none"
    loss_uses: tuple[str, ...] = ()

    @property
    def is_balanced(self):
        """Whether class weights are used, for the loss or for the sampling."""
        return (self.weighting, self.sampling) != ("none", "none")

    @property
    def is_deferred(self):
        """Whether the balancing begins at a later epoch."""
        return "deferred" in (self.weighting, self.sampling)

    @property
    def uses(self):
        """The flags that the method's loss, weights and pre-training take."""
        weights = ("class_weighting", "effective_number_beta")
        pretraining = ("pretraining_epochs",)
        return (
            self.loss_uses
            + (weights if self.is_balanced else ())
            + (pretraining if self.pretraining != "none" else ())
        )


# Keras is imported when a loss is made, not when a flag is checked.


def _cross_entropy(config):
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _focal(config):
    from mm_tf import losses

    return losses.Focal(gamma=config.focal_gamma)


def _ldam(config):
    from mm_tf import losses

    return losses.LDAM(
        config.class_counts,
        max_margin=config.max_class_margin,
        scale=config.ldam_scale,
    )


def _uniform_margin(config):
    from mm_tf import losses

    return losses.UniformMargin(margin=config.max_class_margin, scale=config.ldam_scale)


def _hinge(config):
    from mm_tf import losses

    return losses.Hinge(margin=config.max_class_margin, scale=config.ldam_scale)


def _hinge_by_class(config):
    from mm_tf import losses

    return losses.Hinge(
        margin=config.max_class_margin,
        class_counts=config.class_counts,
        scale=config.ldam_scale,
    )


def _maximum_margin(config):
    from mm_tf import losses

    return losses.MaximumMargin(
        delta=config.delta, beta=config.beta, scale=config.scale
    )


def _maximum_margin_by_class(config):
    from mm_tf import losses

    return losses.MaximumMargin(
        delta=config.delta,
        beta=config.beta,
        class_counts=config.class_counts,
        max_class_margin=config.max_class_margin,
        scale=config.scale,
    )


_FOCAL = ("focal_gamma",)
_LDAM = ("max_class_margin", "ldam_scale")
_MM = ("delta", "beta", "scale")
_MM_LDAM = (*_MM, "max_class_margin")

# In the order of Table 1: name, title, loss, head, and what differs from ERM.
_ROWS = (
    Method("erm", "ERM", _cross_entropy, "linear"),
    Method("focal", "Focal", _focal, "linear", loss_uses=_FOCAL),
    Method("ldam", "LDAM", _ldam, "normalized", loss_uses=_LDAM),
    Method("mm", "MM", _maximum_margin, "normalized", loss_uses=_MM),
    Method("cb_rs", "CB-RS", _cross_entropy, "linear", sampling="from_start"),
    Method("cb_rw", "CB-RW", _cross_entropy, "linear", weighting="from_start"),
    Method(
        "cb_focal",
        "CB-Focal",
        _focal,
        "linear",
        weighting="from_start",
        loss_uses=_FOCAL,
    ),
    Method(
        "hg_drs", "HG-DRS", _hinge, "normalized", sampling="deferred", loss_uses=_LDAM
    ),
    Method(
        "ldam_hg_drs",
        "LDAM-HG-DRS",
        _hinge_by_class,
        "normalized",
        sampling="deferred",
        loss_uses=_LDAM,
    ),
    Method(
        "m_drw",
        "M-DRW",
        _uniform_margin,
        "normalized",
        weighting="deferred",
        loss_uses=_LDAM,
    ),
    Method(
        "ldam_drw",
        "LDAM-DRW",
        _ldam,
        "normalized",
        weighting="deferred",
        loss_uses=_LDAM,
    ),
    Method(
        "ldam_drw_ssp",
        "LDAM-DRW+SSP",
        _ldam,
        "normalized",
        weighting="deferred",
        pretraining="rotation",
        loss_uses=_LDAM,
    ),
    Method(
        "mm_drw",
        "MM-DRW",
        _maximum_margin,
        "normalized",
        weighting="deferred",
        loss_uses=_MM,
    ),
    Method(
        "mm_ldam_drw",
        "MM-LDAM-DRW",
        _maximum_margin_by_class,
        "normalized",
        weighting="deferred",
        loss_uses=_MM_LDAM,
    ),
)

METHODS = MappingProxyType({method.name: method for method in _ROWS})


def is_used(flag, method):
    """Whether a flag plays a part in the runs of a method."""
    row = METHODS.get(method)
    if row is None or flag in row.uses:
        return True
    if flag == "reweight_epoch":
        return row.is_deferred
    return not any(flag in other.uses for other in METHODS.values())
