"""Batches for `model.fit`, in the order that an `EpochOrder` gives.

Both kinds of batches are functions of the step, counted from 0 over the whole
training, so a run can start at any epoch and step. Both are one stream over all epochs,
which `fit` cuts by `steps_per_epoch`: with it, Keras has one iterator for all epochs
(`EpochIterator` in `keras/src/trainers/epoch_iterator.py`), and starts a new one after
it has built the model.

Images that stay in their files (`ImageFiles`) are decoded a few batches ahead of the
training.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mm_tf._checks import check_integer, warn_if_never
from mm_tf.data._checks import check_integers
from mm_tf.data.images.image_files import ImageFiles, Images
from mm_tf.data.on_device import gather_on_device
from mm_tf.data.order import EpochOrder

if TYPE_CHECKING:
    import tensorflow as tf


def training_pipeline(
    images: Images,
    labels: np.ndarray,
    order: EpochOrder,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Batches of the epochs from `first_epoch` to `epochs - 1` as a `tf.data.Dataset`.

    Two batches are gathered, or decoded from an `ImageFiles`, at a time and two more
    may be ready, so that with the one in use there are at most five in memory. Where
    TensorFlow sees a GPU and no `tf.distribute` strategy is in use, batches are copied
    to that GPU ahead of time.

    Train with

    ```
    model.fit(dataset, epochs=epochs, initial_epoch=first_epoch,
              steps_per_epoch=order.steps_per_epoch, shuffle=False)
    ```

    where `shuffle=False` only spares a warning. A `steps_per_execution` that
    does not divide `steps_per_epoch` makes Keras take more batches an epoch than
    there are, and so shifts all later epochs. With
    `keras.callbacks.BackupAndRestore`, which sets the first epoch of `fit` by
    itself, find out that epoch first and give it here. `fit_data` describes the
    arguments.

    Returns:
        A `tf.data.Dataset` of `(epochs - first_epoch) * order.steps_per_epoch
        - first_step` pairs (images [B, ...], labels [B]) of the dtypes that were
        given; mixed ones (`mixup` or `cutmix` of the order) are float32, and their
        labels soft, [B, K].

    Raises:
        ValueError: If the arguments do not fit together.

    Example:

    >>> import numpy as np
    >>> from mm_tf.data import EpochOrder, training_pipeline
    >>> images = np.zeros((5, 8, 8, 1), np.uint8)
    >>> labels = np.array([0, 0, 0, 1, 2])
    >>> order = EpochOrder(labels, batch_size=2, seed=0)
    >>> batches = training_pipeline(images, labels, order, epochs=3, first_epoch=1)
    >>> int(batches.cardinality())
    6
    >>> [len(y) for _, y in batches]
    [2, 2, 1, 2, 2, 1]
    """
    images, labels, first, steps = _checked(
        images, labels, order, epochs, first_epoch, first_step
    )

    def read(index: Any) -> tuple[np.ndarray, np.ndarray]:
        return _batch(order, first + int(index), images.__getitem__, labels)

    # What a batch is like: its dtypes, and the shapes of an image and of a label.
    parts = [images, labels]
    if order.is_mixed:
        soft = np.empty((0, order.num_classes), "float32")
        parts = [np.empty((0, *images.shape[1:]), "float32"), soft]
    return as_dataset(read, steps, *parts, ahead=2)


def as_dataset(
    read: Callable[[Any], Any], length: int, *parts: Images, ahead: int
) -> "tf.data.Dataset":
    """A data set of `read(0)` to `read(length - 1)`, some of each of `parts`.

    So many are read at a time, and as many more may be ready.
    """
    import tensorflow as tf

    def batch(index: "tf.Tensor") -> Any:
        found = tf.numpy_function(read, [index], [part.dtype for part in parts])
        for tensor, part in zip(found, parts, strict=True):
            tensor.set_shape([None, *part.shape[1:]])
        return tuple(found) if len(found) > 1 else found[0]

    # Whichever is ready first, `map` gives the batches in their order.
    dataset = tf.data.Dataset.range(length).map(
        batch, num_parallel_calls=ahead, deterministic=True
    )
    return ready_ahead(dataset, ahead)


def ready_ahead(dataset: "tf.data.Dataset", batches: int) -> "tf.data.Dataset":
    """Makes batches ahead of their use, on the GPU if there is one.

    TensorFlow does not tune the pipeline, which has nothing to tune: the end of a
    tuned one waits for the thread that tunes it, which sleeps twice as long each time
    (from 10 ms to 60 s), and so may double the time of an epoch or of a `predict`.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.with_options(options)
    gpus = tf.config.list_logical_devices("GPU")
    # A strategy places the batches itself, and needs them on the host for that.
    if gpus and not tf.distribute.has_strategy():
        device = gpus[0].name
        return dataset.apply(tf.data.experimental.prefetch_to_device(device, batches))
    return dataset.prefetch(batches)


class ArrayBatches(keras.utils.PyDataset):
    """Batches of the epochs from `first_epoch` to `epochs - 1` without TensorFlow.

    Item `i` is the batch of step `first_epoch * order.steps_per_epoch + first_step
    + i`: the same batches as of `training_pipeline`, for every backend. Meanwhile the
    next batch of an `ImageFiles` is decoded.

    Train as with `training_pipeline`; what it says of `steps_per_execution` and
    `BackupAndRestore` holds here too. `steps_per_epoch` is needed, since to Keras this
    data set has no end: one that had would be shuffled by a `fit` without
    `shuffle=False`, and over all epochs at that. There is in fact one epoch more than
    asked for, because a backend may look ahead (on JAX with an accelerator by one
    batch); behind it is an `IndexError`. Iterating by hand ends after `epochs - 1`.

    On JAX with an accelerator an array of images lies there, where it
    takes at most a quarter of the memory that JAX has, and so do the batches' images.

    Args:
        images, labels, order, epochs, first_epoch, first_step: As for
            `fit_data`.

    Raises:
        ValueError: If the arguments do not fit together.

    Example:

    >>> import numpy as np
    >>> from mm_tf.data import ArrayBatches, EpochOrder
    >>> images = np.zeros((5, 8, 8, 1), np.uint8)
    >>> labels = np.array([0, 0, 0, 1, 2])
    >>> order = EpochOrder(labels, batch_size=2, seed=0)
    >>> batches = ArrayBatches(images, labels, order, epochs=3, first_epoch=1)
    >>> [len(y) for _, y in batches]
    [2, 2, 1, 2, 2, 1]
    """

    def __init__(
        self,
        images: Images,
        labels: np.ndarray,
        order: EpochOrder,
        epochs: int,
        first_epoch: int = 0,
        first_step: int = 0,
    ):
        # One worker, hence no queue of Keras's, which would shuffle as well.
        super().__init__(workers=1, use_multiprocessing=False)
        images, self._labels, self._first, self._num_steps = _checked(
            images, labels, order, epochs, first_epoch, first_step
        )
        self._order = order
        self._num_served = self._num_steps + order.steps_per_epoch
        self._gather: Callable[[np.ndarray], Any] = images.__getitem__
        self._read = self._batch
        if isinstance(images, ImageFiles):
            self._read = LookAhead(self._batch, self._num_served)
        else:
            self._gather = gather_on_device(images) or self._gather

    @property
    def num_batches(self) -> None:
        """`None`: to Keras the data set has no end (see the class)."""
        return None

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        """The batch (images [B, ...], labels [B]) at a position of the stream."""
        if not 0 <= index < self._num_served:
            raise IndexError(
                f"There are {self._num_steps} batches. Does `fit` have the same "
                f"`epochs`, and steps_per_epoch={self._order.steps_per_epoch}? "
                f"Received: index={index}"
            )
        return self._read(index)

    def _batch(self, index: int) -> tuple[Any, np.ndarray]:
        return _batch(self._order, self._first + index, self._gather, self._labels)

    def __iter__(self):
        """Goes once through the batches of the epochs that were asked for."""
        return (self[index] for index in range(self._num_steps))


def fit_data(
    images: Images,
    labels: np.ndarray,
    order: EpochOrder,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
) -> "tf.data.Dataset | ArrayBatches":
    """Batches for `fit` on the Keras backend in use.

    Args:
        images: Images [N, ...], usually `uint8`: an array or an `ImageFiles`.
        labels: Their classes, integers [N].
        order: The order of the `N` examples.
        epochs: Epoch after the last one, as in `fit`.
        first_epoch: First epoch, counted from 0; below `epochs`. Defaults to 0.
        first_step: First step of that epoch, counted from 0: the steps before it
            are left out. Defaults to 0.

    Returns:
        What `training_pipeline` returns on the TensorFlow backend, and an
        `ArrayBatches` on any other. Give `fit` the `steps_per_epoch` of the
        order in both cases.

    Raises:
        ValueError: If the arguments do not fit together.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from mm_tf.data import EpochOrder, fit_data
    >>> images = np.zeros((5, 8, 8, 1), np.uint8)
    >>> labels = np.array([0, 0, 0, 1, 2])
    >>> order = EpochOrder(labels, batch_size=2, seed=0)
    >>> model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile("sgd", loss)
    >>> history = model.fit(
    ...     fit_data(images, labels, order, epochs=2),
    ...     epochs=2, steps_per_epoch=order.steps_per_epoch, shuffle=False, verbose=0
    ... )
    >>> history.epoch
    [0, 1]
    """
    on_tensorflow = keras.config.backend() == "tensorflow"
    make = training_pipeline if on_tensorflow else ArrayBatches
    return make(images, labels, order, epochs, first_epoch, first_step)


def _batch(
    order: EpochOrder,
    step: int,
    gather: Callable[[np.ndarray], Any],
    labels: np.ndarray,
) -> tuple[Any, np.ndarray]:
    """Images and labels of a step of all epochs, flipped and mixed."""
    chosen = order.batch(step)
    images = _flipped(gather(chosen), order.mirrored(step))
    return order.mixed(images, labels[chosen], step)


def _flipped(images: Any, is_mirrored: np.ndarray | None) -> Any:
    """Images [B, height, width, channels], some of them mirrored left to right."""
    if is_mirrored is None:
        return images
    # Images that lie on a device stay there.
    numpy = np if isinstance(images, np.ndarray) else keras.ops
    mask = is_mirrored[:, None, None, None]
    return numpy.where(mask, numpy.flip(images, 2), images)


class LookAhead:
    """Makes item `i + 1` in a thread of its own while item `i` is in use."""

    def __init__(self, make: Callable[[int], Any], length: int):
        self._make, self._length = make, length
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mm_tf_batch")
        self._next: tuple[int, Future[Any]] | None = None

    def __call__(self, index: int) -> Any:
        ahead, self._next = self._next, None
        if ahead is None or ahead[0] != index:
            ahead = index, self._pool.submit(self._make, index)
        if index + 1 < self._length:
            self._next = index + 1, self._pool.submit(self._make, index + 1)
        return ahead[1].result()


def _checked(
    images: Any, labels: Any, order: Any, epochs: Any, first_epoch: Any, first_step: Any
) -> tuple[Any, np.ndarray, int, int]:
    """Images and labels as arrays, the first step of all epochs and how many follow."""
    if not isinstance(order, EpochOrder):
        raise ValueError(f"`order` must be an `EpochOrder`. Received: order={order!r}")
    check_integers("labels", labels, low=0)
    labels, images = np.asarray(labels), as_images(images)
    for name, array in (("images", images), ("labels", labels)):
        if array.ndim == 0 or len(array) != order.num_examples:
            raise ValueError(
                f"`{name}` must hold the {order.num_examples} examples of `order`. "
                f"Received: {name} of shape {array.shape}"
            )
    if order.cutmix and len(images.shape) != 4:
        raise ValueError(
            "`images` must be [N, height, width, channels] for `cutmix`. "
            f"Received: images of shape {images.shape}"
        )
    epochs = check_integer("epochs", epochs, low=1)
    if order.resample_from is not None:
        warn_if_never(order, "resample_from", order.resample_from, epochs)
    first_epoch = check_integer("first_epoch", first_epoch, low=0, high=epochs - 1)
    last_step = order.steps_per_epoch - 1
    first_step = check_integer("first_step", first_step, low=0, high=last_step)
    first = first_epoch * order.steps_per_epoch + first_step
    return images, labels, first, epochs * order.steps_per_epoch - first


def as_images(images: Any) -> Images:
    """Returns images as they are if they are an `ImageFiles`, and else as an array."""
    if isinstance(images, ImageFiles):
        return images
    try:
        array = np.asarray(images)
    except Exception:  # Images of different sizes, for one.
        array = np.empty((), dtype=object)
    if array.dtype.kind in "OSU":
        raise ValueError(
            "`images` must be an array of numbers, all images of one size. "
            f"Received: images of shape {array.shape} and dtype {array.dtype}"
        )
    return array
