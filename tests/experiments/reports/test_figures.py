import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from made_up import RESULT
from matplotlib import colors

from mm_tf.experiments.reports import figures
from mm_tf.experiments.reports.figures import Mark, per_class_error_figure
from mm_tf.experiments.runs.result import RunResult

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


def test_class_counts_are_the_bars():
    counts = [300, 60, 100, 10]
    names = ["cat", "dog", "eel", "fox"]
    result = dataclasses.replace(RESULT, class_counts=counts, class_names=names)
    (axes,) = figures.class_counts_figure(result).axes
    (bars,) = axes.containers
    assert [bar.get_height() for bar in bars] == counts
    assert [bar.get_x() + bar.get_width() / 2 for bar in bars] == [0, 1, 2, 3]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    shown = {
        text.get_text(): text.xy if hasattr(text, "xy") else text.get_position()
        for text in axes.texts
    }
    # The number of a bar stands at its top, a group's name over its classes.
    assert [shown[str(count)] for count in counts] == list(enumerate(counts))
    groups = {name: x for name, (x, _) in shown.items() if name.endswith("-shot")}
    assert groups == {"many-shot": 0, "medium-shot": 1.5, "few-shot": 3}


def test_shot_bars_are_the_errors_of_their_groups():
    counts = [300, 60, 10]
    first = dataclasses.replace(
        RESULT,
        class_counts=counts,
        many_shot_error=10.0,
        medium_shot_error=20.0,
        few_shot_error=30.0,
    )
    second = dataclasses.replace(first, many_shot_error=15.0, few_shot_error=60.0)
    (axes,) = figures.shot_error_figure([first, second], ["ERM", "MM"]).axes
    assert [bars.get_label() for bars in axes.containers] == ["ERM", "MM"]
    for bars, heights, side, color in zip(
        axes.containers,
        ([10, 20, 30], [15, 20, 60]),
        (-1, 1),
        figures.COLORS,
        strict=False,
    ):
        assert [bar.get_height() for bar in bars] == heights
        centers = [bar.get_x() + bar.get_width() / 2 for bar in bars]
        np.testing.assert_allclose(centers, np.arange(3) + 0.2 * side)
        assert {bar.get_facecolor() for bar in bars} == {colors.to_rgba(color)}
    words = [label.get_text() for label in axes.get_xticklabels()]
    assert words == [
        "many-shot\n> 100 images\n1 class",
        "medium-shot\n20 to 100\n1 class",
        "few-shot\n< 20\n1 class",
    ]


def test_a_group_without_classes_has_words_and_no_bar():
    # RESULT has classes of 100, 30 and 10 images.
    (axes,) = figures.shot_error_figure([RESULT], ["MM-DRW"]).axes
    (bars,) = axes.containers
    assert [bar.get_height() for bar in bars] == [10, 30]
    np.testing.assert_allclose(
        [bar.get_x() + bar.get_width() / 2 for bar in bars], [1, 2]
    )
    (words,) = [text for text in axes.texts if text.get_text() == "no such class"]
    assert words.get_position()[0] == 0


HISTORIES = [
    {
        "epoch": np.arange(4),
        "loss": np.array([4.0, 3.0, 2.0, 1.0]),
        "accuracy": np.array([0.1, 0.3, 0.6, 0.9]),
        "test_top1_error": np.array([95.0, 80.0, 60.0, 50.0]),
    },
    {"epoch": np.arange(3), "loss": np.array([9.0, 8.0, 7.0])},
]


def test_curves_are_the_history():
    figure = figures.training_curves_figure(HISTORIES, ["ERM", "MM"])
    top, bottom = figure.axes
    first, second = (colors.to_rgba(color) for color in figures.COLORS[:2])

    def drawn(axes):
        """(colour, whether dashed, x, y) of each line that has points."""
        return [
            (colors.to_rgba(line.get_color()), line.get_linestyle() == "--", *values)
            for line in axes.lines
            if len((values := line.get_data())[0])
        ]

    expected = {
        top: [
            (first, False, range(4), [4, 3, 2, 1]),
            (second, False, range(3), [9, 8, 7]),
        ],
        bottom: [
            (first, False, range(4), [95, 80, 60, 50]),
            (first, True, range(4), [90, 70, 40, 10]),
        ],
    }
    for axes, lines in expected.items():
        assert len(drawn(axes)) == len(lines)
        for (*style, x, y), (*wanted, epochs, values) in zip(
            drawn(axes), lines, strict=True
        ):
            assert style == wanted
            np.testing.assert_array_equal(x, epochs)
            np.testing.assert_allclose(y, values)
    (legend,) = figure.legends
    shown = {
        text.get_text(): (colors.to_rgba(line.get_color()), line.get_linestyle())
        for text, line in zip(legend.texts, legend.legend_handles, strict=True)
    }
    assert shown["ERM"] == (first, "-") and shown["MM"] == (second, "-")
    assert shown["test error"][1] == "-" and shown["training error"][1] == "--"


def test_marks_stand_before_their_epochs():
    marks = [
        Mark(1, "learning rate x 0.01"),
        Mark(2, "re-weighted", is_deferred=True),
        Mark(3, "learning rate x 0.0001"),
        Mark(4, "after the end"),
    ]
    figure = figures.training_curves_figure(HISTORIES[:1], ["ERM"], marks)
    styles = []
    for axes in figure.axes:
        lines = {
            line.get_label(): line for line in axes.lines if "rate" in line.get_label()
        }
        at = {label: set(line.get_xdata()) for label, line in lines.items()}
        assert at == {"learning rate x 0.01": {0.5}, "learning rate x 0.0001": {2.5}}
        styles += [str(line._dash_pattern) for line in lines.values()]
        # What is re-weighted stays so: to the end, which is behind the last epoch.
        (span,) = axes.patches
        assert span.get_label() == "re-weighted"
        assert (span.get_x(), span.get_x() + span.get_width()) == (1.5, 3.5)
    assert len(set(styles)) == 2
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.texts]
    assert words[-3:] == [mark.label for mark in marks[:3]]


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
    script = pathlib.Path(__file__).parents[3] / "benchmarks" / "per_class_error.py"
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
