"""Pages made from data of the package: the methods and the settings."""

import pathlib

from absl import flags

from mm_tf.experiments.config import fields as config_fields
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.config.recipes import PAPER
from mm_tf.experiments.paper import protocol
from mm_tf.experiments.paper.methods import METHODS

_ROOT = pathlib.Path(config_fields.__file__).parents[3]

# The loss of a method, and whether its margins depend on class counts: in words, and
# the section of losses.md.
_LOSSES = {
    ("SparseCategoricalCrossentropy", False): ("cross-entropy", "cross-entropy"),
    ("Focal", False): ("focal", "focal"),
    ("LogitAdjusted", True): ("logit-adjusted", "logit-adjusted"),
    ("VectorScaling", True): ("vector scaling", "vector-scaling"),
    ("LDAM", True): ("LDAM", "ldam"),
    ("UniformMargin", False): ("uniform margin", "uniform-margin"),
    ("Hinge", False): ("hinge", "hinge"),
    ("Hinge", True): ("hinge with LDAM's margins", "hinge"),
    ("MaximumMargin", False): ("maximum margin", "maximum-margin"),
    ("MaximumMargin", True): ("maximum margin, by class", "maximum-margin"),
}
_SECOND_STAGES = {
    "none": "",
    "head": ", then a fresh head on the frozen backbone",
    "scales": ", then a scale for each class on the frozen network",
    "normalized": ", then each class's weights are divided by their length",
}
_WHEN = {"from_start": " from the first epoch", "deferred": ", deferred"}

_METHODS_PAGE = """# Methods

A method is a row of the paper's Table 1, or one that was published later; `--method`
names it. `mm_tf table` takes the rows of the paper by default. The table is made from
`mm_tf.experiments.paper.methods.METHODS`. [Settings](settings.md) explains the flags,
and [A method of your own](own_method.md) how to add one.

<div class="flags" markdown>

{table}

</div>

"Deferred" means from epoch {reweighting} of {epochs} on (in proportion for other
`--epochs`), or from `--reweight_epoch` on. Class weights, and the probabilities of a
draw in re-sampling, follow the effective number of images in each class
(`--effective_number_beta`), or the inverse class counts
(`--class_weighting=inverse_frequency`). Pre-training runs for `--pretraining_epochs`.
[Losses](losses.md) explains the losses; [Which loss for me?](choosing.md) helps to
choose a method.
"""

_SETTINGS_PAGE = """# Settings

A setting is a flag file. A run takes a flag file, and other flags that override it:

```sh
mm_tf run --flagfile=experiments/cifar10_lt100.flags --seed=1
```

## Flag files

They are in `experiments/`. The comments at the top of each have the paper's published
numbers. `--setting=cifar10_lt100` names one in any folder.

<div class="flags" markdown>

{flagfiles}

</div>

## Flags that define a run

Each flag is also a field of `mm_tf.experiments.config.RunConfig`.

<div class="flags" markdown>

{deciding}

</div>

## Flags that do not define a run

They say where a run reads and writes, and how. You can resume a run with other values.

<div class="flags" markdown>

{keeping}

</div>
"""


def methods_table(losses_page=None):
    """Returns the table of the methods, in Markdown.

    Args:
        losses_page: The page to link losses to; None for no links.
    """
    rows = [("method", "in the paper", "loss", "head", "classes are", "its loss takes")]
    for method in METHODS.values():
        key = method.loss.loss, method.loss.takes_class_counts
        words, section = _LOSSES[key]
        loss = f"[{words}]({losses_page}#{section})" if losses_page else words
        if method.pretraining != "none":
            loss += f", after pre-training on {method.pretraining}s"
        loss += _SECOND_STAGES[method.second_stage]
        balancing = "-"
        for verb, when in (
            ("weighted", method.weighting),
            ("re-sampled", method.sampling),
        ):
            if when != "none":
                balancing = verb + _WHEN[when]
        takes = ", ".join(f"`--{flag}`" for flag in method.loss_uses) or "-"
        name = f"`{method.name}`"
        rows.append((name, method.title, loss, method.head, balancing, takes))
    return _markdown(rows)


def methods_page():
    """Returns the page of the methods, in Markdown."""
    return _METHODS_PAGE.format(
        table=methods_table("losses.md"),
        reweighting=protocol.PAPER_REWEIGHTING,
        epochs=protocol.PAPER_EPOCHS,
    )


def settings_page():
    """Returns the page of the settings, in Markdown."""
    fields = config_fields.flag_fields()
    return _SETTINGS_PAGE.format(
        flagfiles=_flagfiles(),
        deciding=_fields(field for field in fields if not field.metadata["place"]),
        keeping=_fields(field for field in fields if field.metadata["place"]),
    )


def _flagfiles():
    rows = [
        ("flagfile", "data set", "imbalance", "images a class", "network", "epochs")
    ]
    for path in sorted((_ROOT / "experiments").glob("*.flags")):
        values = flags.FlagValues()
        config_flags.define_flags(values)
        values(["run", f"--flagfile={path}"])
        config = config_flags.from_flags(values)
        counts = config.class_counts
        imbalance = f"{config.imbalance}, {config.imbalance_ratio:g}"
        images = f"{counts.max()} to {counts.min()}, {counts.sum():,} in all"
        rows.append(
            (
                f"`{path.name}`",
                config.dataset,
                imbalance,
                images,
                config.model,
                str(config.epochs),
            )
        )
    return _markdown(rows)


def _fields(fields):
    rows = [("flag", "default", "values", "what")]
    for field in fields:
        name = f'<span id="{field.name}"></span>`--{field.name}`'
        value = PAPER.get(field.name, field.default)
        default = "-" if value is None else f"`{value}`"
        rows.append((name, default, _values(field), field.metadata["help"]))
    return _markdown(rows)


def _values(field):
    """The values that a field takes, in words."""
    choices = field.metadata["choices"]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    limits = field.metadata["limits"]
    kind, _ = config_fields.kind_of(field)
    words = {bool: "yes or no", int: "integer", float: "number", str: "text"}[kind]
    if "low" in limits:
        sign = ">=" if limits.get("low_allowed", True) else ">"
        words += f" {sign} {limits['low']:g}"
    if "high" in limits:
        words += f", <= {limits['high']:.15g}"
    return words


def _markdown(rows):
    head, *body = rows
    lines = [head, ("---",) * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
