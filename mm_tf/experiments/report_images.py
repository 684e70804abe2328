"""The images that the runs of a report were evaluated on."""

import dataclasses

import numpy as np

from mm_tf.data import DatasetUnavailableError, load
from mm_tf.experiments import images as images_module


def evaluation_images(runs, data_dir=None, data=None):
    """Reads the images that runs were evaluated on.

    Args:
        runs: `mm_tf.experiments.report_runs.Run`s.
        data_dir: As for `mm_tf.experiments.report.write_report`.
        data: Likewise.

    Returns:
        Pairs (the images, None), or (None, why they cannot be had).
    """
    run = next((run for run in runs if run.labels is not None), None)
    if run is None:
        return None, "The runs kept no predictions."
    try:
        data = _read_data(run, data_dir, data)
    except (ValueError, DatasetUnavailableError) as error:
        return None, str(error)
    for run in runs:
        if run.labels is not None and not np.array_equal(run.labels, data.test_labels):
            return (
                None,
                "The data set here is not the one that the runs were evaluated on.",
            )
    return data.test_images, None


def _read_data(run, data_dir, data):
    if run.result.evaluated_on == "holdout":
        if run.config is None:
            raise ValueError("Without its flags a run's hold-out is not known.")
        if data is not None:
            return images_module.cut(run.config, data)
        folder = data_dir or run.config.data_dir
        config = dataclasses.replace(run.config, data_dir=folder)
        return images_module.read(_identified(config))
    if data is not None:
        return data
    if run.config is None:
        # Of the data sets that have one way to be read.
        return load(run.result.dataset, data_dir)
    config = dataclasses.replace(run.config, data_dir=data_dir or run.config.data_dir)
    return images_module.load_whole(_identified(config))


def _identified(config):
    return images_module.identified(config, "Give --data_dir, where those are. ")
