"""The methods of mm_tf: the rows of the paper's Table 1, and later ones."""

from mm_tf.experiments.paper.registry import (
    EVERYWHERE,
    METHODS,
    Hyperparameter,
    Method,
    MethodLoss,
    check_method,
    for_other_process,
    is_used,
    register_method,
)

__all__ = [
    "METHODS",
    "Hyperparameter",
    "Method",
    "MethodLoss",
    "check_method",
    "for_other_process",
    "is_used",
    "register_method",
]

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

# In the order of Table 1: name, loss, title, and what else differs from ERM.
register_method("erm", _CE, title="ERM")
register_method("focal", _FOCAL, title="Focal")
register_method("ldam", _LDAM, title="LDAM")
register_method("mm", _MM, title="MM")
register_method("cb_rs", _CE, title="CB-RS", sampling="from_start")
register_method("cb_rw", _CE, title="CB-RW", weighting="from_start")
register_method("cb_focal", _FOCAL, title="CB-Focal", weighting="from_start")
register_method("hg_drs", _HINGE, title="HG-DRS", sampling="deferred")
register_method("ldam_hg_drs", _LDAM_HINGE, title="LDAM-HG-DRS", sampling="deferred")
register_method("m_drw", _UNIFORM, title="M-DRW", weighting="deferred")
register_method("ldam_drw", _LDAM, title="LDAM-DRW", weighting="deferred")
register_method(
    "ldam_drw_ssp",
    _LDAM,
    title="LDAM-DRW+SSP",
    weighting="deferred",
    pretraining="rotation",
)
register_method("mm_drw", _MM, title="MM-DRW", weighting="deferred")
register_method("mm_ldam_drw", _MM_LDAM, title="MM-LDAM-DRW", weighting="deferred")

# Later than the paper: Menon et al. 2021 (LA), Kini et al. 2021 (VS).
_LA = MethodLoss("LogitAdjusted", takes_class_counts=True, head="linear")
_VS = MethodLoss("VectorScaling", takes_class_counts=True, head="linear")
_TAU = Hyperparameter(
    1.0, "the strength of the logit adjustment.", {"low": 0.0}, (0.5, 2.0)
)

register_method("ce_drw", _CE, title="CE-DRW", weighting="deferred")
# After ntucllab/imbalanced-DL. Here a mixed image has the mean of its classes' weights.
register_method(
    "mixup_drw",
    _CE,
    title="Mixup-DRW",
    weighting="deferred",
    defaults={"mixup": 1.0},
)
register_method("la", _LA, title="LA", hyperparameters={"tau": _TAU})
register_method(
    "vs",
    _VS,
    title="VS",
    hyperparameters={
        "gamma": Hyperparameter(
            0.3, "how much logits of rare classes shrink.", {"low": 0.0}, (0.05, 0.5)
        ),
        "tau": _TAU,
    },
)
# Kang et al. 2020: other heads on the backbone of ERM.
register_method("tau_norm", _CE, title="Tau-norm", second_stage="normalized")
register_method("crt", _CE, title="cRT", sampling="from_start", second_stage="head")
register_method("lws", _CE, title="LWS", sampling="from_start", second_stage="scales")

EVERYWHERE.update(METHODS)
