"""Self-supervised pre-training: which of four ways is an image turned?"""

import keras
import numpy as np
from keras import ops

from mm_tf import _checks, _replicas, callbacks, checkpoints, optimizers
from mm_tf.data import EpochOrder, ImageFiles

TURNS = 4


@keras.saving.register_keras_serializable("mm_tf")
class FourTurns(keras.layers.Layer):
    """Every image in its four rotations, by 0, 90, 180 and 270 degrees.

    Args:
        **kwargs: As for `keras.layers.Layer`.

    Input shape: [N, size, size, channels]. Output shape: [4 N, size, size,
    channels], the four turns of an image behind each other.

    Raises:
        ValueError: The images are not square.

    Example:

    >>> import numpy as np
    >>> from mm_tf.pretraining import FourTurns
    >>> FourTurns()(np.zeros((2, 8, 8, 1), "float32")).shape[0]
    8
    """

    def build(self, input_shape):
        if len(input_shape) != 4 or input_shape[1] != input_shape[2]:
            raise ValueError(
                "Images must be square, [N, size, size, channels], to be turned. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.built = True

    def call(self, images):
        turned = ops.stack([ops.rot90(images, k, axes=(1, 2)) for k in range(TURNS)], 1)
        return ops.reshape(turned, (-1, *images.shape[1:]))

    def compute_output_shape(self, input_shape):
        count = input_shape[0]
        return (None if count is None else TURNS * count, *input_shape[1:])


@keras.saving.register_keras_serializable("mm_tf")
class TurnCrossEntropy(keras.losses.Loss):
    """Cross-entropy of the four turns' logits [N, 4, 4], turn k being class k.

    The turns are known, so the labels that Keras wants are not looked at.
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        mean = super().__call__(y_true, y_pred, sample_weight=sample_weight)
        return _replicas.of_whole_batch(mean, ops.shape(y_pred)[0])

    def call(self, y_true, y_pred):
        turns = ops.broadcast_to(_turns(), ops.shape(y_pred)[:-1])
        return ops.sparse_categorical_crossentropy(turns, y_pred, from_logits=True)


def pretrain_rotation(
    backbone,
    images,
    epochs=200,
    batch_size=128,
    learning_rate=0.1,
    momentum=0.9,
    l2=2e-4,
    warmup_epochs=5,
    drops=callbacks.PAPER_DROPS,
    seed=0,
    verbose="auto",
    kept=None,
):
    """Trains a backbone to recognize which of four rotations an image has.

    The backbone's weights are changed in place; a linear head of four logits is
    trained with it and thrown away. No labels are needed, so the rare classes
    count as much as their images do.

    Args:
        backbone: A `keras.Model`, images [N, size, size, channels] in, features
            [N, D] out: of a model of `resnet_cifar` for example
            `keras.Model(model.input, model.get_layer("features").output)`.
        images: The training images, [N, size, size, channels]: an array or an
            `mm_tf.data.ImageFiles`, which is read batch by batch.
        epochs: Epochs, >= 1; an epoch shows every image in all four turns.
        batch_size: Images of a step before they are turned, >= 1.
        learning_rate: The rate after the warm-up, > 0.
        momentum: Of SGD.
        l2: Weight decay of SGD, as L2 in the gradient.
        warmup_epochs: As for `WarmUpStepDecay`.
        drops: As for `WarmUpStepDecay`.
        seed: Of the order of the images and of the head's weights, >= 0.
        verbose: As for `fit`.
        kept: A `mm_tf.checkpoints.Checkpoints`, with which a pre-training that was
            stopped resumes, or None.

    Returns:
        The history: {"loss": [...], "turn_accuracy": [...], ...}.

    Raises:
        ValueError: An argument is not as described, or images are not square.
        DivergedError: A loss is not finite.
        CheckpointError: As `mm_tf.checkpoints.Checkpoints`.

    Example:

    >>> import keras
    >>> import mm_tf
    >>> from mm_tf.pretraining import pretrain_rotation
    >>> images = mm_tf.data.load("digits").train_images[:64]
    >>> backbone = keras.Sequential(
    ...     [keras.Input([8, 8, 1]), keras.layers.Flatten(), keras.layers.Dense(16)]
    ... )
    >>> history = pretrain_rotation(
    ...     backbone, images, epochs=2, learning_rate=1e-3, verbose=0
    ... )
    >>> len(history["loss"])
    2

    Source: Yang and Xu, "Rethinking the Value of Labels for Improving
    Class-Imbalanced Learning", 2020, section 3 (SSP); the task is that of
    Gidaris et al., "Unsupervised Representation Learning by Predicting Image
    Rotations", 2018.
    """
    epochs = _checks.check_integer("epochs", epochs, low=1)
    batch_size = _checks.check_integer("batch_size", batch_size, low=1)
    seed = _checks.check_integer("seed", seed, low=0, high=2**32 - 1)
    optimizer = optimizers.SGD(learning_rate, momentum=momentum, l2=l2)
    schedule = callbacks.WarmUpStepDecay(learning_rate, warmup_epochs, drops)
    if not isinstance(images, ImageFiles):
        images = np.asarray(images)
    if images.ndim != 4 or not len(images) or images.shape[1] != images.shape[2]:
        raise ValueError(
            "`images` must be square, [N, size, size, channels], and one or more. "
            f"Received: images of the shape {images.shape}"
        )
    if not isinstance(backbone, keras.Model):
        raise ValueError(
            f"`backbone` must be a `keras.Model`. Received: backbone={backbone!r}"
        )
    inputs = keras.Input(images.shape[1:])
    features = backbone(FourTurns()(inputs))
    head = keras.layers.Dense(
        TURNS,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        # Logits in full precision under a half-precision policy too.
        dtype=keras.config.floatx(),
    )
    outputs = _ByImage()(head(features))
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=optimizer,
        loss=TurnCrossEntropy(),
        metrics=[turn_accuracy],
    )
    no_labels = np.zeros(len(images), dtype="int64")
    order = EpochOrder(no_labels, batch_size, seed)
    log = callbacks.EpochLog()
    checkpoints.fit(
        model,
        images,
        no_labels,
        order,
        epochs,
        kept,
        callbacks=[
            callbacks.StopOnDivergence(),
            schedule,
            log,
        ],
        verbose=verbose,
    )
    names = log.rows[0].keys() - {"epoch"}
    return {name: [row[name] for row in log.rows] for name in sorted(names)}


@keras.saving.register_keras_serializable("mm_tf")
def turn_accuracy(y_true, y_pred):
    """The share of an image's four turns that were recognized, [N]."""
    is_right = ops.cast(ops.argmax(y_pred, axis=-1), "int32") == _turns()
    return ops.mean(ops.cast(is_right, "float32"), axis=-1)


def _turns():
    return ops.arange(TURNS, dtype="int32")


class _ByImage(keras.layers.Layer):
    """Puts the logits of an image's four turns, [4 N, 4], together: [N, 4, 4]."""

    def call(self, logits):
        return ops.reshape(logits, (-1, TURNS, TURNS))

    def compute_output_shape(self, input_shape):
        count = input_shape[0]
        return (None if count is None else count // TURNS, TURNS, TURNS)
