"""The data of a config: which files of a user they are, and the images of a run."""

import dataclasses
import os
import warnings

from mm_tf import backbones
from mm_tf.data import DataWarning, hold_out, imbalanced, load
from mm_tf.data.images.digests import file_digest
from mm_tf.data.loading import data_digest


def read(config, data=None, class_names=None, download=True):
    """Reads the images to train on, and the test images or a hold-out.

    Args:
        config: A `RunConfig`.
        data: An `ImageData` that is drawn already, in place of the config's data set.
        class_names: The order of the classes, as in `ReadOptions`. Defaults to `None`.
        download: Whether the data set may be downloaded.

    Returns:
        (the config with the class counts of the data, the `ImageData`).
    """
    if data is None:
        with warnings.catch_warnings():
            # A run prints what there is to say of the data: see `ImageData.notes`.
            warnings.simplefilter("ignore", DataWarning)
            options = config.read_options
            if options and class_names:
                options = dataclasses.replace(options, class_names=class_names)
            whole = load(config.dataset, config.data_dir, options, download)
        config = config.with_counts_of(whole)
        data = imbalanced(whole, config.drawn_class_counts, config.subset_seed)
    else:
        config = config.with_counts_of(data)
    if config.holdout:
        # The same images for all methods and seeds.
        data = hold_out(data, config.holdout, config.subset_seed)
    return config, data


def read_again(config, class_names, data_dir=None):
    """Reads the images of a finished run, which may lie elsewhere now.

    Its classes keep their order: version 0.1.0 put the class 10 before 2. Nothing is
    downloaded: the run may be a stranger's.
    """
    if data_dir is not None:
        config = dataclasses.replace(config, data_dir=os.fspath(data_dir))
    config = _with_data_digest(config)
    return read(config, class_names=class_names, download=False)[1]


def with_digests(config, with_data=True):
    """The config with the digests of a user's images and weights, which identify them.

    The digest of the file of its method is there already.

    Raises:
        ValueError: The config has another digest, or a file cannot be read.
    """
    if config.method_digest != config.row.digest:
        raise ValueError(
            "`method_digest`: the file of the method is not that of the run (a new run "
            f"leaves method_digest out). Received: {config.method_digest!r}, and "
            f"{config.row.digest!r} of {config.row.file}"
        )
    if with_data:
        config = _with_data_digest(config)
    if not config.has_weights_file:
        return config
    path = backbones.check_file(config.weights)
    try:
        digest = file_digest(path).hex()
    except OSError as error:
        raise backbones.WeightsError(
            f"`weights` cannot be read ({error.strerror or error}). "
            f"Received: weights={config.weights!r}"
        ) from None
    return _with_digest(config, "weights", digest, config.weights)


def _with_data_digest(config):
    digest = data_digest(config.dataset, config.data_dir)
    return _with_digest(config, "data", digest, config.data_dir)


def _with_digest(config, kind, digest, place):
    name = f"{kind}_digest"
    before = getattr(config, name)
    if before not in (None, digest):
        what = {"data": "images", "weights": "weights"}[kind]
        raise ValueError(
            f"`{name}`: the {what} are not those of the run (a new run leaves {name} "
            f"out). Received: {name}={before!r}, and {digest!r} of {place}"
        )
    return dataclasses.replace(config, **{name: digest})
