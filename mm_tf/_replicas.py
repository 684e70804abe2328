"""A replica's part of the batch, and the whole batch, under `tf.distribute`.

Keras gives each replica its part and adds up the gradients. A mean over the batch, or
numbers that are drawn for it, must then be those of the whole batch, or the training
would depend on the number of devices. Under `keras.distribution` on JAX every
operation already sees the whole batch.
"""

import keras
from keras import ops


def of_whole_batch(mean, divisor):
    """Turns the mean of a replica's part into its share of the whole batch's mean.

    Keras divides the mean of a part by the number of replicas, so that the sum over
    them is the mean of means: wrong where weights, or the sizes of parts, differ.
    """
    count = _count()
    if count == 1:
        return mean
    replica = _replica()
    if replica is None:
        # A whole batch, outside `strategy.run`.
        return mean * count
    import tensorflow as tf

    divisor = ops.stop_gradient(ops.cast(divisor, mean.dtype))
    total = replica.all_reduce(tf.distribute.ReduceOp.SUM, divisor)
    return mean * ops.divide_no_nan(count * divisor, total)


def draw(sample, count):
    """Draws for each example of a batch, whichever replica has it.

    All replicas have the same seeds: if each drew for its own part, all parts would
    have the same numbers.
    """
    replica = _replica() if _count() > 1 else None
    if replica is None:
        return sample(count)
    import tensorflow as tf

    counts = replica.all_gather(tf.reshape(tf.cast(count, "int32"), [1]), axis=0)
    first = tf.reduce_sum(counts[: replica.replica_id_in_sync_group])
    return sample(tf.reduce_sum(counts))[first : first + count]


def _count():
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def _replica():
    import tensorflow as tf

    return tf.distribute.get_replica_context()
