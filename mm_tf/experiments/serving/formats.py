"""A Keras model with probabilities, written in the formats of other runtimes."""

import contextlib
import importlib.util
import logging
import os
import tempfile
import warnings

import numpy as np

SAVED_MODEL = "saved_model"
ONNX = "onnx"
TFLITE = "tflite"

# The operators that all runtimes of the last years have, and tf2onnx writes.
_OPSET = 17

# Of probabilities, between Keras and a converted model.
_MOST_DIFFERENCE = 1e-4


def with_probabilities(model, scale, offset):
    """Puts a softmax behind a model.

    p_j = softmax_j(s z_j + a_j)
    """
    import keras

    images = keras.Input(model.input_shape[1:], dtype="uint8", name="images")
    logits = keras.layers.Rescaling(scale, offset=list(offset), dtype="float32")
    softmax = keras.layers.Softmax(dtype="float32")
    return keras.Model(images, {"probabilities": softmax(logits(model(images)))})


def rebuilt(model, new_layer):
    """Copies a model, its weights too, with other layers."""
    import keras

    def clone(layer):
        if isinstance(layer, keras.Model):
            return keras.models.clone_model(layer, clone_function=clone)
        return new_layer(layer)

    copy = clone(model)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        # It computes with a copy of its weights, which it takes when they are loaded.
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return copy


def check_installed(form):
    """Raises a ValueError if a package that a format needs is not there."""
    if form == ONNX:
        for package in ("onnx", "tf2onnx"):
            if importlib.util.find_spec(package) is None:
                raise ValueError(
                    f"`format` onnx needs {package}: in a checkout of mm_tf, "
                    "pip install --editable '.[export]'. Received: format='onnx'"
                )


def write(form, model, class_names, folder, images=None):
    """Writes a model in a format."""
    if images is None:
        images = _colored(model.input_shape[1:])
    _WRITERS[form](model, class_names, folder, images)


def _colored(shape):
    height, width, channels = shape
    colors = np.random.default_rng(0).integers(0, 256, (4, 2, 2, channels), "uint8")
    rows, columns = (np.arange(size) * 2 // size for size in (height, width))
    return colors[:, rows][:, :, columns]


def _saved_model(model, class_names, folder, images):
    import keras
    import tensorflow as tf

    from mm_tf.experiments.serving import decoding

    *size, channels = model.input_shape[1:]
    names = tf.constant(class_names)

    def of_images(images):
        chances = model(images)["probabilities"]
        return {
            "probabilities": chances,
            "probability": tf.reduce_max(chances, axis=-1),
            "class_name": tf.gather(names, tf.argmax(chances, axis=-1)),
        }

    def of_bytes(image_bytes):
        return of_images(decoding.decode(image_bytes, tuple(size), channels))

    archive = keras.export.ExportArchive()
    archive.track(model)
    pixels = tf.TensorSpec((None, *size, channels), tf.uint8, name="images")
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("serving_default", of_images, input_signature=[pixels])
    archive.add_endpoint("serving_bytes", of_bytes, input_signature=[encoded])
    archive.add_endpoint("class_names", lambda: {"class_names": names}, [])
    archive.write_out(folder, verbose=False)


@contextlib.contextmanager
def _converting(form):
    """Makes what a converter fails with, of any type, a ValueError.

    What it warns of, as what it uses itself, no reader can act on.
    """
    log = logging.getLogger("tf2onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"`format` {form} does not fit this network: its converter fails "
            f"({lines[0][:200]}). Use another. Received: format={form!r}"
        ) from error
    finally:
        log.setLevel(level)


def _onnx(model, class_names, folder, images):
    import json

    import keras
    import onnx

    for layer in model._flatten_layers():
        # Tensors that are no weights would become inputs of the graph.
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.array(layer.mean), np.array(layer.variance)
    path = folder / "model.onnx"
    with _converting(ONNX):
        # Keras exports what has been called.
        model(np.zeros((1, *model.input_shape[1:]), "uint8"))
        model.export(path, format="onnx", verbose=False, opset_version=_OPSET)
    written = onnx.load(path)
    onnx.helper.set_model_props(written, {"class_names": json.dumps(class_names)})
    onnx.save(written, path)
    if importlib.util.find_spec("onnxruntime") is None:
        return
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    _check(ONNX, model, lambda x: session.run(None, {"images": x})[0], images)


def _tflite(model, class_names, folder, images):
    import keras
    import tensorflow as tf

    pixels = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="images")
    copy = rebuilt(model, _for_tflite)
    with _converting(TFLITE), tempfile.TemporaryDirectory() as scratch:
        archive = keras.export.ExportArchive()
        archive.track(copy)
        archive.add_endpoint("serving_default", copy, input_signature=[pixels])
        archive.write_out(os.path.join(scratch, "model"), verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            os.path.join(scratch, "model"), signature_keys=["serving_default"]
        )
        content = converter.convert()
        served = tf.lite.Interpreter(model_content=content).get_signature_runner()
    _check(TFLITE, model, lambda x: served(images=x)["probabilities"], images)
    (folder / "model.tflite").write_bytes(content)


def _for_tflite(layer):
    """The layer, or a head that brings features to unit length in another way.

    Of what a head does the converter makes one operation, and it leaves features below
    a length of 1e-6 as they are. Those of a network whose batch normalizations have
    not settled yet are.
    """
    from keras import ops

    from mm_tf import layers

    class Head(layers.NormalizedDense):
        def call(self, inputs):
            # One of each vector's numbers is then 1, or the vector is as good as zero.
            largest = ops.max(ops.abs(inputs), axis=-1, keepdims=True)
            features = inputs / ops.maximum(largest, layers._SMALLEST_NORM)
            squared = ops.sum(ops.square(features), axis=-1, keepdims=True)
            features = features * ops.rsqrt(ops.maximum(squared, 1.0))
            return ops.matmul(features, layers._to_unit_length(self.kernel, axis=0))

    kind = Head if type(layer) is layers.NormalizedDense else type(layer)
    return kind.from_config(layer.get_config())


def _check(form, model, served, images):
    """Refuses what a converter got wrong."""
    with _converting(form):
        found = served(images)
    difference = np.abs(found - np.asarray(model(images)["probabilities"])).max()
    if not difference < _MOST_DIFFERENCE:
        raise ValueError(
            f"`format` {form} does not fit this network: its converter gives one with "
            f"other probabilities, by {difference:.2g}. Use another. "
            f"Received: format={form!r}"
        )


_WRITERS = {SAVED_MODEL: _saved_model, ONNX: _onnx, TFLITE: _tflite}
FORMATS = tuple(_WRITERS)
