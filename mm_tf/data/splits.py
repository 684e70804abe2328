"""Hold-outs and test sets that are taken from the training images: one rule for both.

Each class has one order, which depends on the seed. The first images of it are taken,
copies of one image together.
"""

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

from mm_tf._checks import check_integer, check_number, in_class_order
from mm_tf.data._checks import check_integers
from mm_tf.data.dataset import DATASETS, ImageData
from mm_tf.data.images.image_files import content_digests, take
from mm_tf.data.imbalance import order_of_class


def holdout_counts(counts: Sequence[int] | np.ndarray, share: float) -> np.ndarray:
    """Images of each class that a hold-out takes: the same share of every class.

    It takes

    ```
    h_j = min(max(round(share * n_j), 1), n_j - 1)
    ```

    of `n_j` images, so at least one of each class is held out and at least one is left.

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
    counts = check_integers("counts", in_class_order(counts), low=1)
    share = check_share("share", share)
    single = np.flatnonzero(counts < 2)
    if len(single):
        raise ValueError(
            "`counts` must be at least 2 of each class, one to hold out and one to "
            f"train on: {len(single)} of {len(counts)} classes have a single image, "
            f"the first is class {single[0]}. "
            f"Received: counts[{single[0]}]={counts[single[0]]}"
        )
    return _share_of_each(counts, share)


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
    classes are trained on. The number held out stays the same: where whole groups of
    equal examples do not fill it, as in a class of copies of one image, a group is
    divided. A class without equal examples is split as without `contents`; hold-outs
    of other classes need not be nested.

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
    counts = np.bincount(labels)
    missing = np.flatnonzero(counts == 0)
    if len(missing):
        raise ValueError(
            f"`labels` must have every class from 0 to {len(counts) - 1}. "
            f"Received: labels without class {missing[0]}"
        )
    wanted = holdout_counts(counts, share)
    is_held_out = _draw(labels, wanted, seed, contents, fill=True)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def stratified_split(
    labels: Sequence[int] | np.ndarray,
    test_fraction: float = 0.2,
    seed: int = 0,
    contents: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Which examples become test examples: the same share of each class.

    A class of `n` examples gives about `test_fraction * n` test examples: at least
    one and at most `n - 1`, where `n` is at least 2. The only example of a class
    stays a training example.

    Examples of equal content stay together, so that no test example is seen in
    training; the share may be smaller for that. Those of a content that occurs in
    several classes are training examples, and so is a class of one content.
    """
    labels = check_integers("labels", labels, low=0)
    share = check_share("test_fraction", test_fraction)
    wanted = _share_of_each(np.bincount(labels), share)
    return _draw(labels, wanted, seed, contents, fill=False)


def hold_out(data: ImageData, share: float, seed: int) -> ImageData:
    """The data set with a hold-out of its training images in place of its test images.

    What is measured on its "test" images is then measured on the hold-out, which
    the training has not seen, and the real test images choose nothing.

    In custom data equal images stay together, as `split_holdout` says with `contents`:
    files of the same bytes, or arrays of the same pixels. For that all files of
    training images are read, unless they were before, and none is decoded. The data
    sets in `mm_tf.data.DATASETS` are split by class only.

    The `info` stays: the mean and the deviation of custom data are those of all its
    training images, the hold-out among them.

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
    is_custom = data.info.name not in DATASETS
    contents = content_digests(data.train_images) if is_custom else None
    train, held_out = split_holdout(data.train_labels, share, seed, contents)
    return dataclasses.replace(
        data,
        train_images=take(data.train_images, train),
        train_labels=data.train_labels[train],
        test_images=take(data.train_images, held_out),
        test_labels=data.train_labels[held_out],
    )


def check_share(name: str, share: float) -> float:
    """Returns a number between 0 and 1, both excluded."""
    checked = check_number(name, share, low=0, high=1, low_allowed=False)
    if checked == 1:
        raise ValueError(f"`{name}` must be below 1. Received: {name}={share!r}")
    return checked


def _share_of_each(counts: np.ndarray, share: float) -> np.ndarray:
    wanted = np.maximum(np.rint(share * counts), 1).astype(np.int64)
    return np.minimum(wanted, np.maximum(counts - 1, 0))


def _draw(
    labels: np.ndarray,
    wanted: np.ndarray,
    seed: int,
    contents: Sequence[Hashable] | None,
    fill: bool,
) -> np.ndarray:
    """Whether each example is among the wanted number of its class, bool [N].

    With `fill` there are exactly as many, even if that divides equal examples.
    """
    seed = check_integer("seed", seed, low=0)
    contents = range(len(labels)) if contents is None else contents
    if len(contents) != len(labels):
        raise ValueError(
            f"`contents` must hold one value for each of {len(labels)} examples. "
            f"Received: {len(contents)} values"
        )
    classes_of: dict[Hashable, set[int]] = {}
    for label, content in zip(labels.tolist(), contents, strict=True):
        classes_of.setdefault(content, set()).add(label)
    is_drawn = np.zeros(len(labels), dtype=bool)
    for label, number in enumerate(wanted.tolist()):
        order = order_of_class(labels, label, seed).tolist()
        groups: dict[Hashable, list[int]] = {}
        for place in order:
            if len(classes_of[contents[place]]) == 1:
                groups.setdefault(contents[place], []).append(place)
        chosen = _whole_groups([*groups.values()], number)
        if fill and len(chosen) < number:
            taken = {*chosen}
            in_one_class = [place for group in groups.values() for place in group]
            # Those of several classes come last.
            rest = [p for p in dict.fromkeys([*in_one_class, *order]) if p not in taken]
            chosen += rest[: number - len(chosen)]
        elif not chosen and groups:
            smallest = min(groups.values(), key=len)
            chosen = smallest if len(smallest) < len(order) else []
        is_drawn[chosen] = True
    return is_drawn


def _whole_groups(groups: list[list[int]], wanted: int) -> list[int]:
    """The first groups that fit; the largest first if those do not fill the number."""
    tries = []
    for ordered in (groups, sorted(groups, key=len, reverse=True)):
        chosen: list[int] = []
        for group in ordered:
            if len(chosen) + len(group) <= wanted:
                chosen += group
        tries.append(chosen)
    return max(tries, key=len)
