"""The parts into which `tf.distribute` splits a batch, one for each device.

TensorFlow gives the first devices parts of ceil(size / devices) images, and the last
ones what is left. Keras cannot begin with parts of different sizes, and layers fail on
a part without an image.
"""


def are_possible(total, batch_size, devices):
    """Returns whether devices can share the batches of an epoch."""
    first, last = min(total, batch_size), total % batch_size
    # The last step's images in the part of one device; 1 where there is no such step.
    part = max(1, -(-last // devices))
    return first % devices == 0 and -(-last // part) in (0, devices)


def largest(total, most, devices):
    """Returns the largest batch size that devices can share, at most `most`."""
    sizes = range(most - most % devices, 0, -devices)
    return next((size for size in sizes if are_possible(total, size, devices)), None)


def check(total, batch_size, devices):
    """Raises a ValueError unless devices can share the batches of an epoch."""
    if are_possible(total, batch_size, devices):
        return
    other = largest(total, 2 * batch_size, devices)
    hint = "" if other is None else f", as {other}"
    raise ValueError(
        f"`batch_size` must leave each of the {devices} devices an image in every "
        f"step, and be a multiple of {devices}{hint}. Received: "
        f"batch_size={batch_size} for {total} images, the last step of which has "
        f"{total % batch_size or batch_size}"
    )
