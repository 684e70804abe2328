"""Recipes: flags that belong together, for a training of a kind.

A recipe says what the flags below are where they are not given.
"""

import pathlib
from types import MappingProxyType

from mm_tf import _checks
from mm_tf.experiments.paper.protocol import PROTOCOL

# Minutes on a processor, in the manner of airbench (Jordan, 2024).
FAST = MappingProxyType(
    {
        "model": "whitened_cnn",
        "epochs": 30,
        "warmup_epochs": 6,
        "batch_size": 256,
        "learning_rate": 0.5,
        "schedule": "one_cycle",
        "l2": 1e-3,
        "nesterov": True,
        "vector_rate": 8.0,
        "flip": "alternating",
        "views": 6,
        "precision": None,
    }
)

# The paper's training, of 200 epochs.
PAPER = MappingProxyType({name: PROTOCOL.get(name) for name in FAST})

RECIPES = MappingProxyType({"paper": PAPER, "fast": FAST})


def values_of(recipe):
    """Returns {flag: value} of a recipe on this machine."""
    values = dict(RECIPES[_checks.check_choice("recipe", recipe, RECIPES)])
    if recipe == "fast" and _multiplies_bfloat16():
        values["precision"] = "bfloat16"
    return values


def _multiplies_bfloat16():
    """Whether the processor has units that multiply matrices of bfloat16 (AMX)."""
    try:
        return "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
