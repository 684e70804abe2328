"""The images that a config trains on and is evaluated on."""

import dataclasses
import warnings
from types import MappingProxyType

from mm_tf.data import DataWarning, hold_out, imbalanced, load
from mm_tf.data.loading import data_digest

# What a `RunConfig` and a `RunResult` name by `evaluated_on`, in words.
EVALUATED_ON = MappingProxyType({"test": "test", "holdout": "hold-out"})


def read(config):
    """Reads the images of a config: its subset, and the test images or a hold-out."""
    return subset(config, load_whole(config))


def load_whole(config):
    """Reads the data set of a config, as it is.

    What there is to say of it stands in its `notes`; no warning says it again.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load(config.dataset, config.data_dir, config.read_options)


def subset(config, data):
    """The subset of a config, and its hold-out if it names one."""
    config = config.on(data)
    drawn = imbalanced(data, config.drawn_class_counts, config.subset_seed)
    return cut(config, drawn)


def identified(config, advice="Leave it out for a run on these. "):
    """The config with the digest of one's own images, by which its run is known."""
    digest = data_digest(config.dataset, config.data_dir)
    if config.data_digest not in (None, digest):
        raise ValueError(
            "`data_digest`: the images are not those of the run, in number, name, "
            f"class, size or content. {advice}Received: "
            f"data_digest={config.data_digest!r}, and {digest!r} of the images in "
            f"{config.data_dir}"
        )
    return dataclasses.replace(config, data_digest=digest)


def cut(config, data):
    """Cuts the hold-out that a config names, if it names one.

    The same `subset_seed` cuts the same images, whatever the method and the seed.
    """
    if not config.holdout:
        return data
    return hold_out(data, config.holdout, config.subset_seed)
