"""The images that the runs of a report were evaluated on."""

import numpy as np

from mm_tf.data import DatasetUnavailableError, load
from mm_tf.experiments.runs import data as run_data


def evaluation_images(runs, data_dir=None, data=None):
    """Reads the images that runs were evaluated on: (images, why there are none)."""
    run = next((run for run in runs if run.labels is not None), None)
    if run is None:
        return None, "The runs saved no predictions."
    has_holdout = run.result.evaluated_on == "holdout"
    if has_holdout and run.config is None:
        return None, "Without its flags a run's hold-out is not known."
    try:
        if data is None:
            remedy = "give --data_dir, where those of the run are now. "
            data = _read(run, data_dir)
        else:
            remedy = ""
            data = run_data.read(run.config, data)[1] if has_holdout else data
    except (ValueError, DatasetUnavailableError) as error:
        return None, f"{remedy}{error}"
    for run in runs:
        if run.labels is not None and not np.array_equal(run.labels, data.test_labels):
            return None, (
                "These are not the images that the runs were evaluated on: give "
                "--data_dir, or `data` in Python, for those."
            )
    return data.test_images, None


def _read(run, data_dir):
    if run.config is None:
        # Without flags there is only the data set's name.
        return load(run.result.dataset, data_dir)
    return run_data.read_again(run.config, data_dir)
