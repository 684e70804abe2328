"""A training that is stopped anywhere ends as one that was not."""

import errno
import os
import pathlib

import keras
import numpy as np
import pytest
from helpers import Stopped, stop_after, weights_of

from mm_tf import _files, callbacks, checkpoints, layers, losses, optimizers
from mm_tf.callbacks.divergence import DivergedError
from mm_tf.checkpoints import CheckpointError, CheckpointFolder, Checkpoints
from mm_tf.data import EpochOrder

EPOCHS = 4
STEPS = 3
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 2])
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1)).astype("uint8")


takes_several_steps = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras takes one step at a time there"
)


def build():
    """A network with all that must come back: momentum, statistics, random layers."""
    model = keras.Sequential(
        [
            keras.Input([4, 4, 1]),
            layers.RandomPaddedCrop(1, seed=1),
            layers.RandomHorizontalFlip(seed=2),
            keras.layers.Flatten(),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Dense(8, kernel_initializer=_initializer(2)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=3),
            layers.NormalizedDense(3, kernel_initializer=_initializer(4)),
        ]
    )
    loss = losses.ClassWeighted(losses.MaximumMargin(), 3)
    model.compile(optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def _initializer(seed):
    return keras.initializers.GlorotUniform(seed=seed)


def fit(model, kept, epochs, *watchers, seed=5):
    order = EpochOrder(LABELS, STEPS, seed)
    checkpoints.fit(model, IMAGES, LABELS, order, epochs, kept, watchers, verbose=0)


def train(
    folder, stop=lambda: None, batch_size=STEPS, at_once=1, mixed=(), **arguments
):
    """Trains a new network; returns what a user sees of it."""
    pathlib.Path(folder).mkdir(exist_ok=True)
    model = build()
    if at_once > 1:
        model.compile(
            model.optimizer,
            model.loss,
            metrics=["accuracy"],
            steps_per_execution=at_once,
        )
    log = callbacks.EpochLog(pathlib.Path(folder) / "history.csv")
    test = callbacks.TestError(IMAGES, LABELS, [5, 2, 1], batch_size=3)
    order = EpochOrder(
        LABELS,
        batch_size,
        5,
        class_weights=[1, 2, 5],
        resample_from=2,
        **dict(mixed),
    )
    checkpoints.fit(
        model,
        IMAGES,
        LABELS,
        order,
        EPOCHS,
        Checkpoints(pathlib.Path(folder) / "kept", stop=stop, **arguments),
        callbacks=[
            callbacks.StopOnDivergence(),
            callbacks.WarmUpStepDecay(0.1, 2, [(3, 0.1)]),
            callbacks.DeferredReweighting([0.5, 1, 1.5], start_epoch=2),
            test,
            log,
        ],
        verbose=0,
    )
    return {
        "weights": [weight.tobytes() for weight in weights_of(model)],
        "rows": log.rows,
        "history": (pathlib.Path(folder) / "history.csv").read_text(),
        "errors": [list(errors) for errors in test.per_class_errors],
        "predictions": list(test.predictions),
        "predicted": model.predict(IMAGES, batch_size=3, verbose=0).argmax(-1).tolist(),
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.filterwarnings("error:`resample_from`")
@pytest.mark.parametrize("stops", [[1], [4, 1, 2], [12]])
def test_stopped_anywhere_it_ends_the_same(tmp_path, stops, undisturbed):
    for steps in stops:
        with pytest.raises(Stopped):
            train(tmp_path, stop_after(steps))
    assert train(tmp_path) == undisturbed


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_batches_are_the_same_after_a_stop(tmp_path, kind, undisturbed):
    mixed = {kind: 1.0}
    whole = train(tmp_path / "whole", mixed=mixed)
    assert whole["weights"] != undisturbed["weights"]
    for steps in (1, 4):
        with pytest.raises(Stopped):
            train(tmp_path / "on", stop_after(steps), mixed=mixed)
    with pytest.raises(CheckpointError, match="another training"):
        train(tmp_path / "on", mixed={kind: 0.5})
    assert train(tmp_path / "on", mixed=mixed) == whole


@takes_several_steps
def test_several_steps_at_once_are_the_same_training(tmp_path):
    """Four steps an epoch, two at once; stopped between two and within them."""
    one_by_one = train(tmp_path / "one", batch_size=2)
    assert train(tmp_path / "two", batch_size=2, at_once=2) == one_by_one
    for at_once, looks in ((2, 3), (1, 1)):
        # After steps 4 and 2 of epoch 1; step 3, from which no two pairs are left.
        with pytest.raises(Stopped):
            train(tmp_path / "on", stop_after(looks), batch_size=2, at_once=at_once)
    assert Checkpoints(tmp_path / "on" / "kept").folder.newest()[1]["step"] == 3
    assert train(tmp_path / "on", batch_size=2, at_once=2) == one_by_one


def test_a_finished_training_is_not_trained_on(tmp_path, undisturbed):
    train(tmp_path)
    assert train(tmp_path, stop_after(1)) == undisturbed


def test_without_checkpoints_it_is_the_same_training(undisturbed):
    model = build()
    order = EpochOrder(LABELS, STEPS, 5, class_weights=[1, 2, 5], resample_from=2)
    schedule = [
        callbacks.WarmUpStepDecay(0.1, 2, [(3, 0.1)]),
        callbacks.DeferredReweighting([0.5, 1, 1.5], start_epoch=2),
    ]
    checkpoints.fit(model, IMAGES, LABELS, order, EPOCHS, None, schedule, verbose=0)
    weights = [weight.tobytes() for weight in weights_of(model)]
    assert weights == undisturbed["weights"]


def test_minutes_write_within_an_epoch(tmp_path, monkeypatch):
    written = []
    write = CheckpointFolder.write

    def remembered(self, epoch, step, arrays, facts):
        written.append((epoch, step))
        write(self, epoch, step, arrays, facts)

    monkeypatch.setattr(CheckpointFolder, "write", remembered)
    train(tmp_path / "a")
    assert written == [(epoch, 0) for epoch in range(1, EPOCHS + 1)]
    written.clear()
    train(tmp_path / "b", minutes=1e-9)
    assert written == [
        position
        for epoch in range(EPOCHS)
        for position in [(epoch, 1), (epoch, 2), (epoch + 1, 0)]
    ]
    names = sorted(path.name for path in (tmp_path / "b" / "kept").iterdir())
    assert names == ["epoch00003-step0000002.npz", "epoch00004-step0000000.npz"]


def test_a_damaged_checkpoint_and_a_half_written_one_change_nothing(
    tmp_path, undisturbed
):
    with pytest.raises(Stopped):
        train(tmp_path, stop_after(8))
    before, newest = sorted((tmp_path / "kept").iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    (tmp_path / "kept" / ".7.incomplete.epoch00009-step0000000.npz").write_bytes(b"PK")
    with pytest.warns(
        UserWarning, match="damaged checkpoint is skipped, .*epoch00002-step0"
    ):
        assert train(tmp_path) == undisturbed
    assert not list((tmp_path / "kept").glob(".*"))


@pytest.fixture
def two(tmp_path):
    kept = CheckpointFolder(tmp_path / "kept", {"seed": 1})
    for epoch in (1, 2, 3):
        kept.write(epoch, 0, {"kernel": np.full(40, float(epoch))}, {})
    assert len(list(kept.path.iterdir())) == 2
    return kept


def test_all_damaged_is_an_error_and_nothing_is_removed(two):
    for path in two.path.iterdir():
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(CheckpointError, match="No checkpoint in .* can be read"),
    ):
        two.newest()
    assert len(list(two.path.iterdir())) == 2


def test_another_training_is_refused_with_the_difference(tmp_path):
    kept = CheckpointFolder(tmp_path, {"seed": 1, "counts": (5, 2), "jit": None})
    kept.write(1, 0, {}, {})
    assert CheckpointFolder(tmp_path, kept.identity).newest() is not None
    other = CheckpointFolder(tmp_path, {"seed": 2, "counts": (5, 2), "beta": 1.5})
    with pytest.raises(
        CheckpointError,
        match="beta=nothing there, beta=1.5 here; seed=1 there, seed=2 here",
    ):
        other.newest()


def test_another_network_is_refused(tmp_path):
    train(tmp_path)
    model = keras.Sequential([keras.Input([4, 4, 1]), keras.layers.Flatten()])
    model.add(layers.NormalizedDense(3))
    model.compile("sgd", losses.MaximumMargin())
    with pytest.raises(CheckpointError, match=r"another training .*model/0=.* here"):
        fit(model, Checkpoints(tmp_path / "kept"), 9)


def test_another_order_or_other_callbacks_are_refused(tmp_path):
    fit(build(), Checkpoints(tmp_path), 1)
    with pytest.raises(CheckpointError, match="order=.*'seed': 5.*'seed': 6.* here"):
        fit(build(), Checkpoints(tmp_path), 2, seed=6)
    with pytest.raises(CheckpointError, match="callbacks=.. there, .*'EpochLog0'"):
        fit(build(), Checkpoints(tmp_path), 2, callbacks.EpochLog())


def test_a_callback_that_stops_the_training_stops_it_when_resumed_too(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    with pytest.raises(Stopped):
        fit(build(), Checkpoints(tmp_path, stop=stop_after(1)), 4, Stop())
    kept = Checkpoints(tmp_path)
    fit(build(), kept, 4, Stop())
    assert (kept.epoch, kept.step) == (1, 0)


class Subclassed(keras.Model):
    def __init__(self, outputs=None):
        super().__init__()
        self.head = layers.NormalizedDense(3, kernel_initializer=_initializer(2))
        self.outputs_of = outputs or (lambda cosines: cosines)

    def call(self, images):
        flat = keras.ops.reshape(keras.ops.cast(images, "float32") / 255, (-1, 16))
        return self.outputs_of(self.head(flat))


def subclassed(is_compiled=True, is_built=True, outputs=None):
    model = Subclassed(outputs)
    if is_built:
        model(IMAGES[:1])
    if is_compiled:
        model.compile(optimizers.SGD(0.1), losses.MaximumMargin(), metrics=["accuracy"])
    return model


def test_a_subclassed_model_resumes(tmp_path):
    whole = subclassed()
    fit(whole, None, 2)
    with pytest.raises(Stopped):
        fit(subclassed(), Checkpoints(tmp_path, stop=stop_after(4)), 2)
    resumed = subclassed()
    fit(resumed, Checkpoints(tmp_path), 2)
    np.testing.assert_equal(weights_of(resumed), weights_of(whole))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"is_compiled": False}, "must be compiled.*`model.compile.*not compiled"),
        ({"is_built": False}, "must be built.*`model.images.*not built"),
        ({"outputs": lambda cosines: [cosines, cosines]}, "one output.*2 outputs"),
        ({"outputs": lambda cosines: {"a": cosines}}, "one output.*1 outputs"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(subclassed(**arguments), Checkpoints(tmp_path), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": keras.optimizers.SGD(use_ema=True)}, "`use_ema`.*use_ema=True"),
        pytest.param(
            {"steps_per_execution": 2},
            "divides the 3 steps.*steps_per_execution=2",
            marks=takes_several_steps,
        ),
    ],
)
def test_a_model_that_cannot_resume_exactly_is_refused(tmp_path, arguments, message):
    model = build()
    model.compile(**{"optimizer": "sgd", "loss": losses.MaximumMargin(), **arguments})
    with pytest.raises(ValueError, match=message):
        fit(model, Checkpoints(tmp_path), 1)


def test_another_backend_is_refused_and_other_versions_are_reported(
    tmp_path, monkeypatch
):
    with pytest.raises(Stopped):
        train(tmp_path, stop_after(5))
    here = checkpoints._versions()
    monkeypatch.setattr(checkpoints, "_versions", lambda: {**here, "keras": "9.9"})
    with pytest.warns(UserWarning, match="'9.9'.*weights may differ"):
        train(tmp_path)
    monkeypatch.setattr(checkpoints, "_versions", lambda: {**here, "backend": "mxnet"})
    with pytest.raises(CheckpointError, match="backend='mxnet' here"):
        train(tmp_path)


def test_a_full_disk_is_reported_and_saved_files_stay(
    tmp_path, monkeypatch, undisturbed
):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        save, calls = np.savez, iter(range(9))

        def save_until_full(file, **arrays):
            if next(calls) == 2:
                file.write(b"half")
                raise full
            save(file, **arrays)

        patch.setattr(np, "savez", save_until_full)
        with pytest.raises(CheckpointError, match="written .No space left on device"):
            train(tmp_path)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert train(tmp_path) == undisturbed


def test_weights_that_are_not_finite_take_no_checkpoints_place(tmp_path):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                kernel = self.model.layers[-1].kernel
                kernel.assign(np.full(kernel.shape, np.nan))

    with pytest.raises(
        DivergedError, match="a weight is not finite before step 0, at lea"
    ):
        fit(build(), Checkpoints(tmp_path), EPOCHS, Spoil())
    assert [path.name for path in tmp_path.iterdir()] == ["epoch00001-step0000000.npz"]
    assert all(
        np.isfinite(array).all()
        for array in _files.read_arrays(next(tmp_path.iterdir())).values()
    )


def test_a_copy_of_a_checkpoint_is_the_users(tmp_path):
    copy = tmp_path / "epoch00000-step0000000-my_copy.npz"
    copy.touch()
    kept = CheckpointFolder(tmp_path)
    assert not kept.exists()
    for epoch in range(3):
        kept.write(epoch, 0, {}, {})
    assert copy.exists() and len(list(tmp_path.iterdir())) == 3


def test_clear_removes_what_is_its_own(tmp_path):
    kept = CheckpointFolder(tmp_path / "kept")
    kept.write(1, 0, {}, {})
    assert kept.exists()
    kept.clear()
    assert not (tmp_path / "kept").exists() and not kept.exists()


def test_a_plain_fit_refuses_checkpoints_and_loses_none(tmp_path):
    kept, refused = Checkpoints(tmp_path), Checkpoints(tmp_path)
    fit(build(), kept, 2)
    with pytest.raises(CheckpointError, match="another training"):
        fit(build(), refused, 2, seed=6)
    files = sorted(os.listdir(tmp_path))
    for callback in (kept, refused, Checkpoints(tmp_path)):
        with pytest.raises(ValueError, match="checkpoints.fit.*Received: "):
            build().fit(IMAGES, LABELS, callbacks=[callback], verbose=0)
    assert sorted(os.listdir(tmp_path)) == files
