"""One run, from its config to its result; `mm_tf.experiments.run` is its command."""

from mm_tf._files import WriteError
from mm_tf.data.custom.folders import check_outside
from mm_tf.experiments.machine.stopping import Stop
from mm_tf.experiments.runs import data as run_data
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

    Args:
        config: A `RunConfig`.
        data: Its `ImageData`, with the config's `drawn_class_counts` (a hold-out is
            cut from it); read by default.

    Returns:
        The `RunResult`, which is also `result.json` in `config.run_folder`.

    Raises:
        ValueError: The folder cannot be written, holds something else, would become
            a class of the images or is being written by another process; the config
            wants another backend than the one that Keras was imported with; images or
            weights are missing, do not have the config's digests, or do not fit the
            network.
        DatasetUnavailableError: The data set is missing and cannot be downloaded.
        RunDivergedError: The training diverged.
        RunFailedError: A file could not be written or read on the way. The message
            says which, and what is saved.

    Example:

    >>> import tempfile
    >>> from mm_tf.experiments.run import RunConfig, run
    >>> folder = tempfile.mkdtemp()
    >>> result = run(
    ...     RunConfig(model="resnet8", imbalance="none", epochs=1, output_dir=folder)
    ... )  # doctest: +ELLIPSIS
    MM-LDAM-DRW on digits_balanced, seed 0: 1,240 training images...
    >>> len(result.per_class_error)
    10
    """
    if config.dataset == "folder":
        check_outside("output_dir", config.run_folder, config.data_dir)
    config = run_data.with_digests(config, with_data=data is None)
    folder = RunFolder(config)
    result = folder.finished_result()
    if result is not None:
        print("This run was finished before, so nothing is trained.", flush=True)
    else:
        with folder.locked():
            # Another process may have finished it just now.
            result = folder.finished_result() or _finish(config, data, folder)
    folder.remove_leftovers()
    return result


def _finish(config, data, folder):
    folder.prepare()
    try:
        result = _train(config, data, folder)
        folder.finish(result)
        return result
    except WriteError as error:
        raise RunFailedError(
            f"{error.filename or folder.path} cannot be written "
            f"({error.strerror or error}). {_what_is_saved(folder)}"
        ) from None
    finally:
        folder.discard_if_empty()


def _train(config, data, folder):
    _check_backend(config)
    with Stop() as stop:
        # Data come first: an error in them comes before Keras is imported.
        config, data = run_data.read(config, data)
        from mm_tf.callbacks import DivergedError
        from mm_tf.checkpoints import CheckpointError, UnusableCheckpointError
        from mm_tf.experiments.runs import summary, training

        summary.print_plan(config, data.notes)
        # From here on the training asks after each step whether to stop.
        stop.can_wait = True
        try:
            return training.train(config, data, folder.path, stop)
        except UnusableCheckpointError as error:
            raise RunFailedError(str(error)) from error
        except DivergedError as error:
            raise RunDivergedError(f"{error} {_what_is_saved(folder)}") from error
        except CheckpointError as error:
            raise RunFailedError(f"{error} {_what_is_saved(folder)}") from error


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
