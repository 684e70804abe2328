"""The first stage of a run: what its network learns before it learns the classes.

SSP is trained on rotations first. That stage is a part of the run and lies in its
folder; `pretrained_dir` names another finished run to take it from.
"""

import pathlib

import keras

from mm_tf import _files
from mm_tf._text import counted, first_line
from mm_tf.checkpoints import CheckpointFolder, Checkpoints
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config.fields import CUSTOM_DATA_FLAGS
from mm_tf.experiments.machine import precision
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs.folder import FIRST_STAGE, FIRST_STAGE_WEIGHTS
from mm_tf.pretraining import pretrain_rotation

# What a first stage is made with, apart from the device: methods share it, whatever
# their loss.
_DEPENDS_ON = (
    *("dataset", "imbalance", "imbalance_ratio", "subset_seed", "holdout"),
    *CUSTOM_DATA_FLAGS,
    *("model", "weights", "weights_digest", "augment", "seed", "precision"),
    *("batch_size", "learning_rate", "momentum", "l2", "warmup_epochs"),
)


def start(config, images, model, verbose, folder=None, stop=lambda: None):
    """Gives a model's backbone the weights of the config's first stage, if it has one.

    Without a folder the stage is trained again and not saved.
    """
    if config.row.pretraining != "rotation":
        return
    backbone = keras.Model(model.input, model.get_layer("features").output)
    path = None if folder is None else folder / FIRST_STAGE_WEIGHTS
    if path is not None and path.exists():
        _load(backbone, path)
        return
    if config.pretrained_dir is not None:
        _load(backbone, _weights_of_another(config))
    else:
        with precision.computing(config.precision):
            _pretrain(config, backbone, images, verbose, folder, stop)
    if path is not None:
        with _files.whole_file(path) as unfinished:
            backbone.save_weights(unfinished)


def _pretrain(config, backbone, images, verbose, folder, stop):
    epochs = config.hyperparameters["pretraining_epochs"]
    print(f"Pre-training on rotations, {counted(epochs, 'epoch')}", flush=True)
    checkpoints = None
    if folder is not None:
        computed_in = {"precision": precision.resolved(config.precision)}
        identity = config.identity() | computed_in
        place = CheckpointFolder(folder / FIRST_STAGE, identity)
        checkpoints = Checkpoints(place, config.checkpoint_minutes, stop)
    pretrain_rotation(
        backbone,
        images,
        epochs=epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        l2=config.l2,
        warmup_epochs=config.warmup_epochs,
        drops=RunConfig(epochs=epochs).drops,
        seed=config.seed,
        verbose=verbose,
        kept=checkpoints,
    )


def _weights_of_another(config):
    """The weights in `pretrained_dir`, a finished run with the same first stage."""
    place = pathlib.Path(config.pretrained_dir).expanduser()
    path = place / FIRST_STAGE_WEIGHTS
    try:
        there = finished.read_config(place)
        if not path.is_file():
            raise ValueError(f"It has no {FIRST_STAGE_WEIGHTS}.")
    except ValueError as error:
        raise ValueError(
            "`pretrained_dir` must be the folder of a finished run with a first stage. "
            f"{error} Received: pretrained_dir={config.pretrained_dir!r}"
        ) from None
    before, here = _facts(there), _facts(config)
    differences = [
        f"{name}={before[name]!r} there, {here[name]!r} here"
        for name in here
        if before[name] != here[name]
    ]
    if differences:
        raise ValueError(
            "`pretrained_dir` must be a run with the same data, network, seed and "
            f"schedule ({'; '.join(differences)}). "
            f"Received: pretrained_dir={config.pretrained_dir!r}"
        )
    return path


def _facts(config):
    values = config.identity() | config.hyperparameters
    return {name: values.get(name) for name in ("pretraining_epochs", *_DEPENDS_ON)}


def _load(backbone, path):
    try:
        backbone.load_weights(path)
    # Keras and HDF5 fail in many ways on a damaged file.
    except Exception as error:
        raise ValueError(
            f"A first stage's weights cannot be read ({first_line(error)}). "
            f"Received: {path}"
        ) from None
