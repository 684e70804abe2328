"""Batches of all images in their order, for `model.predict` and `model.evaluate`."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mm_tf._checks import check_integer
from mm_tf.data.images.image_files import ImageFiles, Images
from mm_tf.data.pipeline import LookAhead, as_dataset, as_images

if TYPE_CHECKING:
    import tensorflow as tf


class ImageBatches(keras.utils.PyDataset):
    """All images in their order, for `model.predict` and `model.evaluate`.

    Each batch is decoded while the one before it is in use; at most three are in
    memory.

    Args:
        images: Images [N, ...]: an array or an `ImageFiles`.
        labels: Their classes, integers [N]. Defaults to `None`: batches have only
            images, as for `predict`.
        batch_size: Images in a batch, at least 1. Defaults to 128.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> import numpy as np
    >>> from mm_tf.data import ImageBatches
    >>> batches = ImageBatches(np.zeros((5, 8, 8, 1), np.uint8), batch_size=2)
    >>> [len(batches[i]) for i in range(len(batches))]
    [2, 2, 1]
    """

    def __init__(
        self,
        images: Images,
        labels: np.ndarray | None = None,
        batch_size: int = 128,
    ):
        # One worker, as in `ArrayBatches`.
        super().__init__(workers=1, use_multiprocessing=False)
        self._batch_size = check_integer("batch_size", batch_size, low=1)
        self._images, self._labels = as_images(images), labels
        if self._images.ndim == 0:
            raise ValueError(
                f"`images` must be images [N, ...]. Received: images={images!r}"
            )
        if labels is not None and np.shape(labels) != (len(images),):
            raise ValueError(
                f"`labels` must be the classes of {len(images)} images. "
                f"Received: labels of shape {np.shape(labels)}"
            )
        self._read = LookAhead(self._batch, len(self))

    def __len__(self) -> int:
        """Number of batches, the last and perhaps smaller one included."""
        return -(-len(self._images) // self._batch_size)

    def __getitem__(self, index: int) -> Any:
        """The batch: images [B, ...], or (images [B, ...], labels [B])."""
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: index={index}")
        return self._read(index)

    def _batch(self, index: int) -> Any:
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        images = self._images[part]
        return images if self._labels is None else (images, self._labels[part])


def prediction_data(
    images: Images, batch_size: int = 128
) -> "np.ndarray | ImageBatches | tf.data.Dataset":
    """What `model.predict` takes of the images on the Keras backend in use.

    Give `predict` the `batch_size` as well; Keras ignores it for a data set of batches.

    On TensorFlow it is a `tf.data.Dataset` that TensorFlow does not tune. Keras would
    make one of an array that is tuned, and `predict` would wait for the tuning at its
    end, up to as long as it took.

    Args:
        images: Images [N, ...]: an array or an `ImageFiles`.
        batch_size: Images in a batch, at least 1. Defaults to 128.

    Returns:
        On TensorFlow a `tf.data.Dataset` of batches [B, ...]; elsewhere `images`
        themselves, or an `ImageBatches` of an `ImageFiles`.

    Raises:
        ValueError: If `batch_size` is not as described.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from mm_tf.data import prediction_data
    >>> images = np.zeros((5, 8, 8, 1), np.uint8)
    >>> model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    >>> data = prediction_data(images, batch_size=2)
    >>> model.predict(data, batch_size=2, verbose=0).shape
    (5, 3)
    """
    batches = ImageBatches(images, batch_size=batch_size)
    if keras.config.backend() == "tensorflow":
        # One is read, one ready and one in use.
        return as_dataset(batches._batch, len(batches), batches._images, ahead=1)
    return batches if isinstance(images, ImageFiles) else batches._images
