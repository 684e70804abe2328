"""A training that diverges stops at once and says why."""

import warnings

import keras
import numpy as np
import pytest

from mm_tf import callbacks, layers, losses
from mm_tf.callbacks.divergence import DivergedError

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.array([0, 1] * 4)


def fit(head=None, loss=None, x=X, y=Y, learning_rate=0.1, watchers=(), epochs=2):
    model = keras.Sequential([keras.Input([4]), head or layers.NormalizedDense(2)])
    model.compile(keras.optimizers.SGD(learning_rate), loss or losses.MaximumMargin())
    model.fit(
        x,
        y,
        batch_size=2,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[callbacks.StopOnDivergence(), *watchers],
    )


class Seen(keras.callbacks.Callback):
    steps = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.steps += 1


@pytest.mark.parametrize("bad", [0, 2, 3])
def test_stops_at_the_first_step_that_is_not_finite(bad):
    x = X.copy()
    x[2 * bad] = np.nan
    seen = Seen()
    with pytest.raises(
        DivergedError,
        match=rf"in epoch 0 .*the loss is nan from step {bad} on, at learning rate 0.1"
        ". The likely cause: a learning rate .*a label outside .*images that are not",
    ):
        fit(x=x, watchers=[seen])
    assert seen.steps <= bad + 2


def test_a_label_outside_is_the_cause_that_is_named():
    expected, message = DivergedError, "a label outside"
    if keras.backend.backend() == "torch":
        # The step is not compiled: the loss itself sees the label.
        expected, message = ValueError, r"numbers in \[0, 2\)"
    with pytest.raises(expected, match=message):
        fit(y=np.array([0, 1, 0, 1, 0, 1, 0, 2]))


def test_a_rate_that_is_too_large_is_the_cause_later_on():
    class Raise(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 3e38 if epoch else 0.1

    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(
        DivergedError, match="in epoch [12].*rate 3e.38.*rate too large"
    ):
        fit(keras.layers.Dense(2), plain, watchers=[Raise()], epochs=3)


MARGIN_LOSSES = [
    losses.MaximumMargin(),
    losses.LDAM([5, 2]),
    losses.UniformMargin(),
    losses.Hinge(margin=0.5),
    losses.ClassWeighted(losses.LDAM([5, 2]), 2),
]


@pytest.mark.parametrize("loss", MARGIN_LOSSES, ids=lambda loss: loss.name)
def test_a_margin_loss_on_a_plain_head_is_reported_before_training(loss):
    with pytest.warns(UserWarning, match="margin loss is meant for cosines.*Normalize"):
        fit(keras.layers.Dense(2), loss, learning_rate=1e-6)


def test_it_is_the_cause_that_is_named_when_it_diverges():
    with (
        pytest.warns(UserWarning, match="margin loss"),
        pytest.raises(DivergedError, match="The likely cause: a margin loss is meant"),
    ):
        fit(keras.layers.Dense(2), x=np.full_like(X, 1e38))


def test_it_is_found_inside_a_model_in_a_model():
    inner = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
    with pytest.warns(UserWarning, match="margin loss is meant for cosines"):
        fit(inner, learning_rate=1e-6)


def softmax_heads():
    return {
        "dense": [keras.layers.Dense(2, activation="softmax")],
        "activation": [keras.layers.Dense(2), keras.layers.Activation("softmax")],
        "layer": [keras.layers.Dense(2), keras.layers.Softmax()],
    }


@pytest.mark.parametrize("head", softmax_heads())
@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        (losses.Focal(), "logits: leave out the activation"),
        (losses.MaximumMargin(), "cosines: use mm_tf.layers.NormalizedDense"),
        (losses.ClassWeighted(losses.Focal(), 2), "logits"),
    ],
    ids=["focal", "margin", "weighted"],
)
def test_outputs_of_a_softmax_are_reported_before_training(head, loss, wanted):
    inner = keras.Sequential([keras.Input([4]), *softmax_heads()[head]])
    with pytest.warns(UserWarning) as caught:
        fit(inner, loss, learning_rate=1e-6)
    messages = [str(warning.message) for warning in caught]
    assert any(f"is meant for {wanted}" in message for message in messages)
    # It has a bound, unlike a plain Dense.
    assert not any("plain Dense" in message for message in messages)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="a tensor there does not say what made it"
)
def test_a_loss_itself_warns_of_outputs_of_a_softmax():
    model = keras.Sequential(
        [keras.Input([4]), keras.layers.Dense(2, activation="softmax")]
    )
    model.compile("sgd", losses.Focal())
    with pytest.warns(UserWarning, match="The loss focal got the outputs of a softmax"):
        model.fit(X, Y, verbose=0)


def test_reweighting_tells_it_too():
    model = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
    model.compile("sgd", losses.ClassWeighted(losses.MaximumMargin(), 2))
    with pytest.warns(UserWarning, match="margin loss is meant for cosines"):
        model.fit(X, Y, callbacks=[callbacks.DeferredReweighting([1, 1])], verbose=0)


UNIT_COLUMNS = {"use_bias": False, "kernel_constraint": keras.constraints.UnitNorm(0)}
FINE = {
    "cosines": lambda: (layers.NormalizedDense(2), losses.MaximumMargin()),
    "unit columns": lambda: (
        keras.layers.Dense(2, **UNIT_COLUMNS),
        losses.MaximumMargin(),
    ),
    "a loss for logits": lambda: (keras.layers.Dense(2), losses.Focal()),
    "weights around a loss for probabilities": lambda: (
        keras.layers.Dense(2, activation="softmax"),
        losses.ClassWeighted(keras.losses.SparseCategoricalCrossentropy(), 2),
    ),
    "weights around a loss for logits": lambda: (
        keras.layers.Dense(2),
        losses.ClassWeighted(losses.Focal(), 2),
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_nothing_is_reported_where_all_is_well(case):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="A margin loss|The loss")
        fit(*FINE[case](), learning_rate=1e-6)
