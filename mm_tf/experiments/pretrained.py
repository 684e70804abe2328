"""Pre-trained backbones: trained once for a key, kept, and found again."""

import hashlib
import json
import os
import pathlib

import keras

from mm_tf.experiments.config import RunConfig
from mm_tf.pretraining import pretrain_rotation

# What the pre-trained weights depend on. The method, its loss and its class
# weights are not among it: methods share a backbone.
_DEPENDS_ON = (
    "dataset",
    "imbalance",
    "imbalance_ratio",
    "subset_seed",
    "model",
    "warmup_epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "l2",
    "augment",
    "seed",
)


def weights_path(config):
    """Returns where the backbone of a config is kept, and what its key stands for.

    Args:
        config: A `RunConfig` of a method with pre-training.

    Returns:
        (path of the weights, {name: value} of all that they depend on).
    """
    epochs = config.hyperparameters["pretraining_epochs"]
    facts = {name: getattr(config, name) for name in _DEPENDS_ON}
    facts["epochs"] = epochs
    facts["drops"] = RunConfig(epochs=epochs).drops
    facts["backend"] = keras.backend.backend()
    text = json.dumps(facts, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    name = f"{config.setting}-{config.model}-rotation-{key}.weights.h5"
    return pathlib.Path(config.pretrained_dir).expanduser() / name, facts


def start_from_pretrained(config, images, model, verbose):
    """Puts pre-trained weights into a model's backbone, trained now if need be.

    Args:
        config: A `RunConfig` of a method with pre-training.
        images: The config's training images.
        model: Its model, with a layer named `features`.
        verbose: As for `fit`.

    Raises:
        ValueError: The folder of the weights cannot be written.
    """
    path, facts = weights_path(config)
    backbone = keras.Model(model.input, model.get_layer("features").output)
    if path.exists():
        print(f"Pre-trained backbone found: {path}")
    else:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"`pretrained_dir` cannot be written ({error.strerror}). "
                f"Received: pretrained_dir={config.pretrained_dir}"
            ) from None
        print(f"Pre-training on rotations, {facts['epochs']} epochs")
        pretrain_rotation(
            backbone,
            images,
            epochs=facts["epochs"],
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            momentum=config.momentum,
            l2=config.l2,
            warmup_epochs=config.warmup_epochs,
            drops=facts["drops"],
            seed=config.seed,
            verbose=verbose,
        )
        unfinished = path.with_name(f"{os.getpid()}-{path.name}")
        backbone.save_weights(unfinished)
        os.replace(unfinished, path)
    # Read back in both cases, so that a run is the same whichever it was.
    backbone.load_weights(path)
