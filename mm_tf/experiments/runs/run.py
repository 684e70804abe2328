"""One run, from its config to its result; `mm_tf.experiments.run` is its command."""

import dataclasses
import pathlib
import tempfile

from mm_tf._files import WriteError
from mm_tf.data.custom.folders import check_outside
from mm_tf.experiments.machine.stopping import Stop
from mm_tf.experiments.runs import images, inputs
from mm_tf.experiments.runs.result import RunFolder


class RunFailedError(RuntimeError):
    """A run has no result; the message says why, and what of it is kept."""


class RunDivergedError(RunFailedError):
    """A run diverged, as it will whenever it is run with these flags."""


def run(config, data=None):
    """Trains what the config says and keeps it in the config's folder.

    A run that is there already, with the same flags, is not trained again: its
    result is returned. One that was stopped goes on from its last checkpoint.
    Ctrl-C and SIGTERM end the step under way, write a checkpoint, and raise a
    `KeyboardInterrupt`.
    """
    if config.dataset == "folder":
        check_outside("output_dir", config.run_folder, config.data_dir)
    config = inputs.identified(config, with_images=data is None)
    folder = RunFolder(config)
    result = folder.finished_result()
    if result is not None:
        if folder.has_leftovers:
            with folder.locked():
                folder.remove_leftovers()
                folder.discard_if_empty()
        return result
    if config.process_id:
        return _follow(config, data, folder)
    with folder.locked():
        # Another process may have finished it just now.
        result = folder.finished_result()
        if result is not None:
            folder.discard_if_empty()
            return result
        folder.prepare()
        try:
            result = folder.written_result() or _train(config, data, folder)
            try:
                folder.finish(result)
            except OSError as error:
                raise _not_written(error, folder) from None
        except BaseException:
            # Not after the rename: another run may have begun in that place.
            folder.discard_if_empty()
            raise
    return result


def _follow(config, data, folder):
    """Trains with the process that keeps the run, and keeps nothing itself."""
    with tempfile.TemporaryDirectory() as scratch:
        place = dataclasses.replace(
            config, output_dir=str(pathlib.Path(scratch, "run"))
        )
        here = RunFolder(place)
        here.incomplete.mkdir()
        return _train(config, data, here, begins_from=folder.incomplete)


def _train(config, data, folder, begins_from=None):
    _check_backend(config)
    with Stop() as stop:
        # Data come first: that they are missing is told before Keras is imported.
        config, data = _with_images(config, data)
        from mm_tf.callbacks import DivergedError
        from mm_tf.checkpoints import CheckpointError, UnusableCheckpointError
        from mm_tf.experiments.runs import summary, training

        summary.print_plan(config)
        summary.print_notes(data.notes)
        try:
            with stop.waiting():
                return training.train(
                    config, data, folder.incomplete, stop, begins_from
                )
        except UnusableCheckpointError as error:
            raise RunFailedError(str(error)) from error
        except DivergedError as error:
            raise RunDivergedError(f"{error} {_what_is_kept(folder)}") from error
        except CheckpointError as error:
            raise RunFailedError(f"{error} {_what_is_kept(folder)}") from error
        except WriteError as error:
            raise _not_written(error, folder) from None


def _with_images(config, data):
    """The config with its class counts, and the images to train and measure on."""
    if data is None:
        whole = images.load_whole(config)
        return config.on(whole), images.subset(config, whole)
    config = config.on(data)
    return config, images.cut(config, data)


def _not_written(error, folder):
    return RunFailedError(
        f"{error.filename or folder.path} cannot be written "
        f"({error.strerror or error}). {_what_is_kept(folder)}"
    )


def _what_is_kept(folder):
    if not folder.has_checkpoint:
        return "No checkpoint had been written."
    return (
        f"The last good checkpoint is kept in {folder.incomplete}, from which the same "
        "flags go on (other flags: another --output_dir, or --overwrite to discard it)."
    )


def _check_backend(config):
    if config.backend is None:
        return
    import keras

    if config.backend != keras.backend.backend():
        raise ValueError(
            "`backend` must be the one that Keras was imported with, "
            f"{keras.backend.backend()}. Received: backend={config.backend!r}"
        )
