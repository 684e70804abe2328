"""A Keras model with probabilities, written in the formats of other runtimes.

Keras writes ONNX and LiteRT. A SavedModel has more signatures than Keras's own export
gives, so it is put together here.
"""

import importlib.util
import logging
import warnings

import numpy as np

from mm_tf import _files
from mm_tf._text import first_line

SAVED_MODEL = "saved_model"
ONNX = "onnx"
TFLITE = "tflite"

# All that the formats write into a folder.
WRITTEN = (
    *("saved_model.pb", "fingerprint.pb", "assets", "variables"),
    *("variables/variables.index", "variables/variables.data-?????-of-?????"),
    *("model.onnx", "model.tflite"),
)

# The operators that all runtimes of the last years have, and tf2onnx writes.
_OPSET = 17

# Of probabilities, between Keras and a converted model.
_MOST_DIFFERENCE = 1e-4


def check_installed(form):
    """Raises a ValueError if something that a format needs is not there."""
    if form == ONNX:
        for package in ("onnx", "tf2onnx"):
            if importlib.util.find_spec(package) is None:
                raise ValueError(
                    f"`format` onnx needs {package}: in a checkout of mm_tf, "
                    "pip install --editable '.[export]'. Received: format='onnx'"
                )
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`backend` must be tensorflow to export. "
            f"Received: backend={keras.backend.backend()!r}"
        )


def in_float32(model):
    """The model, computing in float32, which its weights are in every precision."""
    import keras

    def new_layer(layer):
        settings = layer.get_config()
        if isinstance(layer, keras.Layer):  # And not an operation, such as `Add`.
            settings["dtype"] = "float32"
        return layer.__class__.from_config(settings)

    if all(each.compute_dtype == "float32" for each in model._flatten_layers()):
        return model
    return _rebuild(model, new_layer)


def with_probabilities(model, scale, offset):
    """Puts a softmax behind a model.

    p_j = softmax_j(s z_j + a_j)
    """
    import keras

    images = keras.Input(model.input_shape[1:], dtype="uint8", name="images")
    logits = keras.layers.Rescaling(scale, offset=list(offset), dtype="float32")
    softmax = keras.layers.Softmax(dtype="float32")
    return keras.Model(images, {"probabilities": softmax(logits(model(images)))})


def write(form, model, class_names, folder):
    """Writes a model; a converted one must answer as Keras's does."""
    if form == SAVED_MODEL:
        _write_saved_model(model, class_names, folder)
        return
    height, width, channels = model.input_shape[1:]
    colors = np.random.default_rng(0).integers(0, 256, (4, 2, 2, channels), "uint8")
    rows, columns = (np.arange(size) * 2 // size for size in (height, width))
    images = colors[:, rows][:, :, columns]
    # Keras exports to ONNX only what has been called.
    expected = np.asarray(model(images)["probabilities"])
    try:
        with warnings.catch_warnings():
            # No reader can act on them.
            warnings.simplefilter("ignore")
            found = _CONVERTERS[form](model, class_names, folder, images)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(
            f"`format` {form} does not fit this network: its converter fails "
            f"({first_line(error)[:200]}). Use another. Received: format={form!r}"
        ) from error
    difference = 0.0 if found is None else np.abs(found - expected).max()
    if not difference < _MOST_DIFFERENCE:
        raise ValueError(
            f"`format` {form} does not fit this network: the converted network gives "
            f"other probabilities, by {difference:.2g}. Use another. "
            f"Received: format={form!r}"
        )


def _write_saved_model(model, class_names, folder):
    import keras
    import tensorflow as tf

    from mm_tf.experiments.serving import decoding

    *size, channels = model.input_shape[1:]
    names = tf.constant(class_names)

    def from_images(images):
        chances = model(images)["probabilities"]
        return {
            "probabilities": chances,
            "probability": tf.reduce_max(chances, axis=-1),
            "class_name": tf.gather(names, tf.argmax(chances, axis=-1)),
        }

    def from_bytes(image_bytes):
        return from_images(decoding.decode(image_bytes, tuple(size), channels))

    archive = keras.export.ExportArchive()
    archive.track(model)
    pixels = tf.TensorSpec((None, *size, channels), tf.uint8, name="images")
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("serving_default", from_images, input_signature=[pixels])
    archive.add_endpoint("serving_bytes", from_bytes, input_signature=[encoded])
    archive.add_endpoint("class_names", lambda: {"class_names": names}, [])
    archive.write_out(folder, verbose=False)


def _to_onnx(model, class_names, folder, images):
    import keras
    import onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    for layer in model._flatten_layers():
        # Tensors that are no weights would become inputs of the graph.
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.array(layer.mean), np.array(layer.variance)
    path = folder / "model.onnx"
    model.export(path, format="onnx", verbose=False, opset_version=_OPSET)
    written = onnx.load(path)
    names = _files.json_text(class_names).strip()
    onnx.helper.set_model_props(written, {"class_names": names})
    onnx.save(written, path)
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {"images": images})[0]


def _to_tflite(model, class_names, folder, images):
    import tensorflow as tf

    path = str(folder / "model.tflite")
    # LiteRT has no others: Keras allows those of TensorFlow too.
    operations = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    _rebuild(model, _for_tflite).export(
        path, format="litert", verbose=False, target_spec=operations
    )
    served = tf.lite.Interpreter(path).get_signature_runner()
    return served(images=images)["probabilities"]


def _for_tflite(layer):
    """The layer, or a head that brings features to unit length in another way.

    The converter makes one operation of what a head does, and that leaves features
    below a length of 1e-6 as they are. A network has such features as long as its
    batch normalizations have not settled.
    """
    from keras import ops

    from mm_tf import layers

    class Head(layers.NormalizedDense):
        def call(self, inputs):
            # The largest number of each vector is then 1, or the vector nearly zero.
            largest = ops.max(ops.abs(inputs), axis=-1, keepdims=True)
            scaled = inputs / ops.maximum(largest, 1e-12)
            return super().call(scaled)

    kind = Head if type(layer) is layers.NormalizedDense else type(layer)
    return kind.from_config(layer.get_config())


def _rebuild(model, new_layer):
    """Copies a model with its weights, each layer made by `new_layer`."""
    import keras

    copy = keras.models.clone_model(model, clone_function=new_layer, recursive=True)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        # It computes with a copy of its weights, made when they are loaded.
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return copy


# Each writes a model, and returns its answers to images where it can be tried.
_CONVERTERS = {ONNX: _to_onnx, TFLITE: _to_tflite}
FORMATS = (SAVED_MODEL, *_CONVERTERS)
