import dataclasses
import json
import subprocess
import sys

import pytest

from mm_tf.experiments.figures import per_class_error_figure
from mm_tf.experiments.results import RunResult

RESULT = RunResult(
    method="mm_drw",
    setting="digits_lt10",
    dataset="digits",
    imbalance="long_tailed",
    imbalance_ratio=10.0,
    seed=0,
    subset_seed=0,
    epochs=5,
    hyperparameters={"beta": 1.5},
    class_names=["zero", "one", "two"],
    class_counts=[100, 30, 10],
    top1_error=20.0,
    best_top1_error=20.0,
    best_epoch=4,
    balanced_error=20.0,
    per_class_error=[10.0, None, 30.0],
    many_shot_error=None,
    medium_shot_error=10.0,
    few_shot_error=30.0,
    published_top1_error=None,
    protocol_differences=[],
    images_per_second=100.0,
    training_seconds=5.0,
    backend="tensorflow",
    device="CPU",
    versions={},
)
OTHER = dataclasses.replace(RESULT, method="erm", per_class_error=[0.0, 50.0, 90.0])


def test_bars_are_the_errors():
    top, bottom = per_class_error_figure([RESULT, OTHER]).axes
    assert [bar.get_height() for bar in top.patches] == [100, 30, 10]
    heights = [bar.get_height() for bar in bottom.patches]
    assert heights[0] == 10 and heights[2:] == [30, 0, 50, 90]
    assert [label.get_text() for label in bottom.get_xticklabels()] == [
        "zero",
        "one",
        "two",
    ]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "1 to 6 results. Received: 0"),
        ([RESULT] * 7, "1 to 6 results. Received: 7"),
        (
            [RESULT, dataclasses.replace(RESULT, setting="digits_lt50")],
            "digits_lt10, digits_lt50",
        ),
    ],
)
def test_wrong_results(results, message):
    with pytest.raises(ValueError, match=message):
        per_class_error_figure(results)


def test_result_round_trip(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(RESULT.to_json())
    assert RunResult.read(path) == RunResult.read(tmp_path) == RESULT


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"method": "mm"})])
def test_a_file_that_is_no_result(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="holds no result of a run"):
        RunResult.read(path)


def test_command(tmp_path):
    path, picture = tmp_path / "result.json", tmp_path / "errors.png"
    path.write_text(RESULT.to_json())
    command = [sys.executable, "benchmarks/per_class_error.py", f"--output={picture}"]
    done = subprocess.run([*command, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    missing = subprocess.run(
        [*command, tmp_path / "none"], capture_output=True, text=True
    )
    assert missing.returncode == 2
    assert "no result of a run" in missing.stderr
    assert "Traceback" not in missing.stderr
