"""What a run reads besides its flags, and by which digests another is noticed."""

import dataclasses

from mm_tf import backbones
from mm_tf.data.custom.digests import file_digest
from mm_tf.experiments.runs import images


def identified(config, with_images=True):
    """The config with the digests of one's own images and weights."""
    if with_images:
        config = images.identified(config)
    return dataclasses.replace(config, weights_digest=_weights_digest(config))


def _weights_digest(config):
    """Digest of a file of weights, all of it; None where they are in none."""
    if not config.has_weights_file:
        return None
    path = backbones.check_file(config.weights)
    try:
        digest = file_digest(path).hex()
    except OSError as error:
        raise backbones.WeightsError(
            f"`weights` cannot be read ({error.strerror or error}). "
            f"Received: weights={config.weights!r}"
        ) from None
    if config.weights_digest not in (None, digest):
        raise ValueError(
            "`weights_digest`: the weights are not those of the run. Leave it out for "
            f"a run with these. Received: weights_digest={config.weights_digest!r}, "
            f"and {digest!r} of {config.weights}"
        )
    return digest
