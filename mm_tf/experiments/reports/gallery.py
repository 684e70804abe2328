"""The gallery of a report: images of the classes that a run confuses most often."""

import numpy as np

from mm_tf.data import DatasetUnavailableError, load
from mm_tf.experiments.runs import data as run_data

_MOST_PAIRS = 6
_IMAGES_OF_A_PAIR = 6


def evaluation_images(runs, data_dir=None, data=None):
    """Reads the images that runs were evaluated on: (images, why there are none)."""
    run = next((run for run in runs if run.labels is not None), None)
    if run is None:
        return None, "The runs saved no predictions."
    has_holdout = run.result.evaluated_on == "holdout"
    if has_holdout and run.config is None:
        return None, "Without its flags a run's hold-out is not known."
    advice = "give --data_dir, the place of the run's images. " if data is None else ""
    try:
        if data is not None:
            data = run_data.read(run.config, data)[1] if has_holdout else data
        elif run.config is None:
            # Without flags there is only the data set's name.
            data = load(run.result.dataset, data_dir, download=False)
        else:
            data = run_data.read_again(run.config, run.result.class_names, data_dir)
    except (ValueError, DatasetUnavailableError) as error:
        return None, f"{advice}{error}"
    for run in runs:
        if run.labels is not None and not np.array_equal(run.labels, data.test_labels):
            return None, (
                "These are not the images that the runs were evaluated on: give "
                "--data_dir, or `data` in Python, for those."
            )
    return data.test_images, None


def confused_pairs(pictures, number, run, images):
    """The pairs of classes that a run confuses most often, with images.

    They are ordered by their share of the true class, so that a rare class shows if
    all of it is wrong.
    """
    if run.labels is None:
        return []
    matrix = run.confusion_matrix()
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    shares = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    order = np.lexsort((-wrong.ravel(), -shares.ravel()))[:_MOST_PAIRS]
    names, pairs = run.result.class_names, []
    for place, (true, predicted) in enumerate(
        zip(*np.unravel_index(order, wrong.shape), strict=True), start=1
    ):
        if wrong[true, predicted]:
            pair = {
                "true": names[true],
                "predicted": names[predicted],
                "count": int(wrong[true, predicted]),
                "total": int(matrix[true].sum()),
                "picture": None,
            }
            if images is not None:
                places = np.flatnonzero(
                    (run.labels == true) & (run.predictions == predicted)
                )
                # Neighbours are alike where images are sorted.
                size = min(_IMAGES_OF_A_PAIR, len(places))
                spread = np.linspace(0, len(places) - 1, size).round().astype(int)
                strip = _side_by_side(images[places[spread]])
                pair["picture"] = pictures.save(f"confused_{number}_{place}", strip)
            pairs.append(pair)
    return pairs


def _side_by_side(images):
    gap = [(0, 0), (0, 0), (0, max(1, images.shape[2] // 16)), (0, 0)]
    strip = np.concatenate(list(np.pad(images, gap, constant_values=255)), axis=1)
    return np.broadcast_to(strip, (*strip.shape[:2], 3))
