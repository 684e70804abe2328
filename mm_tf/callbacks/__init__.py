"""Callbacks: deferred re-weighting, the learning rate, test error, speed, a log.

Those with a memory give it as `get_state()` and take it with `set_state(state)`, so
that `mm_tf.checkpoints` can save it: values that JSON can hold.
"""

from mm_tf.callbacks.divergence import DivergedError, StopOnDivergence
from mm_tf.callbacks.freezing import FrozenBackbone
from mm_tf.callbacks.log import EpochLog, Throughput
from mm_tf.callbacks.reweighting import DeferredReweighting
from mm_tf.callbacks.schedule import PAPER_DROPS, WarmUpStepDecay, warm_up_step_decay
from mm_tf.callbacks.test_error import TestError

__all__ = [
    "PAPER_DROPS",
    "DeferredReweighting",
    "DivergedError",
    "EpochLog",
    "FrozenBackbone",
    "StopOnDivergence",
    "TestError",
    "Throughput",
    "WarmUpStepDecay",
    "warm_up_step_decay",
]
