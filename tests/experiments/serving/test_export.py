"""Exports, each loaded by its own runtime in a process without mm_tf.

One file, because all formats export the same trained runs.
"""

import dataclasses
import json
import os
import shutil

import keras
import numpy as np
import pytest
from helpers import OLD_RUN, python, refused
from made_up import RESULT
from PIL import Image

from mm_tf import _files, backbones, calibration, class_weights, layers, models
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.export import export, main
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs.data import read
from mm_tf.experiments.runs.probabilities import (
    output_prior,
    output_scale,
    probabilities,
)
from mm_tf.experiments.serving import formats

NAMES = ["ant", "Bär & Co", "cow"]

# What a process that serves does. TensorFlow imports Keras by itself.
LOADING = {
    "saved_model": """
import tensorflow as tf
served = tf.saved_model.load(folder).signatures
names = served["class_names"]()["class_names"].numpy()
assert [name.decode() for name in names] == labels
outputs = []
for found in (
    served["serving_default"](images=tf.constant(images)),
    served["serving_bytes"](image_bytes=tf.constant(files)),
):
    outputs.append(found["probabilities"].numpy())
    np.testing.assert_array_equal(found["probability"].numpy(), outputs[-1].max(-1))
    assert (found["class_name"].numpy() == names[outputs[-1].argmax(-1)]).all()
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(folder + "/model.onnx")
outputs = session.run(["probabilities"], {"images": images})
saved = session.get_modelmeta().custom_metadata_map["class_names"]
assert json.loads(saved) == labels
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""",
    "tflite": """
from ai_edge_litert.interpreter import Interpreter
served = Interpreter(folder + "/model.tflite").get_signature_runner("serving_default")
outputs = [served(images=images)["probabilities"]]
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""",
}
SERVING = """
import json, sys
import numpy as np
folder, scratch = sys.argv[1:]
images = np.load(scratch + "/images.npy")
files = [open(f"{{scratch}}/{{j}}.png", "rb").read() for j in range(len(images))]
labels = open(folder + "/labels.txt", encoding="utf-8").read().splitlines()
{}
assert "mm_tf" not in sys.modules
assert all(each.dtype == np.float32 for each in outputs)
np.savez(scratch + "/outputs.npz", *outputs)
"""
PACKAGES = {
    "saved_model": ("tensorflow",),
    "onnx": ("onnxruntime", "tf2onnx", "onnx"),
    "tflite": ("ai_edge_litert",),
}


EXTRAS = ("onnx", "tflite")


def skip_without(form):
    for package in PACKAGES[form]:
        pytest.importorskip(package)


def check_served(form, folder, pixels, scratch, expected, class_names, atol=1e-6):
    """Each signature answers images, and PNGs of the same pixels, as expected."""
    np.save(scratch / "images.npy", pixels)
    for number, each in enumerate(pixels):
        Image.fromarray(each.squeeze()).save(scratch / f"{number}.png")
    labels = (folder / "labels.txt").read_text(encoding="utf-8")
    assert labels.splitlines() == class_names
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    script = SERVING.format(LOADING[form])
    done = python("-c", script, folder, scratch, env=environment, cwd=scratch)
    assert done.returncode == 0, done.stderr
    with np.load(scratch / "outputs.npz") as outputs:
        assert len(outputs) == (2 if form == "saved_model" else 1)
        for found in outputs.values():
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol)


def check_written(form, model, pixels, folder, **tolerance):
    """A model that is written answers as Keras does; returns its probabilities."""
    expected = model.predict(pixels, verbose=0)["probabilities"]
    place = folder / form
    place.mkdir()
    formats.write(form, model, NAMES, place)
    (place / "labels.txt").write_text("\n".join(NAMES), encoding="utf-8")
    check_served(form, place, pixels, folder, expected, NAMES, **tolerance)
    return expected


def random_images(number, shape):
    return np.random.default_rng(0).integers(0, 256, (number, *shape), dtype="uint8")


def change_result(folder, **changes):
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A finished run, with the flags of one with a hold-out."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    shutil.copytree(OLD_RUN, folder)
    with (folder / "flags.txt").open("a") as file:
        file.write("--holdout=0.2\n")
    change_result(folder, evaluated_on="holdout")
    return folder


@pytest.fixture
def without_holdout(digits, tmp_path):
    shutil.copytree(digits, tmp_path / "without")
    change_result(tmp_path / "without", evaluated_on="test")
    return tmp_path / "without"


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=pytest.mark.long if form in EXTRAS else ())
        for form in formats.FORMATS
    ],
)
def test_an_export_answers_as_keras_does(form, digits, tmp_path):
    skip_without(form)
    exported = export(digits, form, tmp_path / "out", prior="uniform")
    facts = json.loads((exported.folder / "export.json").read_text())
    assert facts == json.loads(json.dumps(exported.facts))
    pixels, model = random_images(7, (8, 8, 1)), finished.load_model(digits)
    outputs = model.predict(pixels, verbose=0)
    adjusted = 10 * outputs / facts["temperature"] + facts["added_to_logits"]
    expected, names = probabilities(adjusted), facts["class_names"]
    check_served(form, exported.folder, pixels, tmp_path, expected, names)
    # The temperature belongs to the hold-out, and the prior to the outputs.
    config, result = finished.read_config(digits), finished.read_result(digits)
    holdout, counts = read(config)[1], np.array(result.class_counts)
    weights = class_weights.effective_number(counts, config.effective_number_beta)
    np.testing.assert_allclose(
        facts["added_to_logits"],
        -np.log(counts * weights / (counts @ weights)) - np.log(10),
    )
    temperature = calibration.fit_temperature(
        10 * model.predict(holdout.test_images, verbose=0),
        holdout.test_labels,
        calibration.prior_adjustment(counts * weights, counts),
    )
    assert facts["temperature"] == pytest.approx(temperature, rel=1e-4)
    measured = facts["calibration"]
    assert measured["images"] == len(holdout.test_labels) > 0
    before, after = (
        measured[f"negative_log_likelihood_{name}"] for name in ("before", "after")
    )
    assert after <= before


def test_weights_that_were_never_used_are_no_part_of_the_prior(digits):
    config, result = finished.read_config(digits), finished.read_result(digits)
    train = np.array(result.class_counts) / sum(result.class_counts)
    assert np.ptp(np.log(output_prior(config, result.class_counts) / train)) > 0.5
    # Deferred beyond the last epoch.
    never = dataclasses.replace(config, epochs=1)
    np.testing.assert_allclose(output_prior(never, result.class_counts), train)


@pytest.mark.long
# One of each way in which pixels are scaled.
@pytest.mark.parametrize(
    "name", ["EfficientNetV2B0", "MobileNet", "DenseNet121", "VGG16"]
)
def test_a_backbone_answers_as_in_keras_in_all_formats(name, tmp_path):
    backbone = backbones.build(name, (32, 32, 3), seed=0)
    model = models.with_cosine_head(backbone, 3, seed=0)
    model = formats.with_probabilities(model, 10.0, np.zeros(3))
    # Deep layers see the same in all noise, and statistics of that mean nothing.
    pixels = random_images(32, (2, 2, 3)).repeat(16, axis=1).repeat(16, axis=2)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(pixels, training=True)
    for form in formats.FORMATS:
        skip_without(form)
        check_written(form, model, pixels, tmp_path, atol=1e-5)


def small_model(pixels_are_multiplied_by=1):
    images = keras.Input((4, 4, 3))
    features = keras.layers.Rescaling(pixels_are_multiplied_by)(images)
    head = layers.NormalizedDense(3, keras.initializers.RandomNormal(seed=0))
    cosines = head(keras.layers.Flatten()(features))
    return formats.with_probabilities(keras.Model(images, cosines), 10.0, np.zeros(3))


@pytest.mark.long
def test_features_that_are_nearly_zero_are_those_of_tflite_too(tmp_path):
    skip_without("tflite")
    model = small_model(pixels_are_multiplied_by=1e-11)
    expected = check_written("tflite", model, random_images(3, (4, 4, 3)), tmp_path)
    assert np.ptp(expected, axis=0).min() > 0.01


def adapted():
    """A network with a `Normalization` that has seen images, as EfficientNetB's."""
    images = keras.Input((32, 32, 3))
    normalization = keras.layers.Normalization()
    inner = keras.Model(images, normalization(images))
    normalization.adapt(random_images(5, (32, 32, 3)))
    cosines = layers.NormalizedDense(10)(keras.layers.Flatten()(inner(images)))
    model = keras.Model(images, cosines)
    model.layers[-1].set_weights([np.random.default_rng(0).normal(size=(3072, 10))])
    return model


def fast():
    """The fast recipe's network, with the mean over views."""
    images = random_images(8, (32, 32, 3))
    model = models.whitened_cnn(10, images, "normalized", (8, 16, 16), seed=0)
    return models.mean_over_views(model, 6)


@pytest.mark.parametrize(
    "build", [lambda: models.resnet_cifar(10, depth=8, seed=1), adapted, fast]
)
def test_a_network_in_half_precision_is_exported_in_float32(build):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build()
    finally:
        keras.config.set_dtype_policy("float32")
    whole = build()
    pixels = random_images(3, (32, 32, 3))
    np.testing.assert_allclose(
        formats.in_float32(half).predict(pixels, verbose=0),
        whole.predict(pixels, verbose=0),
        atol=1e-6,
    )
    assert formats.in_float32(whole) is whole


@pytest.mark.long
def test_the_mean_over_views_answers_as_in_keras_in_all_formats(tmp_path):
    model = formats.with_probabilities(fast(), 10.0, np.zeros(10))
    for form in formats.FORMATS:
        skip_without(form)
        pixels = random_images(5, (32, 32, 3))
        check_written(form, model, pixels, tmp_path, atol=1e-5)


def test_ldam_has_a_scale_of_its_own():
    hyperparameters = {"ldam_scale": 30}
    result = dataclasses.replace(RESULT, method="ldam", hyperparameters=hyperparameters)
    assert output_scale(result) == 30


@pytest.mark.long
@pytest.mark.parametrize("form", EXTRAS)
def test_a_converter_that_fails_or_errs_is_refused(form, tmp_path, monkeypatch):
    skip_without(form)
    with monkeypatch.context() as patch:
        patch.setattr(formats, "_MOST_DIFFERENCE", 0.0)
        with pytest.raises(ValueError, match=f"`format` {form} does not fit .* other"):
            formats.write(form, small_model(), NAMES, tmp_path)

    def fail(*arguments, **options):
        raise RuntimeError("no such operation: Foo\nat length")

    monkeypatch.setattr("keras.Model.export", fail)
    with pytest.raises(ValueError, match=r"fails \(no such operation: Foo\). Use an"):
        formats.write(form, small_model(), NAMES, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: RUN"),
        (["nowhere"], "`run` must be the folder of a finished run"),
        (["RUN", "--format=coreml"], "tflite. Received: format='coreml'"),
        (["RUN", "--prior=often"], "`prior` must be uniform, train, 10 numbers"),
        (["RUN", "--prior=1,2"], "`prior` must be uniform, train, 10 numbers"),
        (["RUN", "--prior=0,1,1,1,1,1,1,1,1,1"], "numbers > 0"),
        (["RUN", "--output=OTHER"], "`output` must be a new or empty folder"),
        (["RUN", "--output=OTHER", "--overwrite"], "this one holds mine.txt"),
        (["WITHOUT", "--calibrate"], "`calibrate` needs a run with a hold-out"),
        (["RUN", "--calibrate", "--nocalibrate"], "not allowed with"),
    ],
)
def test_what_the_command_refuses(
    arguments, message, digits, without_holdout, tmp_path
):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    places = {"RUN": digits, "OTHER": other, "WITHOUT": without_holdout}
    given = list(arguments)
    for name, place in places.items():
        given = [each.replace(name, str(place)) for each in given]
    assert message in refused(main, given)
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


@pytest.fixture
def quick(monkeypatch):
    """An export that writes only the name of the format."""

    def write(form, model, class_names, folder):
        (folder / "model.onnx").write_text(form)

    monkeypatch.setattr(formats, "write", write)


def test_a_run_is_calibrated_where_it_has_a_holdout(
    digits, without_holdout, tmp_path, quick, capsys
):
    def exported(run, *arguments):
        main([str(run), f"--output={tmp_path / 'out'}", "--overwrite", *arguments])
        facts = json.loads((tmp_path / "out" / "export.json").read_text())
        return facts, capsys.readouterr().out.splitlines()[0]

    facts, words = exported(digits)
    assert words.startswith("Calibrated on 84 held-out images: temperature ")
    assert facts["temperature"] != 1 and facts["not_calibrated"] is None
    assert facts == exported(digits, "--calibrate")[0]
    facts, words = exported(digits, "--nocalibrate")
    assert words == "Not calibrated: switched off by --nocalibrate"
    assert facts["temperature"] == 1 and facts["calibration"] is None
    assert export(without_holdout).folder == without_holdout / "export" / "saved_model"
    facts, words = exported(without_holdout)
    assert words == "Not calibrated: the run has no hold-out (--holdout)"
    assert facts["temperature"] == 1


@pytest.mark.parametrize("kind", [DatasetUnavailableError, ValueError])
def test_a_holdout_that_cannot_be_read(kind, digits, tmp_path, quick, monkeypatch):
    def gone(*arguments):
        raise kind("Not there.")

    monkeypatch.setattr("mm_tf.experiments.runs.data.load", gone)
    with pytest.raises(kind, match="--data_dir.* --nocalibrate .* Not there"):
        export(digits, output=tmp_path / "out")
    export(digits, output=tmp_path / "out", calibrate=False)


def test_the_backend_is_checked_before_images_are_read(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("mm_tf.experiments.runs.data.load", None)
    with pytest.raises(ValueError, match="`backend` must be tensorflow"):
        export(digits, output=tmp_path / "out")


def test_an_export_is_replaced_only_with_overwrite(digits, tmp_path, quick):
    def write(form, overwrite):
        export(digits, form, tmp_path / "out", calibrate=False, overwrite=overwrite)
        return (tmp_path / "out" / "model.onnx").read_text()

    def fail(form, model, class_names, folder):
        (folder / "model").write_text("half")
        raise OSError(28, "No space left on device")

    assert write("tflite", overwrite=False) == "tflite"
    with pytest.raises(ValueError, match="with --overwrite an earlier export"):
        write("saved_model", overwrite=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "write", fail)
        with pytest.raises(_files.WriteError, match="No space left"):
            write("saved_model", overwrite=True)
    assert (tmp_path / "out" / "model.onnx").read_text() == "tflite"
    assert write("saved_model", overwrite=True) == "saved_model"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["README.md", ".git", "variables"])
def test_an_export_among_a_users_files_is_not_replaced(name, digits, tmp_path, quick):
    export(digits, output=tmp_path, calibrate=False)
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=f"this one holds {name}"):
        export(digits, output=tmp_path, calibrate=False, overwrite=True)
    assert (tmp_path / name / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("text", ['{"mine": 1}', "[]", "1", "mine"])
def test_a_users_file_of_the_same_name_is_no_export(text, digits, tmp_path, quick):
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(ValueError, match="this one holds export.json"):
        export(digits, output=tmp_path, calibrate=False, overwrite=True)
    assert (tmp_path / "export.json").read_text() == text
