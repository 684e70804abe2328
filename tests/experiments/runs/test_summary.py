"""What a run prints, from results that are made up."""

import dataclasses
import io

import pytest
from made_up import RESULT
from rich.console import Console

from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.runs import summary


def printed(function, *arguments, width=80):
    file = io.StringIO()
    function(*arguments, console=Console(file=file, width=width))
    return " ".join(file.getvalue().split())


NUMBER = {"published_top1_error": 21.98}
OTHER = NUMBER | {"protocol_differences": ["epochs 10 (paper: 200)"]}
HOLDOUT = {"evaluated_on": "holdout", "evaluated_counts": [500, 0, 2]}


@pytest.mark.parametrize(
    ("changes", "words", "absent"),
    [
        ({}, "many-shot classes (> 100 images) -", ["published", "paper"]),
        ({}, "few-shot classes (< 20) 30.00", []),
        ({}, "Training Test Class images images Error %", []),
        (NUMBER, "published, top-1 (Table 1) 21.98", []),
        (NUMBER, "The paper's protocol. The paper's draw of the images", []),
        (OTHER, "not to be compared with its number: epochs 10 (paper: 200).", []),
        (HOLDOUT, "Error on the hold-out images", ["test"]),
        (HOLDOUT, "chosen on hold-out, so it flatters", ["test"]),
        (HOLDOUT, "Training Hold-out Class images images Error %", []),
        (HOLDOUT, "zero 100 500 10.0 one 30 0 - two 10 2 30.0", []),
    ],
)
def test_result(changes, words, absent):
    result = dataclasses.replace(RESULT, **changes)
    text = printed(summary.print_result, result, "here")
    assert words in text and "Saved in here" in text
    assert not [each for each in absent if each in text]


def test_names_of_classes_are_no_markup():
    names = ["[old]", "[/x]", "[bold]", "a\x1b[31m"]
    result = dataclasses.replace(
        RESULT,
        class_names=names,
        class_counts=[100, 30, 10, 5],
        per_class_error=[10.0, None, 30.0, 40.0],
        evaluated_counts=[10, 0, 10, 10],
    )
    text = printed(summary.print_result, result, "at [/home]")
    expected = "[old] 100 10 10.0 [/x] 30 0 - [bold] 10 10 30.0 a\ufffd[31m 5 10 40.0"
    assert expected in text
    assert "Saved in at [/home]" in text


@pytest.mark.parametrize(
    ("batch_size", "hint"),
    # 417 images.
    [(32, "1 of 32 images"), (416, "1 of 416 images"), (31, None), (139, None)],
)
def test_a_last_step_of_too_few_images_is_reported(batch_size, hint):
    config = RunConfig(imbalance_ratio=20, batch_size=batch_size)
    text = printed(summary.print_plan, config)
    assert ("the last step" in text) == (hint is not None)
    if hint is not None:
        assert f"the last step of an epoch has {hint}" in text
        better = int(text.split("leaves more: --batch_size=")[1].split()[0])
        assert better < batch_size
        assert 417 % better == 0 or 417 % better >= better / 4


@pytest.mark.parametrize("width", [50, 80, 200])
def test_all_of_a_hundred_classes_are_legible(width):
    result = dataclasses.replace(
        RESULT,
        class_names=[f"class_number_{number}" for number in range(100)],
        class_counts=list(range(500, 400, -1)),
        per_class_error=[number + 0.5 for number in range(100)],
        evaluated_counts=[7] * 100,
    )
    text = printed(summary.print_result, result, "here", width=width)
    for number in range(100):
        assert f"class_number_{number} {500 - number} 7 {number}.5" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (dict(method="mm_drw", epochs=10), "re-weighted from epoch 8"),
        (
            dict(method="mm_drw", epochs=1),
            "never re-weighted (that would be from epoch 1)",
        ),
        (dict(method="cb_rw"), "re-weighted from epoch 0"),
        (dict(method="hg_drs"), "re-sampled from epoch 160"),
        (dict(method="cb_rs"), "re-sampled from epoch 0"),
        (
            dict(imbalance_ratio=20, holdout=0.2),
            "on a hold-out of 84 more training images, 25 to 1 a class",
        ),
        (dict(method="erm", imbalance_ratio=20), "417 training images, 124 to 6 a"),
        (dict(epochs=30, warmup_epochs=1), "resnet32, 30 epochs, counted from 0 delta"),
        (dict(epochs=1, warmup_epochs=1), "warm-up 1 epoch, never x 0.01 (that would"),
    ],
)
def test_plan(arguments, expected):
    text = printed(summary.print_plan, RunConfig(**arguments))
    assert expected in text
