"""Tests of `mm_tf.data.pipeline`, on the Keras backend in use and on the others."""

import importlib.util

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


@needs_tensorflow
def test_training_pipeline_declares_what_it_gives_again(stored_examples, order):
    dataset = training_pipeline(*stored_examples, order, epochs=4, first_epoch=1)
    assert int(dataset.cardinality()) == 3 * order.steps_per_epoch
    image_spec, label_spec = dataset.element_spec
    assert image_spec.shape.as_list() == [None, 4, 4, 1]
    assert label_spec.shape.as_list() == [None]
    passes = [[numbers_of(x) for x, _ in dataset] for _ in range(2)]
    assert passes[0] == passes[1]


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
    for order in (range(5), (3, 4, 0)):
        for index in order:
            numbers = list(range(5 * index, min(5 * index + 5, NUM_EXAMPLES)))
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
    of_files = model.predict(data, batch_size=5, verbose=0)
    assert of_files.shape == (NUM_EXAMPLES, 3)
    np.testing.assert_array_equal(of_files, of_array)
    measured = model.evaluate(ImageBatches(images, labels, 5), verbose=0)
    expected = model.evaluate(array, labels, batch_size=5, verbose=0)
    np.testing.assert_allclose(measured, expected, rtol=1e-6)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="others have no tf.data"
)
@pytest.mark.parametrize("kind", ["training", "prediction"])
def test_tensorflow_tunes_no_pipeline(kind, stored_examples, order):
    # The end of one that it tunes waits for a thread that may sleep for a minute.
    images, labels = stored_examples
    dataset = {
        "training": lambda: fit_data(images, labels, order, epochs=1),
        "prediction": lambda: prediction_data(images),
    }[kind]()
    assert dataset.options().autotune.enabled is False


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


class Recorder(keras.callbacks.Callback):
    """Lists what `SeenExamples` kept, by epoch and step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.epochs = {}

    def on_epoch_begin(self, epoch, logs=None):
        self.current = self.epochs[epoch] = []

    def on_train_batch_end(self, batch, logs=None):
        if keras.config.backend() == "jax":
            self.model.jax_state_sync()
        self.current.append(keras.ops.convert_to_numpy(self.layer.seen).tolist())


def record_fit(data, order, epochs, first_epoch=0, **fit_arguments):
    """What a real `fit` of an unbuilt model was trained on, by epoch and step."""
    layer = SeenExamples()
    model = keras.Sequential([layer, keras.layers.Flatten(), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-6), loss)
    recorder = Recorder(layer)
    model.fit(
        data,
        epochs=epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=order.steps_per_epoch,
        callbacks=[recorder],
        verbose=0,
        **fit_arguments,
    )
    return recorder.epochs


def expected_fit(order, epochs, first_epoch=0):
    steps = order.steps_per_epoch
    return {
        epoch: [
            np.bincount(order.batch(step), minlength=NUM_EXAMPLES).tolist()
            for step in range(epoch * steps, (epoch + 1) * steps)
        ]
        for epoch in range(first_epoch, epochs)
    }


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
@pytest.mark.parametrize("stored_examples", ["array", "decoded files"], indirect=True)
@pytest.mark.parametrize("first_epoch, shuffle", [(0, True), (1, False)])
def test_fit_sees_every_batch_of_every_epoch_once(
    first_epoch, shuffle, examples, stored_examples, order
):
    data = fit_data(*stored_examples, order, epochs=4, first_epoch=first_epoch)
    on_tensorflow = keras.config.backend() == "tensorflow"
    assert isinstance(data, ArrayBatches) != on_tensorflow
    seen = record_fit(
        data, order, 4, first_epoch, shuffle=shuffle, validation_data=examples
    )
    assert seen == expected_fit(order, 4, first_epoch)


@pytest.mark.parametrize("gathers", [True, False])
def test_fit_sees_the_same_on_an_accelerator(monkeypatch, examples, order, gathers):
    if keras.config.backend() != "jax":
        pytest.skip("only JAX gathers images on the device, or looks ahead")
    import jax

    # The CPU stands in for the accelerator that a test machine need not have.
    if gathers:
        monkeypatch.setattr(on_device, "_device_for", lambda size: jax.devices()[0])
    else:
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    data = fit_data(*examples, order, epochs=3)
    assert isinstance(data[0][0], jax.Array) or not gathers
    assert record_fit(data, order, 3, shuffle=False) == expected_fit(order, 3)


def test_fit_sees_the_same_when_prefetched_to_a_device(monkeypatch, examples, order):
    if keras.config.backend() != "tensorflow":
        pytest.skip("only tf.data prefetches to a device")
    import tensorflow as tf

    # The CPU stands in for the GPU that a test machine need not have.
    cpus = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: cpus)
    prefetch, devices = tf.data.experimental.prefetch_to_device, []
    monkeypatch.setattr(
        tf.data.experimental,
        "prefetch_to_device",
        lambda device, buffer_size: (
            devices.append(device) or prefetch(device, buffer_size)
        ),
    )
    data = fit_data(*examples, order, epochs=3)
    assert devices == [cpus[0].name]
    assert record_fit(data, order, 3, shuffle=False) == expected_fit(order, 3)
