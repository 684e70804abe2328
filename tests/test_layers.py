import keras
import numpy as np
import pytest
from gradients import value_and_gradient

from mm_tf import layers


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(6, 5)).astype("float32")


def save_and_load(layer, inputs, tmp_path):
    model = keras.Sequential([keras.Input(inputs.shape[1:]), layer])
    model.save(tmp_path / "layer.keras")
    return keras.saving.load_model(tmp_path / "layer.keras"), model


class TestNormalizedDense:
    def test_gives_cosines(self, features):
        head = layers.NormalizedDense(3)
        cosines = to_numpy(head(features))
        kernel = to_numpy(head.kernel)
        for i, feature in enumerate(features):
            for j, weight in enumerate(kernel.T):
                lengths = np.linalg.norm(feature) * np.linalg.norm(weight)
                assert cosines[i, j] == pytest.approx(
                    feature @ weight / lengths, abs=1e-6
                )

    def test_lengths_do_not_matter(self, features):
        head = layers.NormalizedDense(3)
        cosines = to_numpy(head(features))
        head.kernel.assign(7.0 * head.kernel)
        np.testing.assert_allclose(
            to_numpy(head(1e-4 * features)), cosines, rtol=1e-5, atol=1e-7
        )

    def test_initial_weight_vectors_are_about_1_long(self):
        head = layers.NormalizedDense(100)
        head.build((None, 64))
        lengths = np.linalg.norm(to_numpy(head.kernel), axis=0)
        assert lengths.mean() == pytest.approx(1.0, abs=0.05)

    def test_zero_features_have_zero_cosines_and_finite_gradient(self):
        head = layers.NormalizedDense(3)
        value, gradient = value_and_gradient(
            lambda x: keras.ops.sum(head(x)), np.zeros((2, 5), "float32")
        )
        assert value == 0
        assert np.all(np.isfinite(gradient))

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_cosines_stay_float32_in_half_precision(self, features, policy):
        head = layers.NormalizedDense(3, dtype=policy)
        cosines = head(features)
        exact = layers.NormalizedDense(3)
        exact.build(features.shape)
        exact.kernel.assign(head.kernel)
        assert keras.backend.standardize_dtype(cosines.dtype) == "float32"
        assert head(keras.KerasTensor((None, 5), dtype="float16")).dtype == "float32"
        np.testing.assert_allclose(to_numpy(cosines), to_numpy(exact(features)))

    def test_save_and_load(self, features, tmp_path):
        copy, model = save_and_load(layers.NormalizedDense(3), features, tmp_path)
        expected = model.predict(features, verbose=0)
        np.testing.assert_array_equal(copy.predict(features, verbose=0), expected)


class TestRandomPaddedCrop:
    @pytest.fixture
    def images(self):
        generator = np.random.default_rng(0)
        return generator.integers(1, 256, (40, 6, 5, 3)).astype("uint8")

    def test_each_image_is_a_crop_of_its_padded_self(self, images):
        crop = layers.RandomPaddedCrop(padding=2, seed=1)
        cropped = to_numpy(crop(images, training=True))
        assert cropped.shape == images.shape
        padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
        corners = []
        for image, whole in zip(cropped, padded, strict=True):
            found = [
                (top, left)
                for top in range(5)
                for left in range(5)
                if np.array_equal(image, whole[top : top + 6, left : left + 5])
            ]
            assert len(found) == 1
            corners += found
        # Every row and column offset from 0 to 2 * padding turns up.
        tops, lefts = zip(*corners, strict=True)
        assert set(tops) == set(lefts) == set(range(5))

    def test_a_reflected_border_is_numpys(self, images):
        crop = layers.RandomPaddedCrop(padding=2, seed=1, border="reflect")
        cropped = to_numpy(crop(images, training=True))
        padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect")
        for image, whole in zip(cropped, padded, strict=True):
            assert any(
                np.array_equal(image, whole[top : top + 6, left : left + 5])
                for top in range(5)
                for left in range(5)
            )
        with pytest.raises(ValueError, match="more than 6 pixels a side. Received"):
            layers.RandomPaddedCrop(padding=6, border="reflect")(images)

    def test_images_pass_unchanged_outside_training(self, images):
        crop = layers.RandomPaddedCrop(padding=2)
        np.testing.assert_array_equal(to_numpy(crop(images)), images)
        still = layers.RandomPaddedCrop(padding=0)
        np.testing.assert_array_equal(to_numpy(still(images, training=True)), images)

    def test_seed_decides_the_crops(self, images):
        def two_batches(seed):
            crop = layers.RandomPaddedCrop(padding=2, seed=seed)
            return [to_numpy(crop(images, training=True)) for _ in range(2)]

        first, second = two_batches(1)
        np.testing.assert_array_equal(two_batches(1), [first, second])
        assert not np.array_equal(first, second)
        assert not np.array_equal(two_batches(2)[0], first)

    def test_save_and_load(self, images, tmp_path):
        copy, _ = save_and_load(
            layers.RandomPaddedCrop(padding=3, seed=5), images, tmp_path
        )
        assert copy.layers[-1].padding == 3
        assert copy.layers[-1].seed == 5


class TestRandomHorizontalFlip:
    @pytest.fixture
    def images(self):
        generator = np.random.default_rng(0)
        return generator.integers(0, 256, (40, 6, 5, 3)).astype("uint8")

    def test_each_image_is_itself_or_its_mirror_image(self, images):
        flipped = to_numpy(layers.RandomHorizontalFlip(seed=1)(images, training=True))
        assert flipped.dtype == images.dtype
        is_mirrored = [
            np.array_equal(after, before[:, ::-1])
            for before, after in zip(images, flipped, strict=True)
        ]
        is_same = (flipped == images).all((1, 2, 3))
        np.testing.assert_array_equal(is_same, ~np.array(is_mirrored))
        assert 8 < sum(is_mirrored) < 32

    def test_as_keras_on_one_device(self, images):
        ours = layers.RandomHorizontalFlip(seed=3)
        of_keras = keras.layers.RandomFlip("horizontal", seed=3)
        for _ in range(2):
            np.testing.assert_array_equal(
                to_numpy(ours(images, training=True)),
                to_numpy(of_keras(images, training=True)),
            )

    def test_images_pass_unchanged_outside_training(self, images):
        flip = layers.RandomHorizontalFlip()
        np.testing.assert_array_equal(to_numpy(flip(images)), images)

    def test_save_and_load(self, images, tmp_path):
        copy, _ = save_and_load(layers.RandomHorizontalFlip(seed=5), images, tmp_path)
        assert copy.layers[-1].seed == 5


class TestCutout:
    @pytest.fixture
    def images(self):
        generator = np.random.default_rng(0)
        return generator.integers(0, 200, (300, 6, 5, 2)).astype("float32")

    def test_a_square_of_each_image_has_the_color(self, images):
        layer = layers.Cutout(3, color=[201, 202], seed=1)
        covered = to_numpy(layer(images, training=True))
        assert covered.dtype == images.dtype
        middles = set()
        for image, before in zip(covered, images, strict=True):
            is_covered = (image == [201, 202]).all(-1)
            np.testing.assert_array_equal(image[~is_covered], before[~is_covered])
            rows, columns = (np.flatnonzero(is_covered.any(axis)) for axis in (1, 0))
            assert is_covered.sum() == len(rows) * len(columns)
            for places, side in ((rows, 6), (columns, 5)):
                assert len(places) == places[-1] - places[0] + 1 >= 2
                # What is missing of it lies outside.
                assert len(places) == 3 or {0, side - 1} & set(places)
            middles.add((*rows, -1, *columns))
        # Each middle, of 6 rows and 5 columns, is drawn.
        assert len(middles) == 30

    def test_images_pass_unchanged_outside_training(self, images):
        np.testing.assert_array_equal(to_numpy(layers.Cutout(3)(images)), images)
        without = layers.Cutout(0)(images, training=True)
        np.testing.assert_array_equal(to_numpy(without), images)

    def test_seed_decides_the_squares(self, images):
        once, again, other = (
            to_numpy(layers.Cutout(3, seed=seed)(images, training=True))
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(once, again)
        assert not np.array_equal(once, other)

    def test_save_and_load(self, images, tmp_path):
        layer = layers.Cutout(3, color=np.array([1.5, 2]), seed=5)
        copy, _ = save_and_load(layer, images, tmp_path)
        assert copy.layers[-1].get_config() == layer.get_config()


class TestPaddedShortcut:
    @pytest.mark.parametrize("size", [7, 8])
    def test_every_second_pixel_between_channels_of_zeros(self, size):
        inputs = np.random.default_rng(0).normal(size=(2, size, size, 4))
        inputs = inputs.astype("float32")
        outputs = to_numpy(layers.PaddedShortcut(8)(inputs))
        np.testing.assert_array_equal(outputs[..., 2:6], inputs[:, ::2, ::2])
        assert not outputs[..., :2].any() and not outputs[..., 6:].any()
        assert outputs.shape == layers.PaddedShortcut(8).compute_output_shape(
            inputs.shape
        )

    def test_too_few_filters(self):
        with pytest.raises(ValueError, match="`filters` must be at least the 4"):
            layers.PaddedShortcut(2)(np.zeros((1, 8, 8, 4), "float32"))


class TestBatchNormalization:
    """Against Keras's own layer, whose passes are many."""

    @pytest.fixture
    def images(self):
        generator = np.random.default_rng(0)
        return generator.normal(3.0, 2.0, size=(6, 5, 4, 3)).astype("float32")

    def pair(self, **kwargs):
        pair = [
            kind(momentum=0.9, epsilon=1e-5, **kwargs)
            for kind in (layers.BatchNormalization, keras.layers.BatchNormalization)
        ]
        for layer in pair:
            layer.build((None, 5, 4, 3))
            for weight, value in zip(layer.weights, (2.0, -1.0, 0.5, 3.0), strict=True):
                weight.assign(np.full(3, value) + np.arange(3) / 4)
        return pair

    @pytest.mark.parametrize("training", [False, True])
    def test_outputs_and_moving_averages(self, images, training):
        mine, keras_own = self.pair()
        np.testing.assert_allclose(
            to_numpy(mine(images, training=training)),
            to_numpy(keras_own(images, training=training)),
            rtol=1e-5,
            atol=1e-5,
        )
        for weight, expected in zip(mine.weights, keras_own.weights, strict=True):
            np.testing.assert_allclose(
                to_numpy(weight), to_numpy(expected), rtol=1e-5, err_msg=weight.path
            )

    def test_gradient(self, images):
        factors = np.random.default_rng(1).normal(size=images.shape).astype("float32")
        gradients = [
            value_and_gradient(
                lambda x, layer=layer: keras.ops.sum(
                    keras.ops.convert_to_tensor(factors) * layer(x, training=True)
                ),
                images,
            )[1]
            for layer in self.pair()
        ]
        np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)

    def test_one_value_a_channel(self, images):
        alone = images[:1, :1, :1]
        mine, keras_own = (to_numpy(each(alone, training=True)) for each in self.pair())
        np.testing.assert_allclose(mine, keras_own, rtol=1e-5)

    def test_a_frozen_layer_stays(self, images):
        mine, keras_own = self.pair(trainable=False)
        before = [to_numpy(weight).copy() for weight in mine.weights]
        np.testing.assert_allclose(
            to_numpy(mine(images, training=True)),
            to_numpy(keras_own(images, training=True)),
            rtol=1e-6,
        )
        for weight, value in zip(mine.weights, before, strict=True):
            np.testing.assert_array_equal(to_numpy(weight), value)

    def test_half_precision_keeps_its_statistics_in_float32(self, images):
        layer = layers.BatchNormalization(dtype="mixed_bfloat16")
        outputs = layer(images, training=True)
        assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
        expected = 0.01 * images.mean((0, 1, 2))
        np.testing.assert_allclose(to_numpy(layer.moving_mean), expected, rtol=0.02)

    def test_save_and_load(self, images, tmp_path):
        copy, model = save_and_load(layers.BatchNormalization(), images, tmp_path)
        assert type(copy.layers[-1]) is layers.BatchNormalization
        np.testing.assert_array_equal(
            copy.predict(images, verbose=0), model.predict(images, verbose=0)
        )

    def test_weights_of_a_model_with_keras_own(self, images, tmp_path):
        def model(kind):
            return keras.Sequential([keras.Input(images.shape[1:]), kind()])

        before = model(keras.layers.BatchNormalization)
        before.layers[0].moving_mean.assign([1.0, 2.0, 3.0])
        before.save_weights(tmp_path / "before.weights.h5")
        after = model(layers.BatchNormalization)
        after.load_weights(tmp_path / "before.weights.h5")
        assert to_numpy(after.layers[0].moving_mean).tolist() == [1.0, 2.0, 3.0]


class TestPatchWhitening:
    @pytest.fixture
    def images(self):
        """Images whose pixels depend on their neighbours and channels on each other."""
        noise = np.random.default_rng(0).normal(size=(50, 9, 9, 3))
        smooth = noise[:, :-1, :-1] + noise[:, 1:, :-1] + noise[:, :-1, 1:]
        return (smooth @ [[1, 2, 0], [0, 1, 0], [1, 0, 0.3]]).astype("float32")

    def test_patches_come_out_white(self, images):
        whitening = layers.PatchWhitening(size=2, epsilon=1e-9)
        whitening.adapt(images)
        outputs = to_numpy(whitening(images)).reshape(-1, 24).astype("float64")
        half = outputs[:, :12]
        np.testing.assert_allclose(half.T @ half / len(half), np.eye(12), atol=1e-3)
        np.testing.assert_allclose(outputs[:, 12:], -half, atol=1e-5)

    def test_of_many_images_sorted_by_class_all_classes_count(self, images):
        brighter = np.repeat(images, 200, axis=0)
        brighter[5000:] *= 2
        layer = layers.PatchWhitening()
        layer.adapt(brighter)
        expected = layers.PatchWhitening()
        expected.adapt(brighter[::2])
        gap = to_numpy(layer.kernel) - to_numpy(expected.kernel)
        assert np.abs(gap).max() < 1e-2 * np.abs(to_numpy(layer.kernel)).max()

    def test_a_large_epsilon_leaves_weak_directions_weak(self, images):
        whitening = layers.PatchWhitening(epsilon=1e6)
        whitening.adapt(images)
        assert np.abs(to_numpy(whitening(images))).max() < 0.1

    def test_only_the_bias_is_trained(self, images):
        whitening = layers.PatchWhitening()
        whitening.adapt(images)
        whitening.trainable = True
        assert [each.name for each in whitening.trainable_variables] == ["bias"]

    def test_save_and_load(self, images, tmp_path):
        whitening = layers.PatchWhitening(size=3)
        whitening.adapt(images)
        copy, model = save_and_load(whitening, images, tmp_path)
        np.testing.assert_array_equal(
            model.predict(images, verbose=0), copy.predict(images, verbose=0)
        )

    @pytest.mark.parametrize(
        "images", [np.zeros((4, 4, 3)), np.full((2, 4, 4, 3), np.nan), np.zeros((0,))]
    )
    def test_what_is_no_images_is_refused(self, images):
        with pytest.raises(ValueError, match="`images` must be finite .* Received: "):
            layers.PatchWhitening().adapt(images)


class TestViews:
    @pytest.fixture
    def images(self):
        return np.random.default_rng(0).integers(0, 256, (3, 6, 5, 2)).astype("uint8")

    def test_six_views_are_numpys(self, images):
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
        shifted = [images, padded[:, :-2, :-2], padded[:, 2:, 2:]]
        expected = np.concatenate(shifted + [each[:, :, ::-1] for each in shifted])
        views = to_numpy(layers.ImageViews(6)(images))
        assert views.dtype == images.dtype
        np.testing.assert_array_equal(views, expected)

    def test_other_numbers_are_some_of_the_six(self, images):
        six = to_numpy(layers.ImageViews(6)(images)).reshape(6, *images.shape)
        for number, chosen in ((1, [0]), (2, [0, 3]), (3, [0, 1, 2])):
            views = to_numpy(layers.ImageViews(number)(images))
            expected = six[chosen].reshape(views.shape)
            np.testing.assert_array_equal(views, expected)

    def test_another_number_is_refused(self):
        with pytest.raises(ValueError, match="`views` must be .* Received: views=4"):
            layers.ImageViews(4)
