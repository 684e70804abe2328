"""The same numbers from the same flags, bit for bit, on one device."""

import contextlib
import os
from typing import Any

import keras

from mm_tf.experiments.machine import environment


@contextlib.contextmanager
def computing(deterministic):
    """Inside, Keras's backend computes deterministically, if it should.

    Afterwards everything is as before: while TensorFlow computes deterministically it
    refuses random operations without a seed, which a user's other code may have.
    """
    if deterministic is None:
        deterministic = not environment.has_accelerator()
    switched = _SWITCHES[keras.backend.backend()]
    with switched() if deterministic else contextlib.nullcontext():
        yield deterministic


@contextlib.contextmanager
def _tensorflow():
    # There is no public function to ask for it or to switch it off.
    from tensorflow.python.framework import config

    was_on = config.is_op_determinism_enabled()
    config.enable_op_determinism()
    try:
        yield
    finally:
        if not was_on:
            config.disable_op_determinism()


@contextlib.contextmanager
def _jax():
    # A CPU is deterministic anyway. For a GPU, XLA reads this variable when it starts,
    # and only there.
    before = os.environ.pop("XLA_FLAGS", None)
    option = "--xla_gpu_deterministic_ops=true"
    os.environ["XLA_FLAGS"] = f"{before or ''} {option}".strip()
    try:
        yield
    finally:
        del os.environ["XLA_FLAGS"]
        if before is not None:
            os.environ["XLA_FLAGS"] = before


@contextlib.contextmanager
def _torch():
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    # A property of the class of this module, which mypy does not see.
    memory: Any = torch.utils.deterministic
    fills = memory.fill_uninitialized_memory
    # cuBLAS reads it when it starts, and refuses to be deterministic without it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # Filling memory only helps operations that read what they did not write, and
    # costs every convolution a pass over its outputs.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = fills
        torch.backends.cudnn.benchmark = benchmark


_SWITCHES = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
