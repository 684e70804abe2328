"""Runs that are made up, images for them, and a report's page taken apart."""

import dataclasses
import html
import re

import numpy as np
from made_up import RESULT

from mm_tf.data import DatasetInfo, ImageData
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config.flags import to_flagfile

MEAN_STD = {"mean": (0.5,), "std": (0.5,)}

# Names of classes that would be markup.
NAMES = ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a $x_$ {{ 7 * 7 }} &"]


def make_run(
    folder, method="erm", seed=0, names=None, counts=None, epochs=6, **changes
):
    """Writes what a run leaves, made up, and returns its `RunResult`."""
    names = names or ["cat", "dog", "eel"]
    counts = counts or [200, 60, 20][: len(names)]
    size, rng = len(names), np.random.default_rng(seed)
    labels = np.repeat(np.arange(size), 10)
    predictions = np.where(rng.random(10 * size) < 0.6, labels, 0)
    errors = [
        100 * float(np.mean(predictions[labels == label] != label))
        for label in range(size)
    ]
    config = RunConfig(method=method, seed=seed, epochs=epochs, model="resnet8")
    error = float(np.mean(errors))
    values = dict(
        method=method,
        setting=config.setting,
        seed=seed,
        epochs=epochs,
        hyperparameters=config.hyperparameters,
        class_names=names,
        class_counts=counts,
        evaluated_counts=[10] * size,
        flags={**config.identity(), "backend": "tensorflow"},
        top1_error=error,
        best_top1_error=error - 1.23,
        best_epoch=3,
        balanced_error=error + 0.01,
        per_class_error=errors,
        many_shot_error=12.34,
        medium_shot_error=45.67,
        few_shot_error=None,
        images_per_second=1234.5,
        training_seconds=6789.0,
        device="CPU of a test",
        versions={"keras": "3.99.1"},
    )
    result = dataclasses.replace(RESULT, **(values | changes))
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(result.to_json())
    (folder / "flags.txt").write_text(to_flagfile(config))
    rows = [f"{e},0.{e},{5 - e / 2},{90 - e},NA" for e in range(epochs)]
    header = "epoch,accuracy,loss,test_top1_error,val_loss"
    (folder / "history.csv").write_text("\n".join([header, *rows]))
    np.savez_compressed(
        folder / "predictions.npz",
        labels=labels.astype("uint16"),
        predictions=predictions.astype("uint16"),
    )
    return result


def make_data(size=3):
    """Images for the made-up runs' labels."""
    info = DatasetInfo(
        "fake",
        size,
        (8, 8, 1),
        10,
        **MEAN_STD,
        crop_padding=0,
        horizontal_flip=False,
        description="",
    )
    labels = np.repeat(np.arange(size), 10)
    images = np.random.default_rng(0).integers(0, 256, (10 * size, 8, 8, 1), "uint8")
    names = tuple(map(str, range(size)))
    return ImageData(info, images, labels, images, labels, names)


class Page:
    """A page's source, its tags, its text and what it loads."""

    def __init__(self, path):
        self.source = path.read_text(encoding="utf-8")
        self.tags = set(re.findall(r"<(\w+)", self.source))
        self.text = " ".join(html.unescape(re.sub("<[^>]*>", " ", self.source)).split())
        self.loaded = re.findall(r'(?:src|srcset|href)="([^"]*)"', self.source)
