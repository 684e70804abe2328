"""The first stage of a run: what its network learns before it learns the classes.

SSP is trained on rotations first, and cRT, LWS and tau-norm begin with a network of
ERM. That stage is a part of the run and lies in its folder; `first_stage` names another
finished run to take it from.
"""

import pathlib

import keras

from mm_tf import _files
from mm_tf._text import counted, first_line
from mm_tf.checkpoints import CheckpointFolder, Checkpoints
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config.fields import CUSTOM_DATA_FLAGS
from mm_tf.experiments.machine import precision
from mm_tf.experiments.runs import finished, second_stage
from mm_tf.experiments.runs.folder import FIRST_STAGE, FIRST_STAGE_WEIGHTS
from mm_tf.pretraining import pretrain_rotation

# The method of the first stage of a head that is trained later.
_FIRST = "erm"

# What a first stage is made with, apart from the device: methods share it, whatever
# their loss.
_DEPENDS_ON = (
    *("dataset", "imbalance", "imbalance_ratio", "subset_seed", "holdout"),
    *CUSTOM_DATA_FLAGS,
    *("model", "weights", "weights_digest", "seed", "precision"),
    *("augment", "flip", "cutout", "augmentation"),
    *("batch_size", "learning_rate", "momentum", "l2", "warmup_epochs"),
)


def start(config, data, model, verbose, folder=None, stop=lambda: None, train=None):
    """Gives a model the weights of the config's first stage, if it has one.

    Without a folder the stage is trained again and not saved. `train(stop)` trains and
    returns the network of ERM for a second stage.
    """
    if not config.first_stage_epochs:
        return
    head = model.get_layer("head")
    fresh = head.get_weights()
    path = None if folder is None else folder / FIRST_STAGE_WEIGHTS
    if config.row.second_stage != "none":
        part = second_stage.first_network(model)
    else:
        part = keras.Model(model.input, model.get_layer("features").output)
    if path is not None and path.exists():
        _load(part, path)
    else:
        if config.first_stage is not None:
            _load_from_another(config, part)
        elif config.row.second_stage != "none":
            part.set_weights(train(stop).get_weights())
        else:
            with precision.computing(config.precision):
                _pretrain(config, part, data.train_images, verbose, folder, stop)
        if path is not None:
            with _files.whole_file(path) as unfinished:
                part.save_weights(unfinished)
    if config.row.second_stage == "head":
        head.set_weights(fresh)


def _pretrain(config, backbone, images, verbose, folder, stop):
    epochs = config.first_stage_epochs
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


def _load_from_another(config, part):
    """Loads the weights of `first_stage`, a finished run with the same first stage."""
    place = pathlib.Path(config.first_stage).expanduser()
    path = place / FIRST_STAGE_WEIGHTS
    try:
        there = finished.read_config(place)
        is_erm = there.method == _FIRST and config.row.second_stage != "none"
        if is_erm:
            finished.read_result(place)
        elif not path.is_file():
            raise ValueError(f"It has no {FIRST_STAGE_WEIGHTS}.")
    except ValueError as error:
        raise ValueError(
            "`first_stage` must be the folder of a finished run with a first stage. "
            f"{error} Received: first_stage={config.first_stage!r}"
        ) from None
    before, here = _facts(there), _facts(config)
    differences = [
        f"{name}={before.get(name)!r} there, {here.get(name)!r} here"
        for name in {**here, **before}
        if before.get(name) != here.get(name)
    ]
    if differences:
        raise ValueError(
            "`first_stage` must be a run with the same data, network, seed and "
            f"schedule ({'; '.join(differences)}). "
            f"Received: first_stage={config.first_stage!r}"
        )
    if is_erm:
        part.set_weights(finished.load_model(place).get_weights())
    else:
        _load(part, path)


def _facts(config):
    """What decides a first stage: it must be the same in two runs that share it."""
    values = config.identity()
    facts = {name: values.get(name) for name in _DEPENDS_ON}
    if config.row.pretraining != "none":
        return facts | {"pretraining_epochs": config.first_stage_epochs}
    # What the training of ERM depends on, but not that on rotations.
    names = (
        "mixup",
        "cutmix",
        "epochs",
        "schedule",
        "drops",
        "nesterov",
        "vector_rate",
    )
    return facts | {name: getattr(config, name) for name in names}


def _load(backbone, path):
    try:
        backbone.load_weights(path)
    # Keras and HDF5 fail in many ways on a damaged file.
    except Exception as error:
        raise ValueError(
            f"A first stage's weights cannot be read ({first_line(error)}). "
            f"Received: {path}"
        ) from None
