"""Tests of `mm_tf.data.pipeline`, on the Keras backend in use and on the others."""

import importlib.util
import warnings
from unittest import mock

import keras
import numpy as np
import pytest
from PIL import Image

from mm_tf.data import (
    ArrayBatches,
    EpochOrder,
    ImageBatches,
    ImageFiles,
    fit_data,
    on_device,
    prediction_data,
    training_pipeline,
)

NUM_EXAMPLES = 23
BATCH_SIZE = 5

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="tf.data needs TensorFlow, which is not installed",
)


@pytest.fixture
def examples():
    """Images whose every pixel is the number of the image, and their labels."""
    numbers = np.arange(NUM_EXAMPLES, dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (NUM_EXAMPLES, 4, 4, 1))
    return images.copy(), (np.arange(NUM_EXAMPLES) % 3).astype(np.int64)


@pytest.fixture(params=["array", "kept files", "decoded files"])
def stored_examples(request, examples, tmp_path):
    """The same images: in memory, or in files that are kept there or not."""
    images, labels = examples
    if request.param == "array":
        return examples
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    memory_limit = 0 if request.param == "decoded files" else 2**20
    return ImageFiles(paths, 4, channels=1, memory_limit=memory_limit), labels


@pytest.fixture
def order(examples):
    return EpochOrder(
        examples[1], BATCH_SIZE, seed=3, class_weights=[1, 1, 5], resample_from=2
    )


@needs_tensorflow
@pytest.mark.parametrize("make", [training_pipeline, ArrayBatches])
def test_an_alternating_flip_shows_both_sides_in_two_epochs(make):
    labels = np.arange(NUM_EXAMPLES) % 3
    images = np.random.default_rng(0).integers(0, 256, (NUM_EXAMPLES, 2, 3, 1), "uint8")
    order = EpochOrder(labels, BATCH_SIZE, seed=3, alternating_flip=True)
    steps = order.steps_per_epoch
    batches = list(make(images, labels, order, epochs=4, first_step=2))
    is_mirrored = np.zeros((4, NUM_EXAMPLES), bool)
    for step, (batch, _) in enumerate(batches, start=2):
        chosen = order.batch(step)
        for index, image in zip(chosen, np.asarray(batch), strict=True):
            mirrored = np.array_equal(image, images[index, :, ::-1])
            assert mirrored or np.array_equal(image, images[index])
            is_mirrored[step // steps, index] = mirrored
    np.testing.assert_array_equal(is_mirrored[1], ~is_mirrored[2])
    np.testing.assert_array_equal(is_mirrored[1], is_mirrored[3])
    assert 4 < is_mirrored[1].sum() < NUM_EXAMPLES - 4
    other = EpochOrder(labels, BATCH_SIZE, seed=4, alternating_flip=True)
    assert any((other.mirrored(i) != order.mirrored(i)).any() for i in range(steps))


def mixed_by_hand(images, labels, seed, epoch, step, kind):
    """One batch, pixel by pixel, from the draws that seed, epoch and step give."""
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch, step, 0))
    generator = np.random.default_rng(sequence)
    partners = generator.permutation(len(images))
    share = generator.beta(1.0, 1.0)
    count, height, width, _ = images.shape
    kept = np.full((height, width), share)
    if kind == "cutmix":
        ends = []
        for side in (height, width):
            half = int(side * (1 - share) ** 0.5) // 2
            middle = generator.integers(side)
            ends.append((middle - half, middle + half))
        (top, bottom), (left, right) = ends
        for row in range(height):
            for column in range(width):
                inside = top <= row < bottom and left <= column < right
                kept[row, column] = 0 if inside else 1
    mixed, soft = np.zeros(images.shape), np.zeros((count, 3))
    for i, j in enumerate(partners):
        mixed[i] = kept[..., None] * images[i] + (1 - kept[..., None]) * images[j]
        soft[i, labels[i]] += kept.mean()
        soft[i, labels[j]] += 1 - kept.mean()
    return mixed, soft


@needs_tensorflow
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("make", [training_pipeline, ArrayBatches])
def test_mixed_batches_are_those_of_seed_epoch_and_step(make, kind):
    labels = np.arange(NUM_EXAMPLES) % 3
    images = np.random.default_rng(0).integers(0, 256, (NUM_EXAMPLES, 6, 5, 2), "uint8")
    order = EpochOrder(labels, BATCH_SIZE, seed=3, num_classes=3, **{kind: 1.0})
    epochs, first = 2, 2
    rectangles = 0
    for step, (x, y) in enumerate(
        make(images, labels, order, epochs, first_step=first), start=first
    ):
        chosen = order.batch(step)
        expected, soft = mixed_by_hand(
            images[chosen],
            labels[chosen],
            3,
            *divmod(step, order.steps_per_epoch),
            kind,
        )
        np.testing.assert_allclose(np.asarray(x), expected, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(np.asarray(y), soft, atol=1e-6)
        assert np.asarray(x).dtype == np.asarray(y).dtype == np.float32
        rectangles += 0 < np.asarray(y).max(1).min() < 1
    assert rectangles > 2


def check_untuned(dataset):
    # The end of one that TensorFlow tunes waits for a thread that may sleep a minute.
    assert dataset.options().autotune.enabled is False


def numbers_of(images):
    return np.asarray(images)[:, 0, 0, 0].tolist()


@needs_tensorflow
@pytest.mark.parametrize("make", [training_pipeline, ArrayBatches])
@pytest.mark.parametrize("first_epoch, first_step", [(0, 0), (2, 0), (0, 3), (1, 4)])
def test_batches_are_those_of_the_order(
    make, first_epoch, first_step, stored_examples, order
):
    images, labels = stored_examples
    batches = list(make(images, labels, order, 4, first_epoch, first_step))
    first = first_epoch * order.steps_per_epoch + first_step
    assert len(batches) == 4 * order.steps_per_epoch - first
    for step, (x, y) in enumerate(batches, start=first):
        x, y = np.asarray(x), np.asarray(y)
        assert numbers_of(x) == order.batch(step).tolist()
        assert y.tolist() == labels[order.batch(step)].tolist()
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)


def test_resampling_that_never_comes_is_warned_of(examples, order):
    with pytest.warns(UserWarning, match="resample_from.*epoch 2 .*epochs=2"):
        fit_data(*examples, order, epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_data(*examples, order, epochs=3)


@needs_tensorflow
def test_training_pipeline_declares_what_it_gives_again(stored_examples, order):
    dataset = training_pipeline(*stored_examples, order, epochs=4, first_epoch=1)
    assert int(dataset.cardinality()) == 3 * order.steps_per_epoch
    image_spec, label_spec = dataset.element_spec
    assert image_spec.shape.as_list() == [None, 4, 4, 1]
    assert label_spec.shape.as_list() == [None]
    passes = [[numbers_of(x) for x, _ in dataset] for _ in range(2)]
    assert passes[0] == passes[1]
    check_untuned(dataset)


def test_array_batches_in_any_order_and_an_epoch_beyond_the_end(stored_examples, order):
    batches = ArrayBatches(*stored_examples, order, epochs=2)
    assert batches.num_batches is None
    for index in (0, 0, 1, 7, 3, 4, 4, 12):
        assert numbers_of(batches[index][0]) == order.batch(index).tolist()
    with pytest.raises(IndexError, match="steps_per_epoch=5.*Received: index=15$"):
        batches[3 * order.steps_per_epoch]
    with pytest.raises(IndexError, match="Received: index=-1$"):
        batches[-1]


@needs_tensorflow
def test_a_file_that_breaks_later_is_named(tmp_path, examples, order):
    paths = [tmp_path / "name.png"] * NUM_EXAMPLES
    Image.new("L", (4, 4)).save(paths[0])
    images = ImageFiles(paths, 4, channels=1, memory_limit=0)
    paths[0].write_text("no image any more")
    for make in (training_pipeline, ArrayBatches):
        with pytest.raises(Exception, match="unknown image format.*name.png"):
            list(make(images, examples[1], order, epochs=1))


def test_image_batches_are_all_images_in_their_order(stored_examples):
    images, labels = stored_examples
    alone = ImageBatches(images, batch_size=5)
    labelled = ImageBatches(images, labels, batch_size=5)
    assert len(alone) == len(labelled) == 5
    for index in (0, 1, 2, 3, 4, 3, 4, 0):
        numbers = list(range(NUM_EXAMPLES))[5 * index : 5 * index + 5]
        assert numbers_of(alone[index]) == numbers
        assert numbers_of(labelled[index][0]) == numbers
        assert labelled[index][1].tolist() == labels[numbers].tolist()
    with pytest.raises(IndexError, match="5 batches. Received: index=5$"):
        alone[5]


def test_prediction_and_evaluation_are_those_of_the_array(stored_examples):
    images, labels = stored_examples
    array = images[:]
    keras.utils.set_random_seed(0)
    scale = keras.layers.Rescaling(1 / 255)
    model = keras.Sequential([scale, keras.layers.Flatten(), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    of_array = model.predict(array, batch_size=5, verbose=0)
    data = prediction_data(images, batch_size=5)
    if keras.config.backend() == "tensorflow":
        check_untuned(data)
    of_files = model.predict(data, batch_size=5, verbose=0)
    assert of_files.shape == (NUM_EXAMPLES, 3)
    np.testing.assert_array_equal(of_files, of_array)
    measured = model.evaluate(ImageBatches(images, labels, 5), verbose=0)
    expected = model.evaluate(array, labels, batch_size=5, verbose=0)
    np.testing.assert_allclose(measured, expected, rtol=1e-6)


class SeenExamples(keras.layers.Layer):
    """Keeps how often each example is in the batch that it was last trained on.

    A weight and no Python list, so that the compiled training step fills it.
    """

    def build(self, input_shape):
        self.seen = self.add_weight(
            shape=(NUM_EXAMPLES,), initializer="zeros", trainable=False
        )

    def call(self, images):
        numbers = keras.ops.cast(images[:, 0, 0, 0], "int32")
        one_hot = keras.ops.one_hot(numbers, NUM_EXAMPLES)
        self.seen.assign(keras.ops.sum(one_hot, axis=0))
        return keras.ops.cast(images, "float32")


def check_fit(data, order, epochs, first_epoch=0, **fit_arguments):
    """Checks that a `fit` of an unbuilt model sees each batch in its step."""
    layer, seen = SeenExamples(), []
    model = keras.Sequential([layer, keras.layers.Flatten(), keras.layers.Dense(3)])

    def after_step(batch, logs):
        if keras.config.backend() == "jax":
            model.jax_state_sync()
        seen.append(keras.ops.convert_to_numpy(layer.seen).tolist())

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-6), loss)
    steps = order.steps_per_epoch
    model.fit(
        data,
        epochs=epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=after_step)],
        verbose=0,
        **fit_arguments,
    )
    assert seen == [
        np.bincount(order.batch(step), minlength=NUM_EXAMPLES).tolist()
        for step in range(first_epoch * steps, epochs * steps)
    ]


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
@pytest.mark.parametrize("stored_examples", ["array", "decoded files"], indirect=True)
@pytest.mark.parametrize("first_epoch, shuffle", [(0, True), (1, False)])
def test_fit_sees_every_batch_of_every_epoch_once(
    first_epoch, shuffle, examples, stored_examples, order
):
    data = fit_data(*stored_examples, order, epochs=4, first_epoch=first_epoch)
    on_tensorflow = keras.config.backend() == "tensorflow"
    assert isinstance(data, ArrayBatches) != on_tensorflow
    check_fit(data, order, 4, first_epoch, shuffle=shuffle, validation_data=examples)


# The CPU stands in for the accelerator that a test machine need not have.


@pytest.mark.skipif(keras.config.backend() != "jax", reason="only JAX does so")
@pytest.mark.parametrize("gathers", [True, False])
def test_fit_sees_the_same_where_jax_gathers_on_the_device_or_looks_ahead(
    monkeypatch, examples, order, gathers
):
    import jax

    if gathers:
        monkeypatch.setattr(on_device, "_device_for", lambda size: jax.devices()[0])
    else:
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    data = fit_data(*examples, order, epochs=3)
    assert isinstance(data[0][0], jax.Array) or not gathers
    check_fit(data, order, 3, shuffle=False)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="only tf.data does")
def test_fit_sees_the_same_when_prefetched_to_a_device(monkeypatch, examples, order):
    import tensorflow as tf

    cpus = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: cpus)
    prefetch = mock.Mock(wraps=tf.data.experimental.prefetch_to_device)
    monkeypatch.setattr(tf.data.experimental, "prefetch_to_device", prefetch)
    data = fit_data(*examples, order, epochs=3)
    prefetch.assert_called_once_with(cpus[0].name, 2)
    check_fit(data, order, 3, shuffle=False)
