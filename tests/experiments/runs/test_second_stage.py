"""cRT, LWS and tau-norm: another head on the backbone of a run of ERM."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers import TINY, weights_of
from made_up import RUN_FILES

from mm_tf.data import DATASETS
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.run import run
from mm_tf.experiments.runs import finished, first_stage, second_stage, training

WEIGHTS = "first_stage.weights.h5"


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """Runs of ERM, of cRT by itself, and of the three on the first stage of another."""
    folder = tmp_path_factory.mktemp("two")
    base = RunConfig(**TINY, method="erm", epochs=1, second_stage_epochs=2)
    made = {}

    def make(name, method, **places):
        output = str(folder / name)
        made[name] = dataclasses.replace(
            base, method=method, output_dir=output, **places
        )
        run(made[name])

    make("erm", "erm")
    make("crt", "crt")
    make("crt_of_erm", "crt", first_stage=str(folder / "erm"))
    make("lws", "lws", first_stage=str(folder / "crt"))
    make("tau_norm", "tau_norm", first_stage=str(folder / "erm"))
    return made


@pytest.fixture(scope="module")
def models(configs):
    return {name: finished.load_model(c.run_folder) for name, c in configs.items()}


def backbone(model):
    part = keras.Model(model.input, model.get_layer("features").output)
    return weights_of(part)


def head(model):
    return [np.array(weight) for weight in model.get_layer("head").get_weights()]


def same(these, those):
    assert len(these) == len(those)
    for this, that in zip(these, those, strict=True):
        np.testing.assert_array_equal(this, that)


def test_the_backbone_is_that_of_erm_bit_for_bit(models):
    for name in ("crt", "crt_of_erm", "lws", "tau_norm"):
        same(backbone(models[name]), backbone(models["erm"]))


def test_a_run_by_itself_equals_one_on_a_run_of_erm(configs, models):
    same(weights_of(models["crt"]), weights_of(models["crt_of_erm"]))
    first = training.build_model(configs["erm"], DATASETS["digits"])
    first.load_weights(configs["crt"].run_folder / WEIGHTS)
    same(weights_of(first), weights_of(models["erm"]))
    names = {path.name for path in configs["crt"].run_folder.iterdir()}
    assert names == RUN_FILES | {WEIGHTS}


def test_a_second_stage_begins_with_a_fresh_head_or_that_of_erm(configs, models):
    for name in ("crt_of_erm", "lws"):
        model = training.build_model(configs[name], DATASETS["digits"])
        drawn = head(model)
        first_stage.start(configs[name], None, model, verbose=0)
        same(backbone(model), backbone(models["erm"]))
        same(head(model), drawn if name == "crt_of_erm" else head(models["erm"]))


def test_crt_trains_its_head(configs, models):
    fresh = training.build_model(configs["crt"], DATASETS["digits"])
    kernels = [head(each)[0] for each in (models["crt"], models["erm"], fresh)]
    assert all(np.abs(kernels[0] - other).max() > 1e-3 for other in kernels[1:])
    history = (configs["crt"].run_folder / "history.csv").read_text().splitlines()
    assert len(history) == 3
    result = finished.read_result(configs["crt"].run_folder)
    assert result.hyperparameters == {"second_stage_epochs": 2}
    assert result.top1_error == float(history[-1].split(",")[_column(history[0])])
    assert all(layer.trainable for layer in models["crt"].layers)


def _column(line):
    return line.split(",").index("test_top1_error")


def test_lws_scales_the_outputs_of_the_head_of_erm(models):
    same(head(models["lws"]), head(models["erm"]))
    (scales,) = models["lws"].get_layer("scales").get_weights()
    assert scales.shape == (10,) and np.abs(scales - 1).max() > 1e-3
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype="uint8")
    logits, scaled = (
        models[name].predict(images, verbose=0) for name in ("erm", "lws")
    )
    np.testing.assert_allclose(scaled, logits * scales, rtol=1e-5)
    # With scales of 1 it is ERM.
    unscaled = second_stage.add_scales(models["erm"])
    np.testing.assert_array_equal(unscaled.predict(images, verbose=0), logits)


def test_tau_norm_divides_weight_vectors_by_their_lengths(configs, models):
    kernel, _ = head(models["erm"])
    normalized, bias = head(models["tau_norm"])
    lengths = np.sqrt((kernel.astype("float64") ** 2).sum(axis=0))
    np.testing.assert_allclose(normalized, kernel / lengths, rtol=1e-6)
    np.testing.assert_array_equal(bias, np.zeros(10))
    np.testing.assert_allclose(second_stage.normalized(kernel, 0), kernel, rtol=1e-7)
    result = finished.read_result(configs["tau_norm"].run_folder)
    assert result.hyperparameters == {"tau": 1.0}
    saved = np.load(configs["tau_norm"].run_folder / "predictions.npz")
    error = 100 * np.mean(saved["labels"] != saved["predictions"])
    assert result.top1_error == pytest.approx(error)


def test_tau_is_chosen_on_the_hold_out():
    config = RunConfig(**TINY, method="tau_norm", holdout=0.2)
    model = training.build_model(config, DATASETS["digits"])
    random = np.random.default_rng(0)
    kernel = random.normal(size=(64, 10)) * np.linspace(0.2, 3, 10)
    model.get_layer("head").set_weights([kernel, np.ones(10)])

    class Data:
        test_images = random.integers(0, 256, (60, 8, 8, 1), dtype="uint8")
        test_labels = np.arange(60) % 10

    features = keras.Model(model.input, model.get_layer("features").output)
    outputs = features.predict(Data.test_images, verbose=0)
    errors = []
    for tau in np.arange(21) / 10:
        logits = outputs @ (kernel / np.sqrt((kernel**2).sum(0)) ** tau)
        wrong = logits.argmax(1) != Data.test_labels
        errors.append(np.mean([wrong[Data.test_labels == j].mean() for j in range(10)]))
    chosen = second_stage.normalize_head(model, Data, has_holdout=True)
    assert errors[round(10 * chosen)] == min(errors) < max(errors)


def test_classes_are_drawn_equally_often():
    config = RunConfig(**TINY, method="crt")
    labels = np.repeat(np.arange(10), config.class_counts)
    drawn = training.build_order(config, labels, DATASETS["digits"])._probabilities
    np.testing.assert_allclose(np.bincount(labels, drawn), 0.1)


def test_the_rate_of_the_second_stage():
    config = RunConfig(**TINY, method="lws", warmup_epochs=5)
    (rate,) = training.schedule(config)
    rates = [rate.schedule(epoch) for epoch in range(30)]
    np.testing.assert_allclose(rates[4:10], 0.1)
    np.testing.assert_allclose(rates[10:20], 0.01)
    np.testing.assert_allclose(rates[20:], 0.001)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed=0 there, 1 here"),
        ({"model": "resnet20"}, "model='resnet8' there"),
        ({"imbalance_ratio": 10.0}, "imbalance_ratio=20.0 there, 10.0 here"),
        ({"mixup": 1.0}, "mixup=0.0 there, 1.0 here"),
        ({"epochs": 3}, "epochs=1 there, 3 here"),
        ({"nesterov": True}, "nesterov=False there, True here"),
        ({"vector_rate": 8.0}, "vector_rate=1.0 there, 8.0 here"),
        ({"flip": "alternating"}, "flip='random' there, 'alternating' here"),
        ({"method": "ldam_drw_ssp"}, "It has no first_stage.weights.h5"),
    ],
)
def test_a_first_stage_of_other_flags_is_refused(change, message, configs):
    config = dataclasses.replace(configs["crt_of_erm"], **change)
    model = training.build_model(config, DATASETS["digits"])
    with pytest.raises(ValueError, match=f"`first_stage` must be.*{message}"):
        first_stage.start(config, None, model, verbose=0)


def test_two_names_of_one_flag():
    assert RunConfig(method="crt", pretrained_dir="run").first_stage == "run"
    with pytest.raises(ValueError, match="`pretrained_dir` is the old name of"):
        RunConfig(method="crt", pretrained_dir="run", first_stage="other")


def test_methods_of_two_stages_name_what_they_train():
    stages = {name: row.second_stage for name, row in METHODS.items()}
    assert {n for n, stage in stages.items() if stage != "none"} == {
        *("crt", "lws", "tau_norm")
    }
