"""Images that are kept on the device that trains on them."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# Of the device's memory: the rest is for the network and its activations.
_LARGEST_SHARE = 0.25


def gather_on_device(images: np.ndarray) -> Callable[[np.ndarray], Any] | None:
    """Puts images on the device, where it is an accelerator that has room for them.

    A batch is then gathered there, and the host sends its indices alone. On JAX only:
    on TensorFlow `tf.data` works on the host and copies batches ahead of their use.
    """
    device = _device_for(images.nbytes)
    return None if device is None else _gather_on(device, images)


def _device_for(size: int) -> Any:
    # Several devices have a part of each batch, which is Keras's to distribute.
    if keras.config.backend() != "jax" or keras.distribution.distribution() is not None:
        return None
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    return device if size <= _LARGEST_SHARE * memory else None


def _gather_on(device: Any, images: np.ndarray) -> Callable[[np.ndarray], Any]:
    import jax

    kept, take = jax.device_put(images, device), _take()
    return lambda chosen: take(kept, chosen)


@functools.cache
def _take() -> Callable[[Any, np.ndarray], Any]:
    """The same for all images, so that it is compiled once for a shape."""
    import jax

    return jax.jit(lambda kept, chosen: kept[chosen])
