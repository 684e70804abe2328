"""MixUp and CutMix: images of a batch mixed in pairs, and their labels with them."""

from typing import Any

import numpy as np


def mix(
    images: Any,
    labels: np.ndarray,
    num_classes: int,
    generator: np.random.Generator,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> tuple[Any, np.ndarray]:
    """Mixes each image of a batch with another one of it, and their labels.

    Each image x keeps the share m of each pixel and takes the rest of a partner x',
    which a permutation of the batch gives; the labels p take the mean share:

    ```
    m x + (1 - m) x',    mean(m) p + (1 - mean(m)) p'
    ```

    With MixUp m is one number for all pixels. With CutMix it is 0 in a rectangle with
    about the share 1 - m of the image, at a random place and cut at its edges, and 1
    around it. Either is one draw for the batch, m from Beta(alpha, alpha).

    Args:
        images: Images [B, height, width, channels], an array of NumPy or JAX.
        labels: Their classes, integers [B] in [0, K).
        num_classes: The number of classes K.
        generator: What draws.
        mixup: Alpha of MixUp; 0 for none.
        cutmix: Alpha of CutMix; 0 for none. One of the two is 0.

    Returns:
        Images, float32, of the same shape; soft labels, float32 [B, K].

    Example:

    >>> import numpy as np
    >>> from mm_tf.data.mixing import mix
    >>> images = np.array([0, 100], "uint8").reshape(2, 1, 1, 1)
    >>> generator = np.random.default_rng(4)
    >>> mixed, soft = mix(images, np.array([0, 1]), 2, generator, mixup=1.0)
    >>> bool(np.allclose(mixed.ravel(), 100 * soft[:, 1]))
    True

    Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018; Yun et
    al., "CutMix", 2019.
    """
    partners = generator.permutation(len(labels))
    share = generator.beta(mixup or cutmix, mixup or cutmix)
    shape = images.shape[1:3] if cutmix else ()
    kept = np.full((1, *shape, 1), share, dtype="float32")
    if cutmix:
        kept[:] = 1.0
        kept[0, *_rectangle(shape, 1 - share, generator)] = 0.0
        share = float(kept.mean())
    images = images.astype("float32")
    one_hot = np.eye(num_classes, dtype="float32")[labels]
    return (
        kept * images + (1 - kept) * images[partners],
        np.float32(share) * one_hot + np.float32(1 - share) * one_hot[partners],
    )


def _rectangle(shape, share, generator):
    """Rows and columns, as slices, of a rectangle with a share of an image."""
    for side in shape:
        half = int(side * np.sqrt(share)) // 2
        middle = int(generator.integers(side))
        yield slice(max(0, middle - half), middle + half)
