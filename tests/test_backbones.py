"""Networks of `keras.applications`: names, pixels, weights, frozen epochs."""

import inspect
import urllib.request
import warnings

import keras
import numpy as np
import pytest
from helpers import Stopped, stop_after
from keras import ops

import mm_tf
from mm_tf import backbones, callbacks, checkpoints, models, optimizers
from mm_tf.data import EpochOrder


def values(model):
    return [ops.convert_to_numpy(variable) for variable in model.variables]


def same(these, those):
    return all(np.array_equal(a, b) for a, b in zip(these, those, strict=True))


def test_all_networks_of_keras_are_known():
    there = {
        name
        for name, what in vars(keras.applications).items()
        if inspect.isfunction(what)
    }
    assert set(backbones.APPLICATIONS) == there


@pytest.mark.parametrize("name", backbones.APPLICATIONS)
def test_pixels_are_scaled_as_keras_says(name):
    # The module of the family, from the function that makes the network.
    module = inspect.getmodule(getattr(keras.applications, name))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("float32")
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(
        inputs, backbones.scale(inputs, backbones.APPLICATIONS[name].scaling) * 1.0
    )
    found = ops.convert_to_numpy(model(pixels))
    expected = module.preprocess_input(pixels.copy())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_a_network_is_of_its_seed_and_takes_grey_images(tmp_path):
    one, same_seed, other = (
        backbones.build("MobileNet", (32, 40, 1), seed=seed) for seed in (1, 1, 2)
    )
    assert same(values(one), values(same_seed))
    assert not same(values(one), values(other))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 1), dtype=np.uint8)
    model = models.with_cosine_head(one, 4, crop_padding=2, seed=0)
    cosines = model.predict(images, verbose=0)
    assert cosines.shape == (3, 4) and abs(cosines).max() <= 1 + 1e-6
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(images[:2], verbose=0), cosines[:2], 1e-3)


def mobilenet(**kwargs):
    return keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), **kwargs
    )


@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet121", "MobileNetV3Small"])
def test_a_network_of_keras_gets_the_pixels_that_it_expects(name):
    network = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    scaling = backbones.APPLICATIONS[name].scaling
    # As it is, in a model in a model, and with its pixels scaled already.
    assert backbones.scaling_of(network) == scaling
    nested = keras.Sequential([network, keras.layers.Dropout(0.1)])
    assert backbones.scaling_of(nested) == scaling
    assert backbones.scaling_of(backbones.build(name, (32, 32, 1))) == "inside"
    inputs = keras.Input((32, 32, 3))
    scaled = keras.Model(inputs, network(inputs / 255))
    assert backbones.scaling_of(scaled) == "inside"


def test_default_scaling_is_that_of_the_network():
    network = mobilenet(include_top=False)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    model = models.with_cosine_head(network, 5)
    features = keras.Model(model.input, model.get_layer("features").output)
    expected = network.predict(pixels / 127.5 - 1, verbose=0).mean((1, 2))
    np.testing.assert_allclose(
        features.predict(pixels, verbose=0), expected, rtol=1e-3, atol=1e-5
    )


def test_pixels_that_nothing_scales_are_warned_of():
    convolution = keras.layers.Conv2D(4, 3)
    backbone = keras.Sequential([keras.Input([8, 8, 3]), convolution])
    with pytest.warns(UserWarning, match="`scaling` is not given.*0 to 255") as caught:
        models.with_cosine_head(backbone, 3)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.with_cosine_head(backbone, 3, scaling="inside")
        scaled = keras.Sequential(
            [keras.Input([8, 8, 3]), keras.layers.Rescaling(1 / 255), convolution]
        )
        models.with_cosine_head(scaled, 3)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_backbone_with_its_top_is_refused(activation):
    with pytest.raises(ValueError, match="without its top .*Received.*predictions"):
        models.with_cosine_head(mobilenet(classifier_activation=activation), 5)
    own = keras.layers.Dense(7, activation="softmax")
    with pytest.raises(ValueError, match="`backbone` must give features"):
        models.with_cosine_head(
            keras.Sequential([keras.Input([2, 2, 1]), keras.layers.Flatten(), own]), 5
        )


def test_weights_on_disk(tmp_path):
    network = keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    path = tmp_path / "mine.weights.h5"
    network.save_weights(path)
    built = backbones.build("MobileNet", (32, 32, 3), weights=path)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(
        built.predict(pixels, verbose=0),
        network.predict(pixels / 127.5 - 1, verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )
    whole = (
        r"`weights` must be of VGG16 without its top \(A total of \d+ objects could "
        r"not be loaded\)\. Received"
    )
    with pytest.raises(backbones.WeightsError, match=whole):
        backbones.build("VGG16", (32, 32, 3), weights=path)
    for wrong in (tmp_path / "none.h5", tmp_path, __file__):
        with pytest.raises(backbones.WeightsError, match=r"\.h5 that is there"):
            backbones.check_file(wrong)


@pytest.mark.long
def test_published_weights_of_efficientnet_are_divided_once_more(tmp_path):
    network = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    rescale, normalization = network.layers[1:3]
    std = np.array([0.229, 0.224, 0.225])
    normalization.set_weights([np.array([0.485, 0.456, 0.406]), std, np.int32(0)])
    normalization.finalize_state()
    path = tmp_path / "published.weights.h5"
    network.save_weights(path)
    built = backbones.build("EfficientNetB0", (32, 32, 3), weights=path)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    # As keras.applications has it for imagenet: divided by the root of the variance
    # twice.
    twice = normalization(rescale(pixels)) / np.sqrt(std).astype("float32")
    (nested,) = (each for each in built.layers if isinstance(each, keras.Model))
    pushed = built.get_layer("published")(pixels)
    normalized = nested.layers[2](nested.layers[1](pushed))
    np.testing.assert_allclose(
        ops.convert_to_numpy(normalized), ops.convert_to_numpy(twice), atol=1e-4
    )


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def fail(*_, **__):
        raise OSError("there is no network")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setattr(keras.utils, "get_file", fail)
    monkeypatch.setattr(
        inspect.getmodule(keras.applications.MobileNet).file_utils, "get_file", fail
    )
    whole = (
        r"`weights`: those of MobileNet on ImageNet cannot be downloaded \(there is "
        r"no network\)\. On a computer without internet, .*copy the file .* and give "
        r"its path as weights\. Received: weights='imagenet'$"
    )
    with pytest.raises(backbones.WeightsError, match=whole):
        backbones.build("MobileNet", (224, 224, 3), weights="imagenet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("efficientnetv2-b0", (32, 32, 3)), "Did you mean EfficientNetV2B0?"),
        (("Xception", (32, 80, 3)), "at least 71 x 71 pixels for Xception"),
        (("MobileNet", (32, 32, 2)), "1 or 3 channels"),
    ],
)
def test_wrong_networks(arguments, message):
    with pytest.raises(ValueError, match=message):
        backbones.build(*arguments)


def small_model():
    """A model with batch normalization and dropout in its backbone."""
    backbone = keras.Sequential(
        [
            keras.Input([8, 8, 1]),
            keras.layers.Conv2D(
                4, 3, kernel_initializer=keras.initializers.HeNormal(0)
            ),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2, seed=0),
        ],
        name="backbone",
    )
    model = models.with_cosine_head(
        backbone, 3, scaling="inside", crop_padding=1, seed=0
    )
    model.compile(optimizers.SGD(0.1), mm_tf.losses.MaximumMargin())
    return model


IMAGES = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), dtype=np.uint8)
LABELS = np.arange(24) % 3
FROZEN_EPOCHS = 2


def train(folder, steps=None):
    """Four epochs of two steps, stopped after some steps; returns the values."""
    model, order = small_model(), EpochOrder(LABELS, 12, seed=0)
    saved = checkpoints.Checkpoints(folder, stop=stop_after(steps))
    frozen = callbacks.FrozenBackbone(FROZEN_EPOCHS)
    try:
        checkpoints.fit(model, IMAGES, LABELS, order, 4, saved, [frozen], verbose=0)
    except Stopped:
        return None
    return values(model)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


# In a frozen epoch, at the switch itself, and behind it.
@pytest.mark.parametrize("steps", [3, 4, 5])
def test_a_training_stopped_on_either_side_of_the_switch_resumes(
    steps, whole, tmp_path
):
    assert train(tmp_path, steps) is None
    assert same(train(tmp_path), whole)


def test_a_frozen_backbone_stays_as_it_is_and_is_trained_then():
    model = small_model()
    backbone = model.get_layer("backbone")
    before = values(backbone)
    frozen = callbacks.FrozenBackbone(1)
    head = ops.convert_to_numpy(model.get_layer("head").kernel)
    # Weight decay and batch statistics would change it too.
    model.fit(IMAGES, LABELS, epochs=1, callbacks=[frozen], verbose=0)
    weights = [v for v in range(len(before)) if before[v].dtype.kind == "f"]
    assert same([before[v] for v in weights], [values(backbone)[v] for v in weights])
    assert not same([head], [ops.convert_to_numpy(model.get_layer("head").kernel)])
    assert backbone.trainable
    model.fit(IMAGES, LABELS, initial_epoch=1, epochs=2, callbacks=[frozen], verbose=0)
    after = values(backbone)
    assert not any(np.array_equal(before[v], after[v]) for v in weights)


def kernel_of(layer):
    return ops.convert_to_numpy(layer.kernel).copy()


@pytest.mark.parametrize("root_is_trainable", [True, False])
def test_a_layer_that_the_user_froze_is_never_trained(root_is_trainable):
    model, backbone, images = backbone_of_two()
    first, second = backbone.layers
    backbone.trainable = root_is_trainable
    first.trainable, second.trainable = False, True
    before = kernel_of(first), kernel_of(second)
    for epochs in ((0, 1), (1, 3)):
        model.fit(
            images,
            LABELS,
            initial_epoch=epochs[0],
            epochs=epochs[1],
            callbacks=[callbacks.FrozenBackbone(1)],
            verbose=0,
        )
        flags = backbone.trainable, first.trainable, second.trainable
        assert flags == (root_is_trainable, False, True)
    assert same([before[0]], [kernel_of(first)])
    assert not same([before[1]], [kernel_of(second)])


def backbone_of_two():
    """A model, its backbone of two layers, and the images for it, [N, 1]."""
    backbone = keras.Sequential(
        [keras.Input([1]), keras.layers.Dense(4), keras.layers.Dense(4)]
    )
    head = mm_tf.layers.NormalizedDense(3)
    model = keras.Sequential([keras.Input([1]), backbone, head])
    model.compile(optimizers.SGD(0.1), mm_tf.losses.MaximumMargin())
    return model, backbone, IMAGES[:, 0, 0]


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def test_a_fit_that_is_interrupted_leaves_nothing_frozen_for_the_next():
    model, backbone, images = backbone_of_two()
    first, second = backbone.layers
    first.trainable = False
    frozen = [callbacks.FrozenBackbone(1)]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            model.fit(images, LABELS, callbacks=[*frozen, Interrupt()], verbose=0)
    before = kernel_of(second)
    model.fit(images, LABELS, epochs=2, callbacks=frozen, verbose=0)
    assert (first.trainable, second.trainable) == (False, True)
    assert not same([before], [kernel_of(second)])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.backbone = keras.Sequential([keras.layers.Dense(4)])
        self.head = mm_tf.layers.NormalizedDense(3)

    def call(self, inputs):
        return self.head(self.backbone(inputs))


@pytest.mark.parametrize("is_built", [True, False])
def test_a_subclassed_model_is_frozen_or_refused_at_the_start(is_built):
    model = Subclassed()
    images = IMAGES[:, 0, 0]
    if is_built:
        model(images[:1])
    model.compile(optimizers.SGD(0.1), mm_tf.losses.MaximumMargin())
    log = callbacks.EpochLog()
    watchers = [callbacks.FrozenBackbone(1), log]
    if not is_built and keras.backend.backend() == "tensorflow":
        # Keras builds it here with the first step.
        with pytest.raises(ValueError, match="must be built .*Received: model=<Subcl"):
            model.fit(images, LABELS, epochs=2, callbacks=watchers, verbose=0)
        return
    model.fit(images, LABELS, epochs=2, callbacks=watchers, verbose=0)
    assert len(log.rows) == 2 and model.backbone.trainable


def test_what_cannot_be_trained_later_is_an_error_at_the_start():
    model, backbone, images = backbone_of_two()
    frozen = [callbacks.FrozenBackbone(1)]
    arguments = dict(x=images, y=LABELS, callbacks=frozen, verbose=0)
    backbone.trainable = False
    with pytest.raises(ValueError, match="must have a layer that is trainable"):
        model.fit(**arguments)
    model.optimizer.build(model.trainable_variables)
    backbone.trainable = True
    with pytest.raises(ValueError, match="does not know .*kernel"):
        model.fit(**arguments)


def test_a_backbone_that_is_frozen_to_the_end_is_warned_of():
    model, frozen = small_model(), [callbacks.FrozenBackbone(3)]
    with pytest.warns(UserWarning, match="`epochs` of FrozenB.* epoch 3 .*epochs=1"):
        model.fit(IMAGES, LABELS, callbacks=frozen, verbose=0)


def test_frozen_backbone_needs_to_know_which():
    model = keras.Sequential([keras.Input([2]), mm_tf.layers.NormalizedDense(2)])
    model.compile(optimizers.SGD(0.1), mm_tf.losses.MaximumMargin())
    with pytest.raises(ValueError, match="`layer` must be given"):
        model.fit(
            np.eye(2), np.arange(2), callbacks=[callbacks.FrozenBackbone(1)], verbose=0
        )
    with pytest.raises(ValueError, match="`epochs`"):
        callbacks.FrozenBackbone(-1)
