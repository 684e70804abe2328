"""Exports, each loaded by its own runtime in a process without mm_tf."""

import dataclasses
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from made_up_images import save_classes
from PIL import Image

from mm_tf import _files, backbones, calibration, class_weights, layers, models
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.export import export, main
from mm_tf.experiments.run import run
from mm_tf.experiments.runs import finished, images
from mm_tf.experiments.serving import formats
from mm_tf.experiments.serving.export import _offsets, _read_holdout
from mm_tf.experiments.serving.probabilities import probabilities

# What a process that serves does. TensorFlow imports Keras by itself.
LOADING = {
    "saved_model": """
import tensorflow as tf
served = tf.saved_model.load(folder).signatures
all_names = served["class_names"]()["class_names"].numpy()
assert [name.decode() for name in all_names] == labels
of_images = served["serving_default"](images=tf.constant(images))
of_files = served["serving_bytes"](image_bytes=tf.constant(files))
for found in of_images, of_files:
    out = found["probabilities"].numpy()
    answers.append((out, [name.decode() for name in found["class_name"].numpy()]))
    np.testing.assert_array_equal(found["probability"].numpy(), out.max(-1))
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(folder + "/model.onnx")
out, = session.run(["probabilities"], {"images": images})
kept = session.get_modelmeta().custom_metadata_map["class_names"]
assert json.loads(kept) == labels
answers.append((out, [labels[j] for j in out.argmax(-1)]))
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""",
    "tflite": """
from ai_edge_litert.interpreter import Interpreter
served = Interpreter(folder + "/model.tflite").get_signature_runner("serving_default")
out = served(images=images)["probabilities"]
answers.append((out, [labels[j] for j in out.argmax(-1)]))
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""",
}
RUNTIMES = {
    "saved_model": ("tensorflow",),
    "onnx": ("onnxruntime", "tf2onnx", "onnx"),
    "tflite": ("ai_edge_litert",),
}


def as_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


def serve(form, folder, pictures, scratch):
    """What a process without mm_tf gets of an export, by each of its signatures.

    Files of images are PNGs of the size of the run, of which the same pixels come.

    Returns:
        Pairs (probabilities, names of classes).
    """
    np.save(scratch / "images.npy", pictures)
    for number, pixels in enumerate(pictures):
        (scratch / f"{number}.png").write_bytes(as_png(pixels))
    script = f"""
import json, sys
import numpy as np
folder, scratch = sys.argv[1:]
images = np.load(scratch + "/images.npy")
files = [open(f"{{scratch}}/{{j}}.png", "rb").read() for j in range(len(images))]
labels = open(folder + "/labels.txt", encoding="utf-8").read().splitlines()
answers = []
{LOADING[form]}
assert "mm_tf" not in sys.modules
assert all(out.dtype == np.float32 for out, _ in answers)
np.savez(scratch + "/out.npz", *[out for out, _ in answers])
print(json.dumps([names for _, names in answers]))
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(scratch)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=scratch,
    )
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout.splitlines()[-1])
    with np.load(scratch / "out.npz") as found:
        return list(zip(found.values(), names, strict=True))


def check_served(form, folder, pictures, scratch, expected, class_names):
    """Each signature gives the probabilities that are expected, and their names."""
    answers = serve(form, folder, pictures, scratch)
    assert len(answers) == (2 if form == "saved_model" else 1)
    for out, names in answers:
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-6)
        assert names == [class_names[j] for j in expected.argmax(-1)]


def skip_without(form):
    for package in RUNTIMES[form]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(
                f"{package} is not installed: pip install --editable '.[export]'"
            )


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    config = RunConfig(
        method="mm_ldam_drw",
        imbalance_ratio=10,
        model="resnet8",
        epochs=3,
        holdout=0.2,
        output_dir=str(tmp_path_factory.mktemp("digits") / "run"),
    )
    run(config)
    return config


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "own"
    save_classes(folder, {"ant": 10, "Bär & Co": 10, "cow": 5})
    config = RunConfig(
        dataset="folder",
        data_dir=str(folder),
        image_size=(16, 12),
        method="ldam",
        model="resnet8",
        epochs=1,
        output_dir=str(folder.parent / "run"),
    )
    run(config)
    return config


def random_images(number, shape):
    return np.random.default_rng(0).integers(0, 256, (number, *shape), dtype="uint8")


@pytest.mark.parametrize("form", formats.FORMATS)
def test_an_export_answers_as_keras_does(form, digits, tmp_path):
    skip_without(form)
    exported = export(digits.run_folder, form, tmp_path / "out", prior="uniform")
    facts = json.loads((exported.folder / "export.json").read_text())
    assert facts == json.loads(json.dumps(exported.facts))
    pictures = random_images(7, (8, 8, 1))
    outputs = finished.load_model(digits.run_folder).predict(pictures, verbose=0)
    adjusted = 10 * outputs / facts["temperature"] + facts["added_to_logits"]
    expected, names = probabilities(adjusted), facts["class_names"]
    check_served(form, exported.folder, pictures, tmp_path, expected, names)
    # The temperature is the hold-out's, and the prior the outputs' own.
    held_out = images.read(digits)
    counts = digits.class_counts
    weights = class_weights.effective_number(counts, digits.effective_number_beta)
    np.testing.assert_allclose(
        facts["added_to_logits"],
        -np.log(counts * weights / (counts @ weights)) - np.log(10),
    )
    of_model = finished.load_model(digits.run_folder).predict(
        held_out.test_images, verbose=0
    )
    temperature = calibration.fit_temperature(
        10 * of_model,
        held_out.test_labels,
        calibration.prior_adjustment(counts * weights, counts),
    )
    assert facts["temperature"] == pytest.approx(temperature, rel=1e-4)
    measured = facts["calibration"]
    assert measured["images"] == len(held_out.test_labels) > 0
    before, after = (
        measured[f"negative_log_likelihood_{name}"] for name in ("before", "after")
    )
    assert after <= before


def test_weights_that_were_never_used_are_no_part_of_the_prior(digits):
    result = finished.read_result(digits.run_folder)
    train = digits.class_counts / digits.class_counts.sum()
    offset, of_train = _offsets(train, digits, result)
    np.testing.assert_allclose(offset, of_train)
    assert np.ptp(offset) > 0.5
    # Deferred beyond the last epoch.
    offset, _ = _offsets(train, dataclasses.replace(digits, epochs=1), result)
    np.testing.assert_allclose(offset, 0, atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("form", formats.FORMATS)
def test_an_export_of_colour_images_answers_as_keras_does(form, photos, tmp_path):
    skip_without(form)
    exported = export(photos.run_folder, form, tmp_path / "out")
    assert exported.facts["temperature"] == 1 and not any(
        exported.facts["added_to_logits"]
    )
    pictures = random_images(5, (16, 12, 3))
    outputs = finished.load_model(photos.run_folder).predict(pictures, verbose=0)
    names = sorted(["ant", "Bär & Co", "cow"])
    expected = probabilities(outputs, 30)
    check_served(form, exported.folder, pictures, tmp_path, expected, names)


def of_saved_model(folder, images):
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return served(images=tf.constant(images))["probabilities"]


def of_onnx(folder, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    return session.run(["probabilities"], {"images": images})[0]


def of_tflite(folder, images):
    served = tf.lite.Interpreter(str(folder / "model.tflite")).get_signature_runner()
    return served(images=images)["probabilities"]


def settle(model, images):
    """Gives batch normalizations the statistics of these images."""
    import keras

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)


SERVING = {"saved_model": of_saved_model, "onnx": of_onnx, "tflite": of_tflite}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "is_settled"),
    # One of each way in which pixels are scaled, and one whose features are tiny.
    [
        ("EfficientNetV2B0", True),
        ("MobileNet", True),
        ("DenseNet121", True),
        ("VGG16", True),
        ("MobileNetV3Small", False),
    ],
)
def test_a_backbone_answers_as_in_keras_in_all_formats(name, is_settled, tmp_path):
    backbone = backbones.build(name, (32, 32, 3), seed=0)
    model = models.with_cosine_head(backbone, 3, seed=0)
    model = formats.with_probabilities(model, 10.0, np.zeros(3))
    # Of noise alone deep layers see the same in all, and statistics mean nothing.
    colors = random_images(32, (2, 2, 3))
    pictures = colors.repeat(16, axis=1).repeat(16, axis=2)
    if is_settled:
        settle(model, pictures)
    expected = model.predict(pictures, verbose=0)["probabilities"]
    for form, served in SERVING.items():
        skip_without(form)
        folder = tmp_path / form
        folder.mkdir()
        formats.write(form, model, ["ant", "bee", "cow"], folder)
        found = served(folder, pictures)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def small_model(pixels_are_multiplied_by=1):
    import keras

    images = keras.Input((4, 4, 3))
    features = keras.layers.Rescaling(pixels_are_multiplied_by)(images)
    cosines = layers.NormalizedDense(3)(keras.layers.Flatten()(features))
    model = keras.Model(images, cosines)
    return formats.with_probabilities(model, 10.0, np.zeros(3))


def test_features_that_are_nearly_zero_are_those_of_tflite_too(tmp_path):
    model = small_model(pixels_are_multiplied_by=1e-11)
    # It is refused where its probabilities are others.
    formats.write("tflite", model, ["ant", "bee", "cow"], tmp_path)
    pictures = random_images(3, (4, 4, 3))
    found = of_tflite(tmp_path, pictures)
    assert np.ptp(found, axis=0).min() > 0.01
    np.testing.assert_allclose(found, model(pictures)["probabilities"], rtol=1e-4)


def adapted():
    """A network with a `Normalization` that has seen images, as EfficientNetB's."""
    import keras

    images = keras.Input((32, 32, 3))
    normalization = keras.layers.Normalization()
    inner = keras.Model(images, normalization(images))
    normalization.adapt(random_images(5, (32, 32, 3)))
    cosines = layers.NormalizedDense(10)(keras.layers.Flatten()(inner(images)))
    model = keras.Model(images, cosines)
    model.layers[-1].set_weights([np.random.default_rng(0).normal(size=(3072, 10))])
    return model


@pytest.mark.parametrize(
    "build", [lambda: models.resnet_cifar(10, depth=8, seed=1), adapted]
)
def test_a_network_in_half_precision_is_exported_in_float32(build):
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build()
    finally:
        keras.config.set_dtype_policy("float32")
    whole = build()
    pictures = random_images(3, (32, 32, 3))
    np.testing.assert_allclose(
        formats.in_float32(half).predict(pictures, verbose=0),
        whole.predict(pictures, verbose=0),
        atol=1e-6,
    )
    assert formats.in_float32(whole) is whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: RUN"),
        (["nowhere"], "`run` must be the folder of a finished run"),
        (["RUN", "--format=coreml"], "invalid choice: 'coreml'"),
        (["RUN", "--prior=often"], "must be uniform, train or numbers"),
        (["RUN", "--prior=1,2"], "`prior` must be uniform, train or 10 numbers"),
        (["RUN", "--prior=0,1,1,1,1,1,1,1,1,1"], "numbers > 0"),
        (["RUN", "--output=OTHER"], "`output` must be a new or empty folder"),
        (["RUN", "--output=OTHER", "--overwrite"], "holds other files"),
        (["WITHOUT", "--calibrate"], "`calibrate` needs a run with a hold-out"),
        (["RUN", "--calibrate", "--nocalibrate"], "not allowed with"),
    ],
)
def test_what_the_command_refuses(arguments, message, digits, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    without = without_hold_out(digits, tmp_path / "without")
    places = {"RUN": digits.run_folder, "OTHER": other, "WITHOUT": without}
    given = []
    for each in arguments:
        for name, place in places.items():
            each = each.replace(name, str(place))
        given.append(each)
    with pytest.raises(SystemExit) as left:
        main(given)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


def test_a_wrong_argument_imports_no_tensorflow(digits):
    script = f"""
import sys
from mm_tf.experiments.export import main
try:
    main([{str(digits.run_folder)!r}, "--prior=1,2"])
except SystemExit as left:
    assert left.code == 2
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_what_a_converter_gets_wrong_is_refused(form, tmp_path, monkeypatch):
    skip_without(form)
    monkeypatch.setattr(formats, "_MOST_DIFFERENCE", 0.0)
    with pytest.raises(ValueError, match=f"`format` {form} does not fit .* other prob"):
        formats.write(form, small_model(), ["ant", "bee", "cow"], tmp_path)


@pytest.mark.parametrize(
    ("form", "of"),
    [
        ("onnx", "keras.Model.export"),
        ("tflite", "tensorflow.lite.TFLiteConverter.from_saved_model"),
    ],
)
def test_a_converter_that_fails_is_told_in_a_message(form, of, tmp_path, monkeypatch):
    skip_without(form)

    def fail(*arguments, **options):
        raise RuntimeError("no such operation: Foo\nat length")

    monkeypatch.setattr(of, fail)
    with pytest.raises(ValueError) as error:
        formats.write(form, small_model(), ["ant", "bee", "cow"], tmp_path)
    assert str(error.value) == (
        f"`format` {form} does not fit this network: its converter fails "
        f"(no such operation: Foo). Use another. Received: format='{form}'"
    )


def without_hold_out(digits, folder):
    """A run as that of digits, which says that it has no hold-out."""
    shutil.copytree(digits.run_folder, folder)
    result = json.loads((folder / "result.json").read_text())
    result["evaluated_on"] = "test"
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def written(form, model, class_names, folder, images):
    (folder / "model").write_text(form)


def test_a_run_is_calibrated_where_it_has_a_hold_out(
    digits, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(formats, "write", written)
    output = tmp_path / "out"

    def said(run_folder, *arguments):
        main([str(run_folder), f"--output={output}", "--overwrite", *arguments])
        facts = json.loads((output / "export.json").read_text())
        return facts, capsys.readouterr().out.splitlines()[0]

    facts, words = said(digits.run_folder)
    assert words.startswith("Calibrated on 100 held-out images: temperature ")
    assert facts["temperature"] != 1 and facts["not_calibrated"] is None
    assert facts == said(digits.run_folder, "--calibrate")[0]
    facts, words = said(digits.run_folder, "--nocalibrate")
    assert words == "Not calibrated: it was left out (--nocalibrate)"
    assert facts["temperature"] == 1 and facts["calibration"] is None
    facts, words = said(without_hold_out(digits, tmp_path / "without"))
    assert words == "Not calibrated: the run has no hold-out (--holdout)"
    assert facts["not_calibrated"] == "the run has no hold-out (--holdout)"
    assert facts["temperature"] == 1


def test_advice_on_photos_that_changed_is_the_commands(tmp_path):
    folder = save_classes(tmp_path / "photos", {"ant": 4, "bee": 4})
    config = RunConfig(dataset="folder", data_dir=str(folder), data_digest="0" * 16)
    with pytest.raises(ValueError, match="--data_dir.*the images are not") as told:
        _read_holdout(config, None)
    assert "--nocalibrate" in str(told.value) and "Leave it out" not in str(told.value)


def test_a_hold_out_that_is_gone_is_told(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "write", written)

    def gone(config):
        raise DatasetUnavailableError("Not there.")

    monkeypatch.setattr(images, "load_whole", gone)
    message = "--data_dir.* --nocalibrate .* Not there"
    with pytest.raises(DatasetUnavailableError, match=message):
        export(digits.run_folder, output=tmp_path / "out")
    export(digits.run_folder, output=tmp_path / "out", calibrate=False)


def test_the_backend_is_looked_at_before_the_images(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr(images, "load_whole", lambda config: pytest.fail("read"))
    with pytest.raises(ValueError, match="`backend` must be tensorflow"):
        export(digits.run_folder, output=tmp_path / "out")


def test_an_export_is_replaced_if_asked_for(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(formats, "write", written)
    output = tmp_path / "out"
    main(
        [
            str(digits.run_folder),
            f"--output={output}",
            "--format=tflite",
            "--nocalibrate",
        ]
    )
    assert f"Written: {output}\n" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds an export; --overwrite"):
        export(digits.run_folder, "saved_model", output)

    def fail(form, model, class_names, folder, images):
        (folder / "model").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(formats, "write", fail)
    with pytest.raises(_files.WriteError, match="No space left"):
        export(digits.run_folder, output=output, calibrate=False, overwrite=True)
    assert (output / "model").read_text() == "tflite"
    monkeypatch.setattr(formats, "write", written)
    export(digits.run_folder, output=output, calibrate=False, overwrite=True)
    assert (output / "model").read_text() == "saved_model"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
