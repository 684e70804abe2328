import keras
import numpy as np
import pytest

from mm_tf import losses, metrics

COUNTS = [500, 101, 100, 20, 19, 1]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("many", [1, 1, 0, 0, 0, 0]),
        ("medium", [0, 0, 1, 1, 0, 0]),
        ("few", [0, 0, 0, 0, 1, 1]),
    ],
)
def test_shot_groups(group, expected):
    np.testing.assert_array_equal(metrics.shot_group(COUNTS, group), expected)


def test_per_class_error_counts_by_hand():
    labels, predictions = [0, 0, 0, 1, 2, 2], [0, 1, 0, 1, 0, 1]
    errors = metrics.per_class_error(labels, predictions, 4)
    np.testing.assert_allclose(errors, [100 / 3, 0, 100, np.nan])
    assert metrics.mean_error(errors) == pytest.approx(400 / 9)
    assert metrics.mean_error(errors, np.array([0, 1, 1, 0], bool)) == 50
    assert metrics.mean_error(errors, np.zeros(4, bool)) is None


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 50)  # The last class has no images.
    return labels, generator.normal(size=(50, 6)).astype("float32")


def update_in_batches(metric, labels, outputs):
    for start in range(0, 50, 16):
        part = slice(start, start + 16)
        metric.update_state(labels[part], outputs[part])
    return float(metric.result())


def test_balanced_accuracy_is_scikit_learns(answers):
    from sklearn.metrics import balanced_accuracy_score

    labels, outputs = answers
    expected = balanced_accuracy_score(labels, outputs.argmax(axis=1))
    metric = metrics.BalancedAccuracy(6)
    assert update_in_batches(metric, labels, outputs) == pytest.approx(expected)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize("group", metrics.SHOT_GROUPS)
def test_shot_accuracy_is_one_minus_the_error(answers, group):
    labels, outputs = answers
    errors = metrics.per_class_error(labels, outputs.argmax(axis=1), 6)
    error = metrics.mean_error(errors, metrics.shot_group(COUNTS, group))
    metric = metrics.ShotAccuracy(COUNTS, group)
    measured = update_in_batches(metric, labels, outputs)
    assert measured == pytest.approx(1 - error / 100)


def test_sample_weight_zero_is_an_image_less(answers):
    labels, outputs = answers
    kept = np.arange(50) % 3 > 0
    metric = metrics.BalancedAccuracy(6)
    metric.update_state(labels, outputs, sample_weight=kept.astype("float32"))
    fewer = metrics.BalancedAccuracy(6)
    fewer.update_state(labels[kept], outputs[kept])
    assert float(metric.result()) == pytest.approx(float(fewer.result()))


@pytest.mark.parametrize(
    "metric",
    [metrics.BalancedAccuracy(6), metrics.ShotAccuracy(COUNTS, "few")],
    ids=lambda metric: metric.name,
)
def test_round_trip(metric, answers):
    config = keras.saving.serialize_keras_object(metric)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == metric.get_config()
    assert update_in_batches(copy, *answers) == update_in_batches(metric, *answers)


def test_a_label_that_only_the_graph_sees_counts_nowhere(answers):
    if keras.backend.backend() == "torch":
        pytest.skip("torch runs eagerly: there the label is an error")
    labels, outputs = answers
    wrong = np.where(np.arange(50) % 3 > 0, labels, 6)
    model = keras.Sequential([keras.Input([6]), keras.layers.Activation("linear")])
    model.compile(loss=losses.Focal(), metrics=[metrics.BalancedAccuracy(6)])
    seen = model.evaluate(outputs, wrong, verbose=0, return_dict=True)
    fewer = metrics.BalancedAccuracy(6)
    fewer.update_state(labels[wrong < 6], outputs[wrong < 6])
    assert seen["balanced_accuracy"] == pytest.approx(float(fewer.result()))


def test_the_largest_share_of_a_soft_label_is_its_class():
    metric = metrics.BalancedAccuracy(2)
    metric.update_state([[0.9, 0.1], [0.4, 0.6]], np.eye(2, dtype="float32")[[0, 0]])
    assert float(metric.result()) == 0.5


def test_empty_group_has_no_accuracy():
    with pytest.raises(ValueError, match="No class is few-shot"):
        metrics.ShotAccuracy([500, 50], "few")


@pytest.mark.parametrize(
    "metric",
    [metrics.BalancedAccuracy(2), metrics.ShotAccuracy([500, 5], "few")],
    ids=["balanced", "shot"],
)
def test_mode_auto_knows_that_more_is_better(metric):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
    model.compile("sgd", losses.Focal(), metrics=[metric])
    stop = keras.callbacks.EarlyStopping(f"val_{metric.name}", patience=1)
    x, y = np.eye(2), np.arange(2)
    model.fit(x, y, validation_data=(x, y), callbacks=[stop], verbose=0)
    assert stop.monitor_op is keras.ops.greater
