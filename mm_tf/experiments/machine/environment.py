"""The environment of a run: backend, device, versions."""

import importlib.metadata
import os
import platform

_PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "scikit-learn")


def variables_for_tensorflow():
    """Returns the environment variables that a command sets for TensorFlow.

    TensorFlow reads them when it is imported; a user's own values take precedence.
    """
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if platform.machine().lower() in ("x86_64", "amd64"):
        # Without AVX-512 VNNI TensorFlow does not use oneDNN's convolutions, and
        # trains at half the speed.
        variables["TF_ENABLE_ONEDNN_OPTS"] = "1"
    return variables


def versions(*more):
    """Returns {package: version} of Python, mm_tf and the packages it uses."""
    import mm_tf

    found = {"python": platform.python_version(), "mm_tf": mm_tf.__version__}
    for package in (*_PACKAGES, *more):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def has_accelerator():
    """Returns whether Keras's backend computes on a GPU or TPU."""
    return _accelerator() is not None


def device():
    """Returns the name of the device that Keras's backend computes on."""
    return _accelerator() or f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def _accelerator():
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        first = jax.devices()[0]
        return None if first.platform == "cpu" else first.device_kind
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    return details.get("device_name", "GPU")
