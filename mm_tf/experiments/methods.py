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
        uses: The flags that its loss and weights take.
    """

    name: str
    title: str
    loss: Callable[[Any], Any]
    head: str
    weighting: str = "none"
    loss_uses: tuple[str, ...] = ()

    @property
    def uses(self):
        """The flags that the method's loss and weights take."""
        weights = ("class_weighting", "effective_number_beta")
        return self.loss_uses + (weights if self.weighting != "none" else ())


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

_ROWS = (
    # name, title, loss, head, weighting, flags that the loss takes
    Method("erm", "ERM", _cross_entropy, "linear"),
    Method("focal", "Focal", _focal, "linear", "none", _FOCAL),
    Method("ldam", "LDAM", _ldam, "normalized", "none", _LDAM),
    Method("mm", "MM", _maximum_margin, "normalized", "none", _MM),
    Method("cb_rw", "CB-RW", _cross_entropy, "linear", "from_start"),
    Method("cb_focal", "CB-Focal", _focal, "linear", "from_start", _FOCAL),
    Method("ldam_drw", "LDAM-DRW", _ldam, "normalized", "deferred", _LDAM),
    Method("mm_drw", "MM-DRW", _maximum_margin, "normalized", "deferred", _MM),
    Method(
        "mm_ldam_drw",
        "MM-LDAM-DRW",
        _maximum_margin_by_class,
        "normalized",
        "deferred",
        _MM_LDAM,
    ),
)

METHODS = MappingProxyType({method.name: method for method in _ROWS})
