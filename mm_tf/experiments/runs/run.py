"""One run, from its config to its result; `mm_tf.experiments.run` is its command."""

from mm_tf._files import WriteError
from mm_tf.data.custom.folders import check_outside
from mm_tf.experiments.machine.stopping import Stop
from mm_tf.experiments.runs import images, inputs
from mm_tf.experiments.runs.folder import RunFolder


class RunFailedError(RuntimeError):
    """A run has no result; the message says why, and what of it is saved."""


class RunDivergedError(RunFailedError):
    """A run diverged, as it will whenever it is run with these flags."""


def run(config, data=None):
    """Trains what the config says, in the config's folder.

    A run that is finished there, with the same flags, is not trained again: its
    result is returned. One that was stopped resumes from its last checkpoint.
    Ctrl-C and SIGTERM end the step under way, write a checkpoint, and raise a
    `KeyboardInterrupt`.
    """
    if config.dataset == "folder":
        check_outside("output_dir", config.run_folder, config.data_dir)
    config = inputs.identified(config, with_images=data is None)
    folder = RunFolder(config)
    result = folder.finished_result()
    if result is not None and (folder.is_in_use or not folder.has_leftovers):
        return result
    with folder.locked():
        # Another process may have finished it just now.
        result = folder.finished_result()
        if result is None:
            folder.prepare()
            try:
                result = _train(config, data, folder)
                folder.finish(result)
            except WriteError as error:
                raise _not_written(error, folder) from None
            finally:
                folder.discard_if_empty()
        folder.remove_leftovers()
    return result


def _train(config, data, folder):
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
                return training.train(config, data, folder.path, stop)
        except UnusableCheckpointError as error:
            raise RunFailedError(str(error)) from error
        except DivergedError as error:
            raise RunDivergedError(f"{error} {_what_is_saved(folder)}") from error
        except CheckpointError as error:
            raise RunFailedError(f"{error} {_what_is_saved(folder)}") from error


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
        f"({error.strerror or error}). {_what_is_saved(folder)}"
    )


def _what_is_saved(folder):
    if not folder.has_checkpoint:
        return "No checkpoint had been written."
    return (
        f"The last good checkpoint is in {folder.path}, from which the same flags "
        "resume (other flags: another --output_dir, or --overwrite to discard it)."
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
