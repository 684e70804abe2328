"""The paper's protocol, and whether a run may be compared with its numbers.

Kang, Vu, Yoo, "Learning Imbalanced Datasets with Maximum Margin Loss", 2021.
"""

import dataclasses
from types import MappingProxyType

from mm_tf.experiments.paper.methods import is_used
from mm_tf.experiments.paper.published import (
    ABLATION_METHOD,
    BEST_BETA_DELTA,
    TABLE2,
    TABLE3,
    published_error,
)

# The paper's schedule: its epochs, and the epochs of its changes.
PAPER_EPOCHS = 200
PAPER_FIRST_DROP = 160
PAPER_SECOND_DROP = 180
PAPER_REWEIGHTING = 160
DROP_FACTORS = (1e-2, 1e-4)

# The flags of every run of the paper, from its text or from the code it builds on.
# Other flags (seeds, folders, the backend) are not part of the protocol.
PROTOCOL = MappingProxyType(
    {
        "model": "resnet32",
        "epochs": PAPER_EPOCHS,
        "warmup_epochs": 5,
        "batch_size": 128,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "schedule": "steps",
        "l2": 2e-4,
        "nesterov": False,
        "vector_rate": 1.0,
        "augment": True,
        "cutout": 0,
        "augmentation": "none",
        "mixup": 0.0,
        "cutmix": 0.0,
        "flip": "random",
        "views": 1,
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
    """A run compared with the paper.

    Attributes:
        published: The published top-1 error in %, or None if there is none.
        differences: How the run's protocol differs from the paper's, in words;
            empty if it does not.
    """

    published: float | None
    differences: tuple[str, ...]

    @property
    def is_comparable(self):
        """Whether there is a published number with the same protocol."""
        return self.published is not None and not self.differences


def is_fast(result):
    """Whether a result is of the fast recipe's network."""
    return result.flags.get("model") == "whitened_cnn"


def published_words(result):
    """Says whether a result can be compared with the published number.

    Args:
        result: A `RunResult`.

    Returns:
        A sentence or two.
    """
    if is_fast(result):
        return (
            "The network is not the paper's ResNet-32: a step takes 0.71 GFLOP an "
            "image of 32 x 32 pixels, ResNet-32's 0.41."
        )
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

    Beta and delta are no difference here: the tables vary them.

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
    """How a run differs from the paper's protocol with this (beta, delta)."""
    expected = {
        name: value for name, value in PROTOCOL.items() if is_used(name, config.row)
    }
    used = config.hyperparameters
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
    if config.epochs == PAPER_EPOCHS:
        # With other epochs the schedule moves too, and the epochs are named already.
        differences += _schedule_differences(config)
    return differences


def _schedule_differences(config):
    epochs_of_paper = (PAPER_FIRST_DROP, PAPER_SECOND_DROP)
    if tuple(epoch for epoch, _ in config.drops) != epochs_of_paper:
        epochs = " and ".join(str(epoch) for epoch, _ in config.drops)
        yield f"drops at epochs {epochs} (paper: 160 and 180)"
    is_deferred = config.row.is_deferred
    if is_deferred and config.first_reweighted_epoch != PAPER_REWEIGHTING:
        yield f"balancing from epoch {config.first_reweighted_epoch} (paper: 160)"


def _plain(value):
    return f"{value:g}" if isinstance(value, float) else str(value)
