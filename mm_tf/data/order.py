"""The order in which a training run draws its examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mm_tf._checks import (
    as_numbers,
    check_bool,
    check_integer,
    check_number,
    in_class_order,
)
from mm_tf.data._checks import check_integers
from mm_tf.data.mixing import mix


class EpochOrder:
    """Which examples an epoch draws, and in which order.

    The order of an epoch depends only on the seed and the epoch. So a run can stop
    after any epoch and resume later as if it had never stopped, and two runs of one
    seed see the same batches.

    An epoch before `resample_from` goes through all `N` examples once, shuffled.
    From `resample_from` on it makes `N` draws with replacement, in which an
    example of class `j` has the probability

    ```
    p = class_weights[j] / (sum over all examples i of class_weights[labels[i]])
    ```

    With inverse class frequencies as weights every class is drawn equally often
    (class-balanced re-sampling); from a late epoch on, that is the deferred
    re-sampling (DRS) of Cao et al.

    Args:
        labels: Classes of the examples, integers [N] from 0.
        batch_size: Examples in a batch, at least 1. The last batch of an epoch
            is smaller where `N` is not a multiple of it.
        seed: Seed of all epochs, an integer of at least 0.
        class_weights: Weights [K] of the draws, at least 0 each and more than 0
            for some class that occurs; only their proportions count. Needed
            where `resample_from` is given. Defaults to `None`.
        resample_from: First epoch that draws with replacement, counted from 0.
            `fit_data` warns where it ends before. Defaults to `None`, never.
        alternating_flip: Whether each image is mirrored, left to right, in every
            second epoch; whether in the first one is drawn. Two epochs then show both
            sides of each image, where flips that are drawn anew show half of the
            images the same side twice. Defaults to `False`.
        mixup: Alpha of MixUp, at least 0: the images of each batch are mixed in pairs
            and their labels become soft, [B, K]. Defaults to 0, for none.
        cutmix: Alpha of CutMix, likewise. Only one of the two is above 0.
        num_classes: The number of classes K of soft labels. Defaults to `None`, the
            largest class in `labels` + 1.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> from mm_tf.data import EpochOrder
    >>> order = EpochOrder(labels=[0, 0, 0, 1, 2], batch_size=2, seed=0)
    >>> order.steps_per_epoch
    3
    >>> sorted(order.order(epoch=7).tolist())
    [0, 1, 2, 3, 4]
    >>> [len(order.batch(step)) for step in range(4)]
    [2, 2, 1, 2]

    Reference:

    - [Cao et al., 2019](https://arxiv.org/abs/1906.07413), section 4.1 and
      table 2
    - [Jordan, 2024](https://arxiv.org/abs/2404.00498), section 3.6, for the flip
    - [Zhang et al., 2018](https://arxiv.org/abs/1710.09412) for MixUp,
      [Yun et al., 2019](https://arxiv.org/abs/1905.04899) for CutMix
    """

    def __init__(
        self,
        labels: Sequence[int] | np.ndarray,
        batch_size: int,
        seed: int,
        class_weights: Sequence[float] | np.ndarray | None = None,
        resample_from: int | None = None,
        alternating_flip: bool = False,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        num_classes: int | None = None,
    ):
        labels = check_integers("labels", labels, low=0)
        self.num_examples = len(labels)
        self.batch_size = check_integer("batch_size", batch_size, low=1)
        self.seed = check_integer("seed", seed, low=0)
        if class_weights is not None:
            class_weights = _check_class_weights(class_weights, labels)
        if resample_from is not None:
            resample_from = check_integer("resample_from", resample_from, low=0)
            if class_weights is None:
                raise ValueError(
                    "`class_weights` must be given where `resample_from` is. "
                    f"Received: resample_from={resample_from}, class_weights=None"
                )
        self.resample_from = resample_from
        self._probabilities = None
        if class_weights is not None:
            example_weights = class_weights[labels]
            self._probabilities = example_weights / example_weights.sum()
        self._last: tuple[int, np.ndarray] | None = None
        self._is_mirrored_at_first: np.ndarray | None = None
        if check_bool("alternating_flip", alternating_flip):
            # Two keys keep this stream apart from those of the epochs.
            sequence = np.random.SeedSequence(self.seed, spawn_key=(0, 0))
            drawn = np.random.default_rng(sequence).random(self.num_examples)
            self._is_mirrored_at_first = drawn < 0.5
        self.mixup = check_number("mixup", mixup, low=0.0)
        self.cutmix = check_number("cutmix", cutmix, low=0.0)
        if self.mixup and self.cutmix:
            raise ValueError(
                "`mixup` and `cutmix` must not both be above 0. "
                f"Received: mixup={mixup}, cutmix={cutmix}"
            )
        least = int(labels.max()) + 1
        self.num_classes = least
        if num_classes is not None:
            self.num_classes = check_integer("num_classes", num_classes, low=least)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the last and perhaps smaller one included."""
        return -(-self.num_examples // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the examples that an epoch draws.

        Args:
            epoch: The epoch, counted from 0.

        Returns:
            `int64` indices [N] in the order of drawing.

        Raises:
            ValueError: If `epoch` is not an integer of at least 0.
        """
        epoch = check_integer("epoch", epoch, low=0)
        # A spawn key keeps these streams apart from `default_rng([seed, j])`,
        # by which `subsample` orders class j.
        sequence = np.random.SeedSequence(self.seed, spawn_key=(epoch,))
        generator = np.random.default_rng(sequence)
        if self.resample_from is None or epoch < self.resample_from:
            return generator.permutation(self.num_examples)
        return generator.choice(
            self.num_examples, size=self.num_examples, p=self._probabilities
        )

    def batch(self, step: int) -> np.ndarray:
        """Indices of the examples of one batch.

        Args:
            step: The batch, counted from 0 over the whole training: batch
                `step % steps_per_epoch` of epoch `step // steps_per_epoch`.

        Returns:
            `int64` indices [`batch_size`], or fewer at the end of an epoch.

        Raises:
            ValueError: If `step` is not an integer of at least 0.
        """
        step = check_integer("step", step, low=0)
        epoch, position = divmod(step, self.steps_per_epoch)
        # Read and replaced as one tuple, since a look-ahead thread may be in the
        # next epoch already.
        last = self._last
        if last is None or last[0] != epoch:
            last = self._last = (epoch, self.order(epoch))
        start = position * self.batch_size
        return last[1][start : start + self.batch_size].copy()

    def mirrored(self, step: int) -> np.ndarray | None:
        """Which images of one batch are mirrored.

        Args:
            step: The batch, as of `batch`.

        Returns:
            `bool` [`batch_size`], or fewer at the end of an epoch; `None` without
            `alternating_flip`.

        Raises:
            ValueError: If `step` is not an integer of at least 0.
        """
        if self._is_mirrored_at_first is None:
            return None
        is_odd = step // self.steps_per_epoch % 2 == 1
        return self._is_mirrored_at_first[self.batch(step)] ^ is_odd

    def mixed(self, images: Any, labels: np.ndarray, step: int) -> tuple[Any, Any]:
        """Images and labels of one batch, mixed in pairs if they are to be.

        Args:
            images: The batch's images [B, ...].
            labels: Their classes, integers [B].
            step: The batch, as of `batch`.

        Returns:
            The same without `mixup` and `cutmix`, and else images, float32, and soft
            labels, float32 [B, K], which depend on seed, epoch and step.
        """
        if not self.is_mixed:
            return images, labels
        # Three keys keep this stream apart from the others.
        key = (*divmod(step, self.steps_per_epoch), 0)
        generator = np.random.default_rng(
            np.random.SeedSequence(self.seed, spawn_key=key)
        )
        classes = self.num_classes
        return mix(images, labels, classes, generator, self.mixup, self.cutmix)

    @property
    def is_mixed(self) -> bool:
        """Whether batches are mixed, and so have soft labels."""
        return self.mixup > 0 or self.cutmix > 0


def _check_class_weights(
    class_weights: Sequence[float] | np.ndarray, labels: np.ndarray
) -> np.ndarray:
    weights = as_numbers(in_class_order(class_weights))
    if (
        weights is None
        or weights.ndim != 1
        or len(weights) <= labels.max()
        or not np.isfinite(weights).all()
        or weights.min() < 0
        or not weights[labels].any()
    ):
        raise ValueError(
            f"`class_weights` must be at least {labels.max() + 1} finite numbers >= 0, "
            "one a class, and not 0 for all classes in `labels`. "
            f"Received: class_weights={class_weights!r}"
        )
    # A power of two, which changes no probability: the sum over all examples of
    # weights near the largest float would be infinite.
    return np.ldexp(weights, -np.frexp(weights.max())[1])
