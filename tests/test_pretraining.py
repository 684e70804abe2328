import keras
import numpy as np

from mm_tf import data, pretraining


def test_four_turns_are_rotations():
    images = np.random.default_rng(0).normal(size=(3, 5, 5, 2)).astype("float32")
    turned = keras.ops.convert_to_numpy(pretraining.FourTurns()(images))
    assert turned.shape == (12, 5, 5, 2)
    for i, image in enumerate(images):
        for k in range(4):
            np.testing.assert_array_equal(turned[4 * i + k], np.rot90(image, k))


def test_loss_and_accuracy_take_turn_k_for_class_k():
    logits = np.zeros((2, 4, 4), "float32")
    logits[0] = 50 * np.eye(4)
    logits[1, :, 1] = 50
    losses = pretraining.TurnCrossEntropy(reduction="none")(np.zeros(2), logits)
    np.testing.assert_allclose(losses, [[0] * 4, [50, 0, 50, 50]], atol=1e-5)
    accuracy = pretraining.turn_accuracy(np.zeros(2), logits)
    np.testing.assert_allclose(accuracy, [1.0, 0.25])


def backbone():
    initializer = keras.initializers.GlorotUniform(seed=1)
    return keras.Sequential(
        [
            keras.Input([8, 8, 1]),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(64, "relu", kernel_initializer=initializer),
        ]
    )


def pretrain(model, images, **arguments):
    return pretraining.pretrain_rotation(
        model, images, batch_size=32, warmup_epochs=0, verbose=0, **arguments
    )


def test_learns_to_tell_rotations_and_changes_only_the_backbone():
    images = data.load("digits").train_images[:400]
    model = backbone()
    before = [weight.copy() for weight in model.get_weights()]
    history = pretrain(model, images, epochs=12, learning_rate=0.05)
    assert history["turn_accuracy"][-1] > 0.7
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    for old, new in zip(before, model.get_weights(), strict=True):
        assert not np.array_equal(old, new)
    assert len(model.layers) == 3


def test_same_seed_same_weights():
    images = data.load("digits").train_images[:64]
    models = [backbone() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        pretrain(model, images, epochs=1, seed=seed)
    once, again, other = (model.get_weights()[0] for model in models)
    np.testing.assert_allclose(once, again, rtol=1e-5)
    assert not np.allclose(once, other, rtol=1e-5)
