"""Exports, each loaded by its own runtime in a process without mm_tf."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from made_up_images import save_classes

from mm_tf import _files, calibration, class_weights, data
from mm_tf.experiments import export_formats, finished, images
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.export import _in_float32, _offsets, export, main
from mm_tf.experiments.probabilities import probabilities
from mm_tf.experiments.run import run

# What a process that serves does. TensorFlow imports Keras by itself.
LOADING = {
    "saved_model": """
import tensorflow as tf
served = tf.saved_model.load(folder)
found = served.signatures["serving_default"](images=tf.constant(images))
out = found["probabilities"].numpy()
names = [name.decode() for name in found["class_name"].numpy()]
all_names = served.signatures["class_names"]()["class_names"].numpy()
assert [name.decode() for name in all_names] == labels
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(folder + "/model.onnx")
out, = session.run(["probabilities"], {"images": images})
kept = session.get_modelmeta().custom_metadata_map["class_names"]
assert json.loads(kept) == labels
names = [labels[j] for j in out.argmax(-1)]
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""",
    "tflite": """
from ai_edge_litert.interpreter import Interpreter
served = Interpreter(folder + "/model.tflite").get_signature_runner("serving_default")
out = served(images=images)["probabilities"]
names = [labels[j] for j in out.argmax(-1)]
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""",
}
RUNTIMES = {
    "saved_model": ("tensorflow",),
    "onnx": ("onnxruntime", "tf2onnx", "onnx"),
    "tflite": ("ai_edge_litert",),
}


def serve(form, folder, pictures, scratch):
    """Probabilities and names that a process without mm_tf gets of an export."""
    np.save(scratch / "images.npy", pictures)
    script = f"""
import json, sys
import numpy as np
folder, scratch = sys.argv[1:]
images = np.load(scratch + "/images.npy")
labels = open(folder + "/labels.txt", encoding="utf-8").read().splitlines()
{LOADING[form]}
assert "mm_tf" not in sys.modules
assert out.dtype == np.float32
np.save(scratch + "/out.npy", out)
print(json.dumps(names))
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
    return np.load(scratch / "out.npy"), json.loads(done.stdout.splitlines()[-1])


def skip_without(form):
    for package in RUNTIMES[form]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install '.[export]'")


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


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=[pytest.mark.long] if form == "saved_model" else [])
        for form in export_formats.FORMATS
    ],
)
def test_an_export_answers_as_keras_does(form, digits, tmp_path):
    skip_without(form)
    exported = export(
        digits.run_folder, form, tmp_path / "out", calibrate=True, prior="uniform"
    )
    facts = json.loads((exported.folder / "export.json").read_text())
    assert facts == json.loads(json.dumps(exported.facts))
    pictures = random_images(7, (8, 8, 1))
    out, names = serve(form, exported.folder, pictures, tmp_path)
    outputs = finished.load_model(digits.run_folder).predict(pictures, verbose=0)
    adjusted = 10 * outputs / facts["temperature"] + facts["added_to_logits"]
    expected = probabilities(adjusted)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    assert names == [facts["class_names"][j] for j in expected.argmax(-1)]
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
@pytest.mark.parametrize("form", export_formats.FORMATS)
def test_an_export_of_colour_images_answers_as_keras_does(form, photos, tmp_path):
    skip_without(form)
    exported = export(photos.run_folder, form, tmp_path / "out")
    assert exported.facts["temperature"] == 1 and not any(
        exported.facts["added_to_logits"]
    )
    pictures = random_images(5, (16, 12, 3))
    out, names = serve(form, exported.folder, pictures, tmp_path)
    outputs = finished.load_model(photos.run_folder).predict(pictures, verbose=0)
    expected = probabilities(outputs, 30)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    assert names == [sorted(["ant", "Bär & Co", "cow"])[j] for j in expected.argmax(-1)]


@pytest.mark.long
def test_files_of_images_are_decoded_by_the_saved_model(photos, tmp_path):
    exported = export(photos.run_folder, output=tmp_path / "1")
    served = tf.saved_model.load(str(exported.folder)).signatures["serving_bytes"]
    own = data.load("folder", photos.data_dir, data.ReadOptions(image_size=(16, 12)))
    paths = own.test_images.paths
    found = served(image_bytes=tf.constant([open(p, "rb").read() for p in paths]))
    model = finished.load_model(photos.run_folder)
    expected = probabilities(model.predict(own.test_images[:], verbose=0), 30)
    # Pixels may differ by 1 of 255, see `export_decoding`.
    np.testing.assert_allclose(found["probabilities"], expected, atol=0.02)


def test_a_network_in_half_precision_is_exported_in_float32():
    import keras

    from mm_tf import models

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = models.resnet_cifar(10, depth=8, seed=1)
    finally:
        keras.config.set_dtype_policy("float32")
    whole = models.resnet_cifar(10, depth=8, seed=1)
    pictures = random_images(3, (32, 32, 3))
    np.testing.assert_allclose(
        _in_float32(half).predict(pictures, verbose=0),
        whole.predict(pictures, verbose=0),
        atol=1e-6,
    )
    assert _in_float32(whole) is whole


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
        (["RUN", "--output=OTHER", "--overwrite"], "holds something else"),
        (["WITHOUT", "--calibrate"], "`calibrate` needs a run with a hold-out"),
    ],
)
def test_what_the_command_refuses(arguments, message, digits, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    without = tmp_path / "without"
    without.mkdir()
    for name in ("result.json", "flags.txt"):
        text = (digits.run_folder / name).read_text()
        (without / name).write_text(text.replace("--holdout=0.2\n", ""))
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
    assert message in said and said.count("\n") == 1
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


def test_what_the_converter_gets_wrong_is_refused(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(export_formats, "_MOST_DIFFERENCE", 0.0)
    with pytest.raises(ValueError, match="`format` tflite does not fit"):
        export(digits.run_folder, "tflite", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_export_is_replaced_if_asked_for(digits, tmp_path, monkeypatch, capsys):
    def write(form, model, class_names, folder):
        (folder / "model").write_text(form)

    monkeypatch.setattr(export_formats, "write", write)
    output = tmp_path / "out"
    main([str(digits.run_folder), f"--output={output}", "--format=tflite"])
    assert f"Written: {output}\n" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds an export; --overwrite"):
        export(digits.run_folder, "saved_model", output)

    def fail(form, model, class_names, folder):
        (folder / "model").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_formats, "write", fail)
    with pytest.raises(_files.WriteError, match="No space left"):
        export(digits.run_folder, "saved_model", output, overwrite=True)
    assert (output / "model").read_text() == "tflite"
    monkeypatch.setattr(export_formats, "write", write)
    export(digits.run_folder, "saved_model", output, overwrite=True)
    assert (output / "model").read_text() == "saved_model"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
