import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest
from made_up import RESULT

from mm_tf.experiments.figures import per_class_error_figure
from mm_tf.experiments.results import RunResult

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
    script = pathlib.Path(__file__).parents[2] / "benchmarks" / "per_class_error.py"
    command = [sys.executable, script, f"--output={picture}"]
    done = subprocess.run([*command, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    missing = subprocess.run(
        [*command, tmp_path / "none"], capture_output=True, text=True
    )
    assert missing.returncode == 2
    assert "no result of a run" in missing.stderr
    assert "Traceback" not in missing.stderr
