"""The gallery of a report: images of the classes that a run confuses most often."""

import numpy as np

_MOST_PAIRS = 6
_IMAGES_OF_A_PAIR = 6


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
