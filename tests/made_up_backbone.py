"""Images and a file of weights that are made up, for runs of a backbone."""

import pathlib

import numpy as np


def backbone_run(folder):
    """The fields of a run on the images and weights of `save_backbone`."""
    return dict(
        dataset="npz",
        data_dir=str(pathlib.Path(folder, "noise.npz")),
        model="MobileNet",
        weights=str(pathlib.Path(folder, "mine.weights.h5")),
        learning_rate=0.01,
    )


def save_backbone(folder):
    """Writes images for a MobileNet, and weights that it may begin with.

    There are three classes, of 12, 8 and 4 training images and 4 test images each.
    """
    import keras

    folder = pathlib.Path(folder)
    rng = np.random.default_rng(0)
    arrays = {}
    for split, counts in ("train", [12, 8, 4]), ("test", [4, 4, 4]):
        labels = np.repeat([0, 1, 2], counts)
        noise = rng.integers(0, 256, (len(labels), 32, 32, 3))
        # Darker by class, so that there is something to learn.
        images = noise // (1 + labels[:, None, None, None])
        arrays |= {f"x_{split}": images.astype("uint8"), f"y_{split}": labels}
    np.savez(folder / "noise.npz", **arrays)
    keras.utils.set_random_seed(0)
    keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    ).save_weights(folder / "mine.weights.h5")
