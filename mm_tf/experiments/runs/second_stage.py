"""The second stage of cRT, LWS and tau-norm: a head on the backbone of an ERM run.

The backbone stays as it is, its batch normalization too. cRT trains a fresh head, LWS
one scale a class for the outputs of ERM's head, both on classes that are drawn equally
often. Tau-norm trains nothing: it divides each weight vector of ERM's head by its
length to the power tau, and leaves out the bias.

Source: Kang et al., "Decoupling Representation and Classifier for Long-Tailed
Recognition", 2020, section 4; schedule of the heads as in BagofTricks-LT.
"""

import keras
import numpy as np

from mm_tf import callbacks, class_errors
from mm_tf.data import prediction_data

# Drops of the learning rate, in thirds of the second stage, and their factors.
_DROPS = ((1, 0.1), (2, 0.01))


def first_network(model):
    """The part of a model that its first stage trains: all up to ERM's head."""
    return keras.Model(model.input, model.get_layer("head").output)


def add_scales(model):
    """Puts a scale for each class, 1 to begin with, behind a network's head."""
    scales = keras.layers.EinsumDense(
        "ab,b->ab",
        output_shape=model.output.shape[1:],
        kernel_initializer="ones",
        dtype=keras.config.floatx(),
        name="scales",
    )
    return keras.Model(model.input, scales(model.output), name=model.name)


def freeze(model, kind):
    """Freezes all layers but the one that a second stage trains; returns them."""
    trained = {"none": None, "scales": "scales"}.get(kind, "head")
    frozen = [
        layer
        for layer in model.layers
        if trained is not None and layer.name != trained and layer.trainable
    ]
    for layer in frozen:
        layer.trainable = False
    return frozen


def rate(config):
    """The schedule of the learning rate in the second stage."""
    epochs = config.second_stage_epochs
    drops = [(epochs * third // 3, factor) for third, factor in _DROPS]
    return callbacks.WarmUpStepDecay(config.learning_rate, config.warmup_epochs, drops)


def normalize_head(model, data, has_holdout):
    """Divides the weight vectors of a head by their lengths to the power tau.

    Returns tau: with a hold-out the one of 0, 0.1, ... 2 with the smallest balanced
    error there (the first of equal ones), otherwise 1.
    """
    head = model.get_layer("head")
    kernel = keras.ops.convert_to_numpy(head.kernel).astype("float64")
    tau = 1.0
    if has_holdout:
        features = keras.Model(model.input, head.input)
        outputs = features.predict(prediction_data(data.test_images), verbose=0).astype(
            "float64"
        )
        tau = class_errors.best_tau(
            data.test_labels,
            lambda each: np.argmax(outputs @ normalized(kernel, each), axis=-1),
            kernel.shape[1],
        )
    head.kernel.assign(normalized(kernel, tau))
    head.bias.assign(np.zeros(kernel.shape[1]))
    return tau


def normalized(kernel, tau):
    """The weight vectors [D, K] over their lengths to the power tau."""
    return kernel / np.linalg.norm(kernel, axis=0) ** tau
