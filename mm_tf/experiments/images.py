"""The images that a config trains on and is evaluated on."""

from types import MappingProxyType

from mm_tf.data import hold_out, imbalanced, load

# What a `RunConfig` and a `RunResult` name by `evaluated_on`, in words.
EVALUATED_ON = MappingProxyType({"test": "test", "holdout": "hold-out"})


def read(config):
    """Reads the images of a config: its subset, and the test images or a hold-out.

    Args:
        config: A `RunConfig`.

    Returns:
        An `ImageData`, whose training images have the config's `class_counts`.

    Raises:
        ValueError: There is no folder `data_dir`.
        DatasetUnavailableError: The data set is not there and cannot be downloaded.

    Example:

    >>> from mm_tf.experiments import images
    >>> from mm_tf.experiments.config import RunConfig
    >>> config = RunConfig(imbalance="none", holdout=0.2)
    >>> data = images.read(config)
    >>> len(data.train_labels), len(data.test_labels)
    (990, 250)
    """
    data = load(config.dataset, config.data_dir)
    subset = imbalanced(data, config.drawn_class_counts, config.subset_seed)
    return cut(config, subset)


def cut(config, data):
    """Cuts the hold-out that a config names, if it names one.

    The same `subset_seed` cuts the same images, whatever the method and the seed.

    Args:
        config: A `RunConfig`.
        data: An `ImageData` of its subset, with the config's `drawn_class_counts`.

    Returns:
        An `ImageData`.
    """
    if not config.holdout:
        return data
    return hold_out(data, config.holdout, config.subset_seed)
