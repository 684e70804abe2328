"""Runs with the fast recipe, on photos of 12 pixels."""

import numpy as np
import pytest
from made_up_images import save_classes

from mm_tf import models
from mm_tf.experiments.run import RunConfig, run
from mm_tf.experiments.runs import finished, training
from mm_tf.experiments.runs.data import read

FAST = dict(
    **dict(dataset="folder", image_size=12, recipe="fast", epochs=2, warmup_epochs=1),
    **dict(batch_size=16, precision="float32"),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fast") / "photos"
    return save_classes(folder, {"ant": 15, "bee": 10, "cow": 5})


def config_of(photos, **arguments):
    return RunConfig(**{**FAST, **arguments}, data_dir=str(photos))


def test_a_result_is_the_mean_over_views(photos, tmp_path):
    config = config_of(photos, output_dir=str(tmp_path / "run"))
    result = run(config)
    _, data = read(config)
    averaged = finished.load_model(config.run_folder)
    outputs = averaged.predict(data.test_images[:], verbose=0)
    wrong = outputs.argmax(axis=-1) != data.test_labels
    assert result.top1_error == pytest.approx(100 * wrong.mean())
    trained = averaged.get_layer("whitened_cnn")
    of_one = trained.predict(data.test_images[:], verbose=0)
    wrong = of_one.argmax(axis=-1) != data.test_labels
    assert result.top1_error_one_view == pytest.approx(100 * wrong.mean())
    views = models.mean_over_views(trained, 6).predict(data.test_images[:], verbose=0)
    np.testing.assert_allclose(outputs, views, atol=1e-6)
    # One view's errors after each epoch stay.
    rows = (config.run_folder / "per_class_error.csv").read_text().splitlines()
    assert len(rows) == 1 + config.epochs
    with np.load(config.run_folder / "predictions.npz") as saved:
        np.testing.assert_array_equal(saved["predictions"], outputs.argmax(axis=-1))


def test_the_network_and_the_order_are_the_recipes(photos):
    config, data = read(config_of(photos))
    model = training.build_model(config, data.info, data.train_images)
    assert model.name == "whitened_cnn"
    assert np.abs(model.get_layer("whitening").get_weights()[1]).max() > 0
    assert "flip" not in [layer.name for layer in model.layers]
    assert (model.optimizer.nesterov, model.optimizer.vector_rate) == (True, 8.0)
    steps = 2 * config.steps_per_epoch
    assert model.optimizer.get_config()["learning_rate"]["config"]["steps"] == steps
    order = training.build_order(config, data.train_labels, data.info)
    assert order.mirrored(0) is not None
    kinds = [type(callback).__name__ for callback in training.schedule(config)]
    assert kinds == ["DeferredReweighting"]
