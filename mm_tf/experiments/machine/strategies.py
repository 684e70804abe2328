"""One run on several devices of one machine.

Each device computes a part of every batch, and the gradients are added up. Only
rounding differs from a run on one device: crops and flips are drawn for the whole
batch, and batch normalization and weighted means take it as a whole.
"""

import contextlib
import functools
import logging

import keras

from mm_tf.experiments.config.fields import STRATEGIES


@contextlib.contextmanager
def distributed(strategy, devices=None):
    """Inside, models are built and trained on several devices."""
    backend = STRATEGIES[strategy]
    if backend not in (None, keras.backend.backend()):
        raise ValueError(
            f"`strategy` {strategy} is for Keras's backend {backend}, and this is "
            f"{keras.backend.backend()}. Received: strategy={strategy!r}"
        )
    with _SCOPES[strategy](devices) as count:
        yield count


@contextlib.contextmanager
def synchronized(model):
    """Inside, batch normalization takes its statistics over the replicas' parts.

    Only in training: a saved model with this setting would not load on JAX.
    """
    before = []
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Without a strategy one operation for the whole batch is faster.
        if tf.distribute.has_strategy():
            layers = _batch_normalizations(model)
            before = [(layer, layer.synchronized) for layer in layers]
    for layer, _ in before:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer, was in before:
            layer.synchronized = was


def _batch_normalizations(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer
        elif isinstance(layer, keras.Model):
            yield from _batch_normalizations(layer)


@contextlib.contextmanager
def _mirrored(devices):
    import tensorflow as tf

    found = tf.config.list_logical_devices
    if devices and not tf.config.list_physical_devices("GPU"):
        (cpu,) = tf.config.list_physical_devices("CPU")
        # Too late if TensorFlow has started: `_first` counts.
        with contextlib.suppress(RuntimeError):
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * devices
            )
    names = [device.name for device in found("GPU") or found("CPU")]
    # It logs each all-reduce of each graph.
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        with _mirrored_strategy(tuple(_first(names, devices))).scope():
            yield devices or len(names)
    finally:
        logger.setLevel(before)


@functools.cache
def _mirrored_strategy(names):
    """One strategy for all runs of a process, because TensorFlow confuses two."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


@contextlib.contextmanager
def _data_parallel(devices):
    import jax

    if devices:
        # Too late if JAX has started: `_first` counts.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", devices)
    names = [
        f"{device.platform}:{device.id}" for device in _first(jax.devices(), devices)
    ]
    with _WholeBatches(devices=names, auto_shard_dataset=False).scope():
        yield len(names)


def _first(names, number):
    if number is None:
        return names
    if number > len(names):
        raise ValueError(
            f"`devices` must be at most the {len(names)} there are: "
            f"{', '.join(map(str, names))} (a CPU is split only before its first "
            f"use). Received: devices={number}"
        )
    return names[:number]


class _WholeBatches(keras.distribution.DataParallel):
    """`DataParallel` for batches of any size, the last one of an epoch too.

    `DataParallel` splits batches on the host, which JAX refuses if the number of
    images is not a multiple of the number of devices. Here each device gets the whole
    batch, which is small (uint8 pixels), and the outputs of layers are split, which
    works for any size. The head's outputs are whole again on every device.
    """

    def get_data_layout(self, data_shape):
        return self._layout(*(None for _ in data_shape))

    def get_tensor_layout(self, path):
        if path.endswith("head/output"):
            return self._layout(None, None)
        return self._layout(self.batch_dim_name) if path.endswith("/output") else None

    def _layout(self, *axes):
        return keras.distribution.TensorLayout(axes, self.device_mesh)


@contextlib.contextmanager
def _one(devices):
    yield 1


_SCOPES = {"none": _one, "mirrored": _mirrored, "data_parallel": _data_parallel}
