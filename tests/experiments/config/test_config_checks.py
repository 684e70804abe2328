import pytest

from mm_tf.experiments.config import RunConfig


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(method="sgd"), "`method` must be one of erm, .*Received: method='sgd'"),
        (dict(epochs=2.5), "`epochs` must be an integer >= 1"),
        (dict(momentum=1.5), "`momentum` must be"),
        (dict(augment="yes"), "`augment` must be a bool"),
        (dict(cutout=-1), "`cutout` must be an integer >= 0"),
        (dict(augmentation="mixup"), "`augmentation` must be one of none, randaug"),
        (dict(mixup=1.0, cutmix=1.0), "`mixup` and `cutmix` must not both.*cutmix=1.0"),
        (dict(holdout=-0.1), "`holdout` must be.*Received: holdout=-0.1"),
        (dict(backend="mxnet"), "`backend` must be one of"),
        (dict(precision="float8"), "`precision` must be one of float32"),
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
        (dict(dataset="foldr"), "`dataset` must be one of.*Did you mean folder?"),
        (dict(dataset="folder"), "`data_dir` must say where"),
        (dict(dataset="digits", data_dir="photos"), "`data_dir` must not.*'digits'"),
        (dict(dataset="digits", image_size="64"), "`image_size` is for"),
        (dict(dataset="cifar10", strict=True), "`strict` is for"),
        (dict(dataset="digits", imbalance="as_is"), "`imbalance` must be one of long"),
        (dict(dataset="tfds:mnist", image_size="64,64"), "`image_size` must be a num"),
        (dict(dataset="tfds:mnist", image_size=0), "`image_size` must be an integer"),
        (dict(dataset="tfds:mnist", channels=2), "`channels` must be 3"),
        (dict(dataset="tfds:mnist", test_fraction=1.0), "`test_fraction` must be"),
        (
            dict(dataset="tfds:a", image_size="8x9", method="ldam_drw_ssp"),
            "must be square.*Received: images of 8 x 9",
        ),
    ],
)
def test_wrong_values_and_values_that_do_not_go_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**arguments)
