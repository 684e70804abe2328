import pytest

from mm_tf.experiments.config import RunConfig


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(imbalance_ratio=1000.0), "`imbalance_ratio` must be at most 124"),
        (dict(effective_number_beta=1.0), "`effective_number_beta` must be below 1"),
        (dict(first_drop_epoch=190), "`second_drop_epoch` must not come before"),
        (dict(holdout=1), "`holdout` must be below 1.*Received: holdout=1.0"),
        (dict(holdout=0.2), "digits_lt100 1 of 10 classes have one.*holdout=0.2"),
        (dict(output_dir=" "), "`output_dir` must name a folder"),
        (dict(weights_digest="0" * 32), "`weights_digest` must not be.*weights=None"),
        (
            dict(dataset="cifar10", model="VGG16", weights="a\nb.h5"),
            "`weights` must name imagenet or a file, in UTF-8 and on one line",
        ),
    ],
)
def test_values_that_do_not_go_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**arguments)
