import keras
import numpy as np
import pytest

from mm_tf import backbones, class_weights, layers, losses, models, optimizers


def trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


class TestGolden:
    """Carries PyTorch's weights over and trains on from there."""

    @pytest.fixture
    def golden(self, shared):
        with np.load(shared / "golden" / "resnet32_steps.npz") as file:
            return dict(file)

    @pytest.fixture
    def model(self, golden):
        # In float32 an activation next to 0 is on one side of the ReLU on one CPU and
        # on the other side on another, and the losses part ways from the second on.
        before = keras.config.floatx(), keras.config.dtype_policy()
        if keras.backend.backend() != "jax":  # JAX has to be told before its import.
            keras.config.set_floatx("float64")
            keras.config.set_dtype_policy("float64")
        try:
            yield self._build(golden)
        finally:
            keras.config.set_floatx(before[0])
            keras.config.set_dtype_policy(before[1])

    def _build(self, golden):
        model = models.resnet_cifar(10, depth=32, preprocess=False)
        for layer in model.layers:
            name = layer.name.replace("_", ".")
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.gamma.assign(golden[f"init/{name}.weight"])
                layer.beta.assign(golden[f"init/{name}.bias"])
                layer.moving_mean.assign(golden[f"init/{name}.running_mean"])
                layer.moving_variance.assign(golden[f"init/{name}.running_var"])
            elif isinstance(layer, keras.layers.Conv2D):
                layer.kernel.assign(golden[f"init/{name}.weight"])
            elif isinstance(layer, layers.NormalizedDense):
                layer.kernel.assign(golden["init/linear.weight"])
        return model

    def test_cosines_before_training(self, golden, model):
        cosines = model.predict(golden["images_eval"], verbose=0)
        np.testing.assert_allclose(
            cosines, golden["cosines_eval_before"], rtol=0, atol=1e-6
        )

    def test_losses_of_six_steps(self, golden, model):
        counts = golden["class_counts"]
        weights = class_weights.effective_number(counts)
        np.testing.assert_allclose(weights, golden["class_weights"])
        loss = losses.ClassWeighted(losses.LDAM(counts), 10, weights)
        model.compile(optimizers.SGD(0.05, momentum=0.9, l2=2e-4), loss)
        measured = []
        for images, labels in zip(golden["images"], golden["labels"], strict=True):
            model.reset_metrics()
            measured.append(float(model.train_on_batch(images, labels)))
        first_four = 1e-3 if keras.backend.backend() == "jax" else 1e-6
        np.testing.assert_allclose(measured[:4], golden["losses"][:4], rtol=first_four)
        np.testing.assert_allclose(measured[4:], golden["losses"][4:], rtol=0.02)
        # Moving averages of momentum 0.99 would leave it 0.4 away.
        cosines = model.predict(golden["images_eval"], verbose=0)
        np.testing.assert_allclose(cosines, golden["cosines_eval_after"], atol=0.1)


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_depth_is_the_number_of_layers_with_weights(depth):
    model = models.resnet_cifar(10, depth=depth)
    kinds = (keras.layers.Conv2D, layers.NormalizedDense)
    assert sum(isinstance(layer, kinds) for layer in model.layers) == depth


def test_parameters_of_the_reference_code():
    assert trainable_parameters(models.resnet_cifar(10, head="linear")) == 464_154
    assert trainable_parameters(models.resnet_cifar(10)) == 464_144


def test_kernels_are_drawn_after_he():
    model = models.resnet_cifar(10, seed=0)
    kernel = keras.ops.convert_to_numpy(model.get_layer("layer3_2_conv1").kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    # Truncated draws would end at two standard deviations.
    assert np.abs(kernel).max() > 3 * kernel.std()


def test_seed_decides_the_weights():
    def first_kernels(seed):
        model = models.resnet_cifar(10, depth=20, seed=seed)
        return [
            keras.ops.convert_to_numpy(model.get_layer(name).kernel)
            for name in ("conv1", "layer1_0_conv1", "layer1_0_conv2")
        ]

    once, again, other = first_kernels(1), first_kernels(1), first_kernels(2)
    for mine, same, different in zip(once, again, other, strict=True):
        np.testing.assert_array_equal(mine, same)
        assert not np.array_equal(mine, different)
    assert not np.array_equal(once[1], once[2])


class TestPreprocessing:
    @pytest.fixture
    def images(self):
        generator = np.random.default_rng(0)
        return generator.integers(0, 256, (4, 32, 32, 3)).astype("uint8")

    def test_normalizes_pixels(self, images):
        model = models.resnet_cifar(10, depth=20, seed=3)
        bare = models.resnet_cifar(10, depth=20, preprocess=False)
        bare.set_weights(
            [w for w in model.get_weights() if w.dtype == "float32" and w.ndim]
        )
        normalized = (images / 255 - models.CIFAR_MEAN) / models.CIFAR_STD
        np.testing.assert_allclose(
            model.predict(images, verbose=0),
            bare.predict(normalized.astype("float32"), verbose=0),
            atol=1e-5,
        )

    def test_floats_of_the_same_range_are_the_same(self, images):
        model = models.resnet_cifar(10, depth=20)
        np.testing.assert_array_equal(
            model.predict(images, verbose=0),
            model.predict(images.astype("float32"), verbose=0),
        )

    def test_augments_in_training_only(self, images):
        model = models.resnet_cifar(10, depth=20, seed=0)
        augmented = keras.Model(model.input, model.get_layer("rescale").output)
        still = augmented(images, training=False)
        np.testing.assert_array_equal(still, augmented(images, training=False))
        moved = augmented(images, training=True)
        assert not np.array_equal(still, moved)

    def test_flips_and_crops_are_what_is_asked_for(self):
        names = [layer.name for layer in models.resnet_cifar(10, depth=8).layers]
        assert {"crop", "flip", "rescale"} <= set(names)
        model = models.resnet_cifar(10, depth=8, crop_padding=0, seed=1)
        flipped = keras.Model(model.input, model.get_layer("flip").output)
        gradient = np.tile(np.arange(32, dtype="float32")[:, None], (64, 32, 1, 3))
        images = np.asarray(flipped(gradient, training=True))
        mirrored = [image[0, 0, 0] == 31 for image in images]
        assert 10 < sum(mirrored) < 54
        for image, is_mirrored in zip(images, mirrored, strict=True):
            expected = gradient[0, :, ::-1] if is_mirrored else gradient[0]
            np.testing.assert_array_equal(image, expected)

    def test_of_one_channel(self):
        model = models.resnet_cifar(
            5, depth=8, input_shape=(8, 8, 1), mean=0.3, std=0.4
        )
        assert model.output_shape == (None, 5)
        rescaled = keras.Model(model.input, model.get_layer("rescale").output)
        pixels = np.array([0, 51, 255], "uint8").repeat(64).reshape(3, 8, 8, 1)
        found = keras.ops.convert_to_numpy(rescaled(pixels))[:, 0, 0, 0]
        np.testing.assert_allclose(found, [-0.75, -0.25, 1.75], rtol=1e-5)


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


class TestWithChannelsFirstInTheSettingsOfKeras:
    """Images are [N, height, width, channels] there too."""

    def test_networks_are_built_for_channels_last(self, channels_first):
        network = models.resnet_cifar(4, depth=8, input_shape=(12, 8, 3))
        assert network.get_layer("layer1_0_conv1").output.shape == (None, 12, 8, 16)
        backbone = backbones.build("MobileNetV3Small", (32, 40, 1))
        model = models.with_cosine_head(backbone, 4, crop_padding=1)
        assert model.get_layer("features").output.shape == (None, 576)
        assert keras.config.image_data_format() == "channels_first"

    def test_maps_of_features_are_averaged_over_the_image(self, channels_first):
        convolution = keras.layers.Conv2D(5, 3, data_format="channels_last")
        backbone = keras.Sequential([keras.Input([8, 8, 3]), convolution])
        model = models.with_cosine_head(backbone, 4, scaling="inside")
        assert model.get_layer("features").output.shape == (None, 5)

    def test_a_backbone_for_channels_first_is_refused(self, channels_first):
        layers_inside = [keras.Input([3, 8, 8]), keras.layers.Conv2D(5, 3)]
        backbone = keras.Sequential([keras.Sequential(layers_inside)])
        backbone.build((None, 3, 8, 8))
        with pytest.raises(ValueError, match="`backbone` must be built for channels l"):
            models.with_cosine_head(backbone, 4)


def test_save_and_load(tmp_path):
    model = models.resnet_cifar(10, depth=20)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        copy.predict(images, verbose=0), model.predict(images, verbose=0)
    )


class TestWhitenedCnn:
    @pytest.fixture
    def images(self):
        generator = np.random.default_rng(0)
        return generator.integers(0, 256, (20, 9, 9, 3)).astype("uint8")

    def test_its_convolutions_begin_as_the_identity(self):
        model = models.whitened_cnn(10, seed=0)
        kernel = keras.ops.convert_to_numpy(model.get_layer("block2_conv1").kernel)
        assert kernel.shape == (3, 3, 64, 256)
        identity = np.zeros((3, 3, 64, 64))
        identity[1, 1] = np.eye(64)
        np.testing.assert_array_equal(kernel[..., :64], identity)
        drawn, bound = kernel[..., 64:], (9 * 64) ** -0.5
        assert 0.99 * bound < np.abs(drawn).max() <= bound

    def test_its_first_layer_whitens_the_normalized_images(self, images):
        model = models.whitened_cnn(10, images, input_shape=(9, 9, 3))
        inner = keras.Model(model.input, model.get_layer("whitening").output)
        outputs = inner.predict(images, verbose=0).reshape(-1, 24).astype("float64")
        moments = outputs.T @ outputs / len(outputs)
        np.testing.assert_allclose(moments[:12, :12], np.eye(12), atol=0.01)

    @pytest.mark.parametrize("head", ["linear", "normalized"])
    def test_save_and_load(self, images, head, tmp_path):
        model = models.whitened_cnn(
            4, images, head, (8, 16, 16), (9, 9, 3), horizontal_flip=True, seed=1
        )
        model.save(tmp_path / "model.keras")
        copy = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(
            model.predict(images, verbose=0), copy.predict(images, verbose=0)
        )

    def test_it_trains(self, images):
        model = models.whitened_cnn(
            4, images, "linear", (8, 16, 16), (9, 9, 3), crop_padding=0, seed=0
        )
        rate = optimizers.OneCycle(0.2, steps=30)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizers.SGD(rate, nesterov=True, vector_rate=8.0), loss)
        history = model.fit(images, np.arange(20) % 4, 20, epochs=30, verbose=0).history
        assert history["loss"][-1] < 0.5 * history["loss"][0]

    @pytest.mark.parametrize("widths", [(8, 8), (8, 0, 8), 8])
    def test_other_widths_are_refused(self, widths):
        with pytest.raises(ValueError, match="`widths` must be three .* Received: "):
            models.whitened_cnn(4, widths=widths)


class TestMeanOverViews:
    @pytest.mark.parametrize("views", [1, 2, 3, 6])
    def test_outputs_are_the_mean_over_the_views(self, views):
        images = np.random.default_rng(0).integers(0, 256, (5, 9, 8, 3)).astype("uint8")
        model = models.resnet_cifar(4, depth=8, input_shape=(9, 8, 3), seed=0)
        seen = keras.ops.convert_to_numpy(layers.ImageViews(views)(images))
        of_each = model.predict(seen, verbose=0).reshape(views, 5, 4)
        averaged = models.mean_over_views(model, views)
        np.testing.assert_allclose(
            averaged.predict(images, batch_size=3, verbose=0),
            of_each.mean(axis=0),
            atol=1e-5,
        )

    def test_it_is_evaluated_and_saved_as_any_model(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype("uint8")
        model = models.resnet_cifar(4, depth=8, input_shape=(8, 8, 3), seed=0)
        averaged = models.mean_over_views(model)
        averaged.compile(loss=losses.MaximumMargin())
        value = averaged.evaluate(images, np.arange(6) % 4, verbose=0)
        averaged.save(tmp_path / "model.keras")
        copy = keras.saving.load_model(tmp_path / "model.keras")
        again = copy.evaluate(images, np.arange(6) % 4, verbose=0)
        assert value == pytest.approx(again, rel=1e-6)
