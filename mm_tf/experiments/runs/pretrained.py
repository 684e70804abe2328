"""Pre-trained backbones: trained once for a key, kept, and found again."""

import contextlib
import hashlib
import json
import pathlib

import filelock
import keras

from mm_tf import _files
from mm_tf.checkpoints import CheckpointFolder, Checkpoints
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids.progress import PRETRAINING_BEGINS, PRETRAINING_IS_OVER
from mm_tf.experiments.machine import precision
from mm_tf.pretraining import pretrain_rotation

_SECONDS_BETWEEN_LOOKS = 0.5

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
    "jit",
    "deterministic",
    "holdout",
    "seed",
)
# And these, where they are not the defaults: what is kept from before they were
# there keeps its key.
_IF_GIVEN = (
    "weights",
    "weights_digest",
    "image_size",
    "channels",
    "test_fraction",
    "split_seed",
    "horizontal_flip",
    "data_digest",
    # The same on other devices but for rounding, and one device repeats to the bit.
    "strategy",
    "devices",
)


def weights_path(config):
    """Returns where the backbone of a config is kept, and what its key stands for."""
    epochs = config.hyperparameters["pretraining_epochs"]
    facts = {name: getattr(config, name) for name in _DEPENDS_ON}
    facts.update(
        (name, value) for name, value in config.identity().items() if name in _IF_GIVEN
    )
    computed_in = precision.resolved(config.precision)
    if computed_in != "float32":
        facts["precision"] = computed_in
    facts["epochs"] = epochs
    facts["drops"] = RunConfig(epochs=epochs).drops
    facts["backend"] = keras.backend.backend()
    text = json.dumps(facts, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    name = f"{config.setting}-{config.model}-rotation-{key}.weights.h5"
    return pathlib.Path(config.pretrained_dir).expanduser() / name, facts


def start_from_pretrained(config, images, model, verbose, stop=lambda: None):
    """Puts pre-trained weights into a model's backbone, trained now if need be."""
    path, facts = weights_path(config)
    backbone = keras.Model(model.input, model.get_layer("features").output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _waiting_for(path.with_name(path.name + ".lock"), stop):
            if path.exists():
                print(f"{PRETRAINING_IS_OVER} found: {path}", flush=True)
            else:
                with precision.computing(config.precision):
                    _pretrain(config, backbone, images, path, facts, verbose, stop)
        # Read back in both cases, so that a run is the same whichever it was.
        _read(backbone, path)
    except OSError as error:
        raise ValueError(
            f"`pretrained_dir` cannot be written ({error.strerror or error}). "
            f"Received: pretrained_dir={config.pretrained_dir!r}"
        ) from None


@contextlib.contextmanager
def _waiting_for(path, stop):
    """Lets one process at a time train a backbone; the others wait, then find it."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print("Another run pre-trains this backbone: waiting for it.", flush=True)
        while not lock.is_locked:
            stopped = stop()
            if stopped is not None:
                raise stopped from None
            with contextlib.suppress(filelock.Timeout):
                lock.acquire(timeout=_SECONDS_BETWEEN_LOOKS)
    try:
        yield
        path.unlink(missing_ok=True)
    finally:
        lock.release()


def _pretrain(config, backbone, images, path, facts, verbose, stop):
    print(f"{PRETRAINING_BEGINS} on rotations, {facts['epochs']} epochs", flush=True)
    _files.remove_unfinished(path.parent, path.name)
    folder = CheckpointFolder(path.with_name(path.name + ".incomplete"), facts)
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
        kept=Checkpoints(folder, config.checkpoint_minutes, stop),
    )
    with _files.whole_file(path) as unfinished:
        backbone.save_weights(unfinished)
    folder.clear()
    print(f"{PRETRAINING_IS_OVER} kept: {path}", flush=True)


def _read(backbone, path):
    try:
        backbone.load_weights(path)
    # Keras and HDF5 fail in many ways on a damaged file.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"`pretrained_dir` holds a damaged backbone ({reason}). Remove it, to have "
            f"it trained anew. Received: {path}"
        ) from None
