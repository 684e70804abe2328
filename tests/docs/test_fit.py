"""docs/fit.md: its programs, run one behind the other as a reader would."""

import re

import keras
import numpy as np
import pytest
from helpers import ROOT
from made_up_images import save_classes

from mm_tf import losses

PROGRAMS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "fit.md").read_text("utf-8"), re.S
)
# What takes a minute there, here in a second.
SMALLER = {'"PHOTOS"': '"photos"', "depth=20": "depth=8", "epochs=20": "epochs=1"}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names that the programs leave."""
    folder = tmp_path_factory.mktemp("page")
    save_classes(folder / "photos" / "train", {"cat": 8, "dog": 4})
    save_classes(folder / "photos" / "test", {"cat": 2, "dog": 2}, first_seed=50)
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
        for program in PROGRAMS:
            for there, here in SMALLER.items():
                program = program.replace(there, here)
            exec(program, names)
        names["best"] = keras.saving.load_model("best.keras")
        names["files"] = {path.name for path in folder.iterdir()}
    return names


def test_every_program_runs(names):
    assert len(PROGRAMS) == 9
    assert names["files"] == {"best.keras", "digits.keras", "my_checkpoints", "photos"}


def test_the_best_epoch_is_saved_and_comes_back(names):
    history, digits = names["history"], names["digits"]
    assert "val_loss" in history and len(history["val_balanced_accuracy"]) > 8
    found = names["best"].evaluate(
        digits.test_images, digits.test_labels, verbose=0, return_dict=True
    )
    best = max(history["val_balanced_accuracy"])
    assert found["balanced_accuracy"] == pytest.approx(best, abs=1e-6)


def test_each_head_has_the_weights_of_its_callback(names):
    np.testing.assert_allclose(names["odd_loss"].class_weights, [0.9, 1.1])
    assert isinstance(names["digit_loss"], losses.ClassWeighted)
    rarest, most = names["digit_loss"].class_weights[[-1, 0]]
    assert rarest > most


def test_what_the_reader_froze_stays_frozen(names):
    flags = [layer.trainable for layer in names["backbone"].layers]
    assert flags == [False, True, True]
