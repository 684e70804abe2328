"""The gallery of a report: images of the classes that a run confuses most often."""

from typing import Any

import numpy as np

from mm_tf.experiments.reports import figures

# Pairs of classes in the gallery of a run, and images of a pair.
_PAIRS = 6
_IMAGES_OF_A_PAIR = 6


def confused_pairs(pictures, number, run, images):
    """Returns the pairs of classes that a run confuses most often, with images.

    By the share of the true class, so that rare classes show that are all wrong.
    """
    if run.labels is None:
        return []
    matrix = run.confusion_matrix()
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    shares = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    order = np.lexsort((-wrong.ravel(), -shares.ravel()))[:_PAIRS]
    names, pairs = run.result.class_names, []
    for place, (true, predicted) in enumerate(
        zip(*np.unravel_index(order, wrong.shape), strict=True), start=1
    ):
        count, of_class = int(wrong[true, predicted]), int(matrix[true].sum())
        if not count:
            break
        words = (
            f"{count:,} of {of_class:,} {run.result.evaluated_words} images "
            f"({100 * count / of_class:.1f} %)"
        )
        pair: dict[str, Any] = {
            "true": names[true],
            "predicted": names[predicted],
            "words": words,
        }
        pair["picture"] = None
        if images is not None:
            pair["picture"] = _draw_pair(
                pictures,
                f"confused_{number}_{place}",
                images,
                np.flatnonzero((run.labels == true) & (run.predictions == predicted)),
                f"{run.result.evaluated_words.capitalize()} images of {names[true]} "
                f"that are taken for {names[predicted]}.",
            )
        pairs.append(pair)
    return pairs


def _draw_pair(pictures, name, images, places, alt):
    # Spread over all of them: the images are sorted, so the first are alike.
    size = min(_IMAGES_OF_A_PAIR, len(places))
    chosen = places[np.linspace(0, len(places) - 1, size).round().astype(int)]
    return pictures.keep(name, figures.image_strip(images[chosen]), alt, "")
