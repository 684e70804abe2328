"""The paper's published numbers, and whether a run may be compared with them.

Kang, Vu, Yoo, "Learning Imbalanced Datasets with Maximum Margin Loss", 2021.
"""

import dataclasses
from types import MappingProxyType

from mm_tf.experiments.config_fields import (
    PAPER_EPOCHS,
    PAPER_FIRST_DROP,
    PAPER_REWEIGHTING,
    PAPER_SECOND_DROP,
)
from mm_tf.experiments.methods import METHODS

SETTINGS = (
    "cifar10_lt100",
    "cifar10_lt10",
    "cifar10_step100",
    "cifar10_step10",
    "cifar100_lt100",
    "cifar100_lt10",
    "cifar100_step100",
    "cifar100_step10",
)

# Table 1: top-1 error in %, ResNet-32, 200 epochs, in the order of SETTINGS.
TABLE1 = MappingProxyType(
    {
        "erm": (29.64, 13.61, 36.70, 17.50, 61.68, 44.30, 61.45, 45.37),
        "focal": (29.62, 13.34, 36.09, 16.36, 61.59, 44.22, 61.43, 46.54),
        "ldam": (26.65, 13.04, 33.42, 15.00, 60.40, 43.09, 60.42, 43.73),
        "mm": (26.56, 12.34, 33.19, 13.99, 60.29, 42.63, 60.25, 43.55),
        "cb_rs": (29.45, 13.21, 38.14, 15.41, 66.56, 44.94, 66.23, 46.92),
        "cb_rw": (27.63, 13.46, 38.06, 16.20, 66.01, 42.88, 78.69, 47.52),
        "cb_focal": (25.43, 12.90, 39.73, 16.54, 63.98, 42.01, 80.24, 49.98),
        "hg_drs": (27.16, 14.03, 29.93, 14.85, None, None, None, None),
        "ldam_hg_drs": (24.42, 12.72, 24.53, 12.82, None, None, None, None),
        "m_drw": (24.94, 13.57, 27.67, 13.17, 59.49, 43.78, 58.91, 44.72),
        "ldam_drw": (22.97, 11.84, 23.08, 12.19, 57.96, 41.29, 54.64, 40.54),
        "ldam_drw_ssp": (22.17, 11.47, 22.95, 11.83, 56.57, 41.09, 54.28, 40.33),
        "mm_drw": (21.98, 11.44, 22.83, 11.48, 57.14, 40.63, 54.57, 40.28),
        "mm_ldam_drw": (21.37, 11.26, 21.82, 11.33, 56.53, 40.54, 53.70, 40.07),
    }
)

# Tables 2 and 3: the best (beta, delta minus) of MM-DRW in each setting.
BEST_BETA_DELTA = MappingProxyType(
    {
        "cifar10_lt100": (1.5, 0.6),
        "cifar10_lt10": (1.2, 0.7),
        "cifar10_step100": (1.3, 0.6),
        "cifar10_step10": (1.0, 2.1),
        "cifar100_lt100": (1.3, 1.2),
        "cifar100_lt10": (1.4, 1.5),
        "cifar100_step100": (1.8, 1.8),
        "cifar100_step10": (1.1, 2.4),
    }
)

# Tables 2 and 3, the ablation of MM-DRW on CIFAR-10 and on CIFAR-100: top-1 error in
# % of (setting, beta, delta minus), ResNet-32, 200 epochs.
ABLATION_METHOD = "mm_drw"
TABLE2 = MappingProxyType(
    {
        ("cifar10_lt100", 1.4, 0.6): 22.24,
        ("cifar10_lt100", 1.5, 0.6): 21.98,
        ("cifar10_lt100", 1.6, 0.6): 22.43,
        ("cifar10_step100", 1.2, 0.6): 22.92,
        ("cifar10_step100", 1.3, 0.6): 22.83,
        ("cifar10_step100", 1.4, 0.6): 23.29,
        ("cifar10_lt10", 1.1, 0.7): 11.66,
        ("cifar10_lt10", 1.2, 0.7): 11.44,
        ("cifar10_lt10", 1.3, 0.7): 11.86,
        ("cifar10_step10", 1.0, 2.1): 11.48,
        ("cifar10_step10", 1.1, 2.1): 11.64,
        ("cifar10_step10", 1.2, 2.1): 11.78,
    }
)
TABLE3 = MappingProxyType(
    {
        ("cifar100_lt100", 1.2, 1.2): 58.02,
        ("cifar100_lt100", 1.3, 1.2): 57.14,
        ("cifar100_lt100", 1.4, 1.2): 57.24,
        ("cifar100_step100", 1.7, 1.8): 54.65,
        ("cifar100_step100", 1.8, 1.8): 54.57,
        ("cifar100_step100", 1.9, 1.8): 54.76,
        ("cifar100_lt10", 1.3, 1.5): 40.97,
        ("cifar100_lt10", 1.4, 1.5): 40.63,
        ("cifar100_lt10", 1.5, 1.5): 40.95,
        ("cifar100_step10", 1.0, 2.4): 40.42,
        ("cifar100_step10", 1.1, 2.4): 40.28,
        ("cifar100_step10", 1.2, 2.4): 40.48,
    }
)
ABLATIONS = MappingProxyType({"table2": TABLE2, "table3": TABLE3})

# What the paper, or the code it stands on, says of every run. Flags that are not
# here (seeds, folders, the backend) are not part of the protocol.
_PROTOCOL = MappingProxyType(
    {
        "model": "resnet32",
        "epochs": PAPER_EPOCHS,
        "warmup_epochs": 5,
        "batch_size": 128,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "l2": 2e-4,
        "augment": True,
    }
)
_HYPERPARAMETERS = MappingProxyType(
    {
        "scale": 10.0,
        "max_class_margin": 0.5,
        "ldam_scale": 30.0,
        "focal_gamma": 1.0,
        "class_weighting": "effective_number",
        "effective_number_beta": 0.9999,
        "pretraining_epochs": 200,
    }
)

ALWAYS_DIFFERENT = (
    "The paper's draw of the images and its seeds are not published (mm_tf draws "
    "by a rule of its own), and the authors' code reports the best test epoch."
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A run beside the paper.

    Attributes:
        published: The published top-1 error in %, or None where there is none.
        differences: How the run's protocol differs from the paper's, in words;
            empty where it does not.
    """

    published: float | None
    differences: tuple[str, ...]

    @property
    def is_comparable(self):
        """Whether there is a published number of the same protocol."""
        return self.published is not None and not self.differences


def published_error(setting, method):
    """Returns Table 1's top-1 error in %, or None where it has none.

    Example:

    >>> from mm_tf.experiments import paper
    >>> paper.published_error("cifar10_lt100", "mm_ldam_drw")
    21.37
    """
    if setting not in SETTINGS or method not in TABLE1:
        return None
    return TABLE1[method][SETTINGS.index(setting)]


def published_words(result):
    """Says how a result stands to the published number.

    Args:
        result: A `RunResult`.

    Returns:
        A sentence or two.
    """
    if result.published_top1_error is None:
        return "The paper has no number for this setting and method."
    if result.protocol_differences:
        differences = "; ".join(map(str, result.protocol_differences))
        return (
            "Not the paper's run, so not to be compared with its number: "
            f"{differences}."
        )
    return f"The paper's protocol. {ALWAYS_DIFFERENT}"


def compare(config):
    """Returns the `Comparison` of a `RunConfig` with the paper.

    Example:

    >>> from mm_tf.experiments import paper
    >>> from mm_tf.experiments.config import RunConfig
    >>> short = RunConfig(dataset="cifar10", method="erm", epochs=10)
    >>> paper.compare(short).differences
    ('epochs 10 (paper: 200)',)
    """
    pair = BEST_BETA_DELTA.get(config.setting)
    published = published_error(config.setting, config.method)
    return Comparison(published, tuple(_differences(config, pair)))


def compare_ablation(config):
    """Returns the `Comparison` of a run of MM-DRW with its cell of Tables 2 and 3.

    Beta and delta are then no difference: they are what the tables vary.

    Example:

    >>> from mm_tf.experiments import paper
    >>> from mm_tf.experiments.config import RunConfig
    >>> config = RunConfig(dataset="cifar10", method="mm_drw", beta=1.4, delta=0.6)
    >>> paper.compare_ablation(config)
    Comparison(published=22.24, differences=())
    """
    cell = config.setting, config.beta, config.delta
    published = {**TABLE2, **TABLE3}.get(cell)
    if config.method != ABLATION_METHOD:
        published = None
    return Comparison(published, tuple(_differences(config, cell[1:])))


def _differences(config, pair):
    """How a run differs from the paper's protocol with a pair (beta, delta)."""
    expected = dict(_PROTOCOL)
    used = config.hyperparameters
    expected.update(
        {name: value for name, value in _HYPERPARAMETERS.items() if name in used}
    )
    if "beta" in used and pair:
        expected["beta"], expected["delta"] = pair
    actual = {name: used.get(name, getattr(config, name)) for name in expected}
    differences = [
        f"{name} {_plain(actual[name])} (paper: {_plain(value)})"
        for name, value in expected.items()
        if actual[name] != value
    ]
    if config.holdout:
        differences.insert(
            0,
            f"errors on a hold-out, {config.holdout:.3g} of each class's training "
            "images (paper: on the test images, trained on all)",
        )
    if config.epochs == _PROTOCOL["epochs"]:
        # With other epochs the schedule moves with them, which is said already.
        differences += _schedule_differences(config)
    return differences


def _schedule_differences(config):
    epochs_of_paper = (PAPER_FIRST_DROP, PAPER_SECOND_DROP)
    if tuple(epoch for epoch, _ in config.drops) != epochs_of_paper:
        epochs = " and ".join(str(epoch) for epoch, _ in config.drops)
        yield f"drops at epochs {epochs} (paper: 160 and 180)"
    is_deferred = METHODS[config.method].is_deferred
    if is_deferred and config.first_reweighted_epoch != PAPER_REWEIGHTING:
        yield f"balancing from epoch {config.first_reweighted_epoch} (paper: 160)"


def _plain(value):
    return f"{value:g}" if isinstance(value, float) else str(value)
