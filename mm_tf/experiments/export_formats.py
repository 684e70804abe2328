"""A Keras model with probabilities, written in the formats of other runtimes."""

import contextlib
import importlib.util
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

# Features of a length below this one are as good as zero.
_SMALLEST_FEATURE = 1e-12


def with_probabilities(model, scale, offset):
    """Puts a softmax behind a model.

    p_j = softmax_j(s z_j + a_j)

    Args:
        model: A `keras.Model`, pixels from 0 to 255 in, outputs z [N, K] out.
        scale: s.
        offset: a, [K].

    Returns:
        A `keras.Model` that computes in float32, `images` uint8 [N, height, width,
        channels] in, {"probabilities": float32 [N, K]} out.

    Example:

    >>> import numpy as np
    >>> from mm_tf import models
    >>> from mm_tf.experiments.export_formats import with_probabilities
    >>> model = models.resnet_cifar(10, depth=8)
    >>> model = with_probabilities(model, scale=10.0, offset=np.zeros(10))
    >>> model(np.zeros([2, 32, 32, 3], "uint8"))["probabilities"].shape
    TensorShape([2, 10])
    """
    import keras

    images = keras.Input(model.input_shape[1:], dtype="uint8", name="images")
    logits = keras.layers.Rescaling(scale, offset=list(offset), dtype="float32")
    softmax = keras.layers.Softmax(dtype="float32")
    return keras.Model(images, {"probabilities": softmax(logits(model(images)))})


def rebuilt(model, new_layer):
    """Copies a model, its weights too, with other layers.

    Args:
        model: A `keras.Model` that is made of layers by the functional API; it may
            hold others of its kind.
        new_layer: Called with each layer and operation that is no such model. Gives
            what takes its place, of equal weights.

    Returns:
        A `keras.Model`.

    Example:

    >>> from mm_tf import models
    >>> from mm_tf.experiments.export_formats import rebuilt
    >>> model = models.resnet_cifar(10, depth=8)
    >>> copy = rebuilt(model, lambda layer: layer.from_config(layer.get_config()))
    >>> copy.count_params() == model.count_params()
    True
    """
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
                    "pip install '.[export]'. Received: format='onnx'"
                )


def write(form, model, class_names, folder):
    """Writes a model in a format.

    Args:
        form: `"saved_model"`, `"onnx"` or `"tflite"`.
        model: As `with_probabilities` gives it.
        class_names: The K names.
        folder: An empty `pathlib.Path` to write into.

    Raises:
        ValueError: A converter fails, or what it gives has other probabilities.
        OSError: A file cannot be written.
    """
    _WRITERS[form](model, class_names, folder)


def _saved_model(model, class_names, folder):
    import keras
    import tensorflow as tf

    from mm_tf.experiments import export_decoding

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
        return of_images(export_decoding.decode(image_bytes, tuple(size), channels))

    archive = keras.export.ExportArchive()
    archive.track(model)
    images = tf.TensorSpec((None, *size, channels), tf.uint8, name="images")
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("serving_default", of_images, input_signature=[images])
    archive.add_endpoint("serving_bytes", of_bytes, input_signature=[encoded])
    archive.add_endpoint("class_names", lambda: {"class_names": names}, [])
    archive.write_out(folder, verbose=False)


@contextlib.contextmanager
def _converting(form):
    """Makes what a converter fails with, of any type, a ValueError.

    What it warns of, as what it uses itself, no reader can act on.
    """
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


def _onnx(model, class_names, folder):
    import json

    import onnx

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
    _check(ONNX, model, lambda images: session.run(None, {"images": images})[0])


def _tflite(model, class_names, folder):
    import keras
    import tensorflow as tf

    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="images")
    copy = rebuilt(model, _for_tflite)
    with _converting(TFLITE), tempfile.TemporaryDirectory() as scratch:
        archive = keras.export.ExportArchive()
        archive.track(copy)
        archive.add_endpoint("serving_default", copy, input_signature=[images])
        archive.write_out(os.path.join(scratch, "model"), verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            os.path.join(scratch, "model"), signature_keys=["serving_default"]
        )
        content = converter.convert()
        served = tf.lite.Interpreter(model_content=content).get_signature_runner()
    _check(TFLITE, model, lambda images: served(images=images)["probabilities"])
    (folder / "model.tflite").write_bytes(content)


def _for_tflite(layer):
    """The layer, or a head whose features are stretched before TFLite does it.

    The converter makes one operation of what brings features to the length 1, and it
    leaves those below a length of 1e-6 as they are. A network whose batch
    normalizations have not settled yet may have such ones.
    """
    from keras import ops

    from mm_tf.layers import NormalizedDense

    class Head(NormalizedDense):
        def call(self, inputs):
            largest = ops.max(ops.abs(inputs), axis=-1, keepdims=True)
            return super().call(inputs / ops.maximum(largest, _SMALLEST_FEATURE))

    kind = Head if type(layer) is NormalizedDense else type(layer)
    return kind.from_config(layer.get_config())


def _check(form, model, served):
    """Refuses what a converter got wrong."""
    shape = (2, *model.input_shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
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
