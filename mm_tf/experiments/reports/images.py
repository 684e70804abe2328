"""The images that the runs of a report were evaluated on."""

import dataclasses
import os

import numpy as np

from mm_tf.data import DatasetUnavailableError, load
from mm_tf.experiments.runs import images as images_module

_REMEDY = "give --data_dir, where those of the run are now. "


def evaluation_images(runs, data_dir=None, data=None):
    """Reads the images that runs were evaluated on."""
    run = next((run for run in runs if run.labels is not None), None)
    if run is None:
        return None, "The runs kept no predictions."
    has_holdout = run.result.evaluated_on == "holdout"
    if has_holdout and run.config is None:
        return None, "Without its flags a run's hold-out is not known."
    remedy = _REMEDY if data is None else ""
    try:
        if data is None:
            data = _read(run, data_dir, has_holdout)
        elif has_holdout:
            data = images_module.cut(run.config, data)
    except (ValueError, DatasetUnavailableError) as error:
        return None, f"{remedy}{error}"
    for run in runs:
        if run.labels is not None and not np.array_equal(run.labels, data.test_labels):
            return (
                None,
                "The data set here is not the one that the runs were evaluated on: "
                "give --data_dir, or in Python `data`, for that one.",
            )
    return data.test_images, None


def _read(run, data_dir, has_holdout):
    config = run.config
    if config is None:
        # Of the data sets that have one way to be read.
        return load(run.result.dataset, data_dir)
    if data_dir:
        config = dataclasses.replace(config, data_dir=os.fspath(data_dir))
    config = images_module.identified(config, advice="")
    read = images_module.read if has_holdout else images_module.load_whole
    return read(config)
