import pytest

from mm_tf.experiments.config import RunConfig


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(method="sgd"), "`method` must be one of erm, .*Received: method='sgd'"),
        (dict(imbalance_ratio=0), "`imbalance_ratio` must be.*Received"),
        (dict(beta=-1.0), "`beta` must be.*Received: beta=-1.0"),
        (dict(epochs=0), "`epochs` must be an integer >= 1"),
        (dict(epochs=2.5), "`epochs` must be an integer >= 1"),
        (dict(learning_rate=0.0), "`learning_rate` must be"),
        (dict(momentum=1.5), "`momentum` must be"),
        (dict(seed=-1), "`seed` must be"),
        (dict(augment="yes"), "`augment` must be a bool"),
        (dict(holdout=-0.1), "`holdout` must be.*Received: holdout=-0.1"),
        (dict(backend="mxnet"), "`backend` must be one of"),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**arguments)
