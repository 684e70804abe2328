"""A hold-out: training images set aside, to choose hyper-parameters with."""

import dataclasses
import itertools
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from mm_tf._checks import check_integer, check_number
from mm_tf.data._checks import check_integers
from mm_tf.data.custom.image_files import content_digests, take
from mm_tf.data.dataset import DATASETS, ImageData
from mm_tf.data.imbalance import order_of_class, subsample


def holdout_counts(counts: Sequence[int] | np.ndarray, share: float) -> np.ndarray:
    """Images of each class that a hold-out takes: the same share of every class.

    Of `n_j` images it takes

    ```
    h_j = min(max(round(share * n_j), 1), n_j - 1)
    ```

    so at least one image of each class is held out and at least one is left.

    Args:
        counts: Images of each class, integers [K], each at least 2.
        share: The share that is held out, above 0 and below 1.

    Returns:
        An `int64` array [K].

    Raises:
        ValueError: If an argument is out of its range; a class with a single image
            cannot be shared out.

    Example:

    >>> from mm_tf.data import holdout_counts
    >>> holdout_counts([124, 20, 6, 2], share=0.2).tolist()
    [25, 4, 1, 1]
    """
    counts = check_integers("counts", counts, low=1)
    share = check_number("share", share, low=0.0, high=1.0, low_allowed=False)
    if share == 1:
        raise ValueError(f"`share` must be below 1. Received: share={share!r}")
    single = np.flatnonzero(counts < 2)
    if len(single):
        raise ValueError(
            "`counts` must be at least 2 of each class, one to hold out and one to "
            f"train on: {len(single)} of {len(counts)} classes have a single image, "
            f"the first is class {single[0]}. "
            f"Received: counts[{single[0]}]={counts[single[0]]}"
        )
    wanted = np.rint(share * counts).astype(np.int64)
    return np.clip(wanted, 1, counts - 1)


def split_holdout(
    labels: Sequence[int] | np.ndarray,
    share: float,
    seed: int,
    contents: Sequence[Hashable] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the examples to train on, and of those that are held out.

    Each is in one of the two, and a class is held out whatever the others have.
    Hold-outs of one seed are nested: a larger share holds out what a smaller one
    does, and more.

    With `contents`, examples of equal content stay together, so that no held-out
    example is seen in training, and those of a content that occurs in several
    classes are trained on. As many of a class are held out all the same: where
    different ones do not fill that number, as in a class that has nothing but copies
    of one, equal ones part. Of a class without equal ones the same are held out as
    without `contents`; hold-outs of other classes need not be nested.

    Args:
        labels: Classes of all examples, integers [N] from 0 to `K - 1`, at least two
            of each class.
        share: The share of each class that is held out, above 0 and below 1; see
            `holdout_counts`.
        seed: Which ones, an integer of at least 0.
        contents: What each example holds, for example a digest, [N]. Defaults to
            `None`: all are different.

    Returns:
        (indices to train on, indices held out), both rising, `int64`.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> from mm_tf.data import split_holdout
    >>> train, holdout = split_holdout([0, 0, 0, 0, 1, 1], share=0.25, seed=0)
    >>> len(train), len(holdout), sorted([*train.tolist(), *holdout.tolist()])
    (4, 2, [0, 1, 2, 3, 4, 5])
    """
    labels = check_integers("labels", labels, low=0)
    seed = check_integer("seed", seed, low=0)
    counts = _counts_of_holdout(labels, share)
    if contents is None:
        chosen = subsample(labels, counts, seed)
    else:
        chosen = _subsample_together(labels, counts, seed, contents)
    rest = np.setdiff1d(np.arange(len(labels)), chosen, assume_unique=True)
    return rest, chosen


def hold_out(data: ImageData, share: float, seed: int) -> ImageData:
    """The data set with a hold-out of its training images in place of its test images.

    What is measured on its "test" images is then measured on the hold-out, which
    the training has not seen, and the real test images choose nothing.

    Equal images of one's own stay together, as `split_holdout` says with `contents`:
    those whose files have the same bytes, of arrays those of the same pixels. For that
    all files of training images are read, and none is decoded. The data sets in
    `mm_tf.data.DATASETS` are cut by class alone.

    Args:
        data: A data set with at least two training images of each class.
        share: The share of each class's training images that is held out; see
            `split_holdout`.
        seed: Which ones; see `split_holdout`.

    Returns:
        A new `ImageData`.

    Raises:
        ValueError: For the reasons of `split_holdout`.

    Example:

    >>> from mm_tf.data import hold_out, load
    >>> digits = load("digits")
    >>> part = hold_out(digits, share=0.2, seed=0)
    >>> len(digits.train_labels), len(part.train_labels), len(part.test_labels)
    (1297, 1038, 259)
    """
    is_own = data.info.name not in DATASETS
    contents = content_digests(data.train_images) if is_own else None
    train, held_out = split_holdout(data.train_labels, share, seed, contents)
    return dataclasses.replace(
        data,
        train_images=take(data.train_images, train),
        train_labels=data.train_labels[train],
        test_images=take(data.train_images, held_out),
        test_labels=data.train_labels[held_out],
    )


def _subsample_together(
    labels: np.ndarray, counts: np.ndarray, seed: int, contents: Sequence[Hashable]
) -> np.ndarray:
    """As `subsample`, and equal contents stay together where they can."""
    if len(contents) != len(labels):
        raise ValueError(
            f"`contents` must hold one value for each of {len(labels)} examples. "
            f"Received: {len(contents)} values"
        )
    classes_of: dict[Hashable, set[int]] = {}
    for label, content in zip(labels.tolist(), contents, strict=True):
        classes_of.setdefault(content, set()).add(label)
    chosen: list[int] = []
    for label, wanted in enumerate(counts.tolist()):
        groups: dict[Hashable, list[int]] = {}
        shared: list[int] = []
        for place in order_of_class(labels, label, seed).tolist():
            content = contents[place]
            is_shared = len(classes_of[content]) > 1
            group = shared if is_shared else groups.setdefault(content, [])
            group.append(place)
        chosen += _first_together([*groups.values()], shared, wanted)
    return np.sort(np.array(chosen, dtype=np.int64))


def _first_together(
    groups: Sequence[list[int]], others: list[int], wanted: int
) -> list[int]:
    """The first groups that fit into the wanted number, filled up to it."""
    chosen: list[list[int]] = []
    left: list[list[int]] = []
    missing = wanted
    for group in groups:
        fits = len(group) <= missing
        (chosen if fits else left).append(group)
        missing -= len(group) if fits else 0
    if missing and left:
        # All single ones are chosen: a group in place of some gives the number.
        smallest = min(left, key=len)
        single = [place for place, *more in chosen if not more]
        replaced = set(single[missing - len(smallest) :])
        if len(replaced) == len(smallest) - missing:
            kept = [group for group in chosen if replaced.isdisjoint(group)]
            chosen, missing = [*kept, smallest], 0
    # Nothing else is left than to part equal ones.
    rest = [*itertools.chain(*left), *others]
    return [*itertools.chain(*chosen), *rest[:missing]]


def _counts_of_holdout(labels: np.ndarray, share: Any) -> np.ndarray:
    counts = np.bincount(labels)
    missing = np.flatnonzero(counts == 0)
    if len(missing):
        raise ValueError(
            f"`labels` must be of every class from 0 to {len(counts) - 1}. "
            f"Received: labels without class {missing[0]}"
        )
    return holdout_counts(counts, share)
