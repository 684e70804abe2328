"""Images that stay on the device that trains on them."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# Share of the device's memory; the rest is for the network and its activations.
_LARGEST_SHARE = 0.25


def gather_on_device(images: np.ndarray) -> Callable[[np.ndarray], Any] | None:
    """Puts images on the device, if it is an accelerator that has room for them.

    A batch is then gathered there, and the host sends only its indices. On JAX only:
    on TensorFlow `tf.data` works on the host and copies batches ahead of their use.
    """
    # Several devices have a part of each batch, which is Keras's to distribute.
    if keras.config.backend() != "jax" or keras.distribution.distribution() is not None:
        return None
    import jax

    device = _device_for(images.nbytes)
    if device is None:
        return None
    return functools.partial(_gather(), jax.device_put(images, device))


def _device_for(size: int) -> Any:
    """The accelerator, if it has room for so many bytes."""
    import jax

    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    has_room = device.platform != "cpu" and size <= _LARGEST_SHARE * memory
    return device if has_room else None


@functools.cache
def _gather() -> Callable[[Any, np.ndarray], Any]:
    """The same for all images, so that it is compiled once for a shape."""
    import jax

    return jax.jit(lambda images, chosen: images[chosen])
