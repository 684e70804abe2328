import dataclasses

import helpers
import numpy as np
import pytest
from made_up import RESULT
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from mm_tf.experiments.reports import figures
from mm_tf.experiments.reports.figures import per_class_error_figure
from mm_tf.experiments.reports.search_figures import search_figure

OTHER = dataclasses.replace(RESULT, method="erm", per_class_error=[0.0, 50.0, 90.0])


def texts(things):
    return [thing.get_text() for thing in things]


def heights(bars):
    return [bar.get_height() for bar in bars]


def test_errors_and_counts_of_classes():
    top, bottom = per_class_error_figure([RESULT, OTHER]).axes
    (counts,) = top.containers
    assert heights(counts) == [100, 30, 10]
    assert texts(top.texts)[:3] == ["100", "30", "10"]
    assert "few-shot" in texts(top.texts) and "many-shot" not in texts(top.texts)
    first, second = bottom.containers
    np.testing.assert_equal(heights(first), [10, np.nan, 30])
    assert heights(second) == [0, 50, 90]
    assert texts(bottom.get_xticklabels()) == ["zero", "one", "two"]
    assert len(figures.COLORS) == 6
    with pytest.raises(ValueError, match="1 to 6 runs. Received: 7"):
        per_class_error_figure([RESULT] * 7)


def test_errors_of_many_classes_are_dots_and_their_means():
    errors = [float(number) for number in range(21)]
    result = dataclasses.replace(
        RESULT,
        class_names=[f"class {number}" for number in range(21)],
        class_counts=[100 - number for number in range(21)],
        evaluated_counts=[10] * 21,
        per_class_error=[None, *errors[1:]],
    )
    _, bottom = per_class_error_figure([result]).axes
    dots, means = bottom.lines
    np.testing.assert_equal(dots.get_ydata(), [np.nan, *errors[1:]])
    assert means.get_ydata()[0] == np.mean(errors[1:10])
    assert means.get_ydata()[-1] == np.mean(errors[-10:])


def many_classes(size, name="class {}"):
    """A result of classes with their counts in rising order."""
    return dataclasses.replace(
        RESULT,
        class_names=[name.format(number) for number in range(size)],
        class_counts=[10 + number for number in range(size)],
        evaluated_counts=[10] * size,
        per_class_error=[float(number) for number in range(size)],
    )


def test_classes_are_ordered_by_training_images():
    top, bottom = per_class_error_figure([many_classes(3)]).axes
    assert heights(top.containers[0]) == [12, 11, 10]
    assert heights(bottom.containers[0]) == [2, 1, 0]
    assert texts(bottom.get_xticklabels()) == ["class 2", "class 1", "class 0"]


def test_some_of_a_hundred_classes_are_named():
    result = many_classes(100)
    _, bottom = per_class_error_figure([result]).axes
    matrix, _ = figures.confusion_figure(np.eye(100), result.class_names).axes
    assert texts(bottom.get_xticklabels())[::9] == ["class 99", "class 0"]
    for labels in (matrix.get_xticklabels(), matrix.get_yticklabels()):
        assert texts(labels)[::9] == ["class 0", "class 99"]


def test_names_in_any_script_are_drawn_without_warnings(tmp_path, recwarn):
    # No font has a character of the private use area.
    names = ["猫", "a\uf8fe", "cat"]
    with figures.theme("light"):
        axes, _ = figures.confusion_figure(np.eye(3), names).axes
        axes.figure.savefig(tmp_path / "picture.png")
    assert not [x for x in recwarn if "Glyph" in str(x.message)]
    assert texts(axes.get_yticklabels())[1:] == ["class 2", "cat"]


def smallest_text(figure):
    """The size in pixels of a figure's smallest text on a phone, 350 pixels wide."""
    sizes = [x.get_fontsize() for x in figure.findobj(Text) if x.get_text().strip()]
    return min(sizes) * 350 / (72 * figure.get_figwidth())


@pytest.mark.parametrize("size", [10, 20, 100])
def test_text_can_be_read_on_a_phone(size):
    result = many_classes(size)
    for figure in (
        per_class_error_figure([result]),
        figures.shot_error_figure([result], ["ERM"]),
        figures.training_curves_figure(HISTORIES, ["ERM", "MM"]),
        figures.confusion_figure(np.eye(size), result.class_names),
    ):
        assert smallest_text(figure) >= 10.9


def contrast(*colors):
    """The contrast of two colours as WCAG 2 defines it."""
    values = np.array([to_rgb(color) for color in colors])
    linear = np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (light + 0.05) / (dark + 0.05)


def test_colours_show_on_a_dark_ground():
    ground = figures._THEMES["dark"][0]
    assert min(contrast(color, ground) for color in figures.COLORS) >= 4


def test_errors_of_shot_groups():
    # RESULT has classes of 100, 30 and 10 images.
    first = dataclasses.replace(RESULT, medium_shot_error=20.0, few_shot_error=35.0)
    (axes,) = figures.shot_error_figure([RESULT, first], ["ERM", "MM"]).axes
    assert [bars.get_label() for bars in axes.containers] == ["ERM", "MM"]
    assert heights(axes.containers[0])[1:] == [10, 30]
    assert heights(axes.containers[1])[1:] == [20, 35]
    assert texts(axes.texts)[:3] == ["", "10.0", "30.0"]


def test_confusions_are_shares_of_the_true_class():
    matrix = [[9, 1, 0], [0, 0, 0], [0, 2, 2]]
    axes, _ = figures.confusion_figure(matrix, ["cat", "dog", "eel"]).axes
    shown = {(text.get_position()): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "90", (1, 0): "10", (1, 2): "50", (2, 2): "50"}


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
    first, second = figures.COLORS[:2]

    def drawn(axes):
        """(colour, whether dashed, y) of each line that has points."""
        return [
            (line.get_color(), line.get_linestyle() == "--", *line.get_ydata().round(9))
            for line in axes.lines
            if len(line.get_xdata())
        ]

    top, bottom = map(drawn, figure.axes)
    assert top == [(first, False, 4, 3, 2, 1), (second, False, 9, 8, 7)]
    assert bottom == [(first, False, 95, 80, 60, 50), (first, True, 90, 70, 40, 10)]
    (legend,) = figure.legends
    assert {"ERM", "MM", "test error", "training error"} <= set(texts(legend.texts))


def test_marks_of_epochs_that_there_are():
    marks = [(1, "rate", False), (2, "re-weighted", True), (4, "after the end", False)]
    figure = figures.training_curves_figure(HISTORIES[:1], ["ERM"], marks)
    for axes in figure.axes:
        (line,) = [line for line in axes.lines if line.get_label() == "rate"]
        (span,) = axes.patches
        # Between the points of two epochs.
        assert 0 < line.get_xdata()[0] < 1 < span.get_x() < 2
        assert span.get_label() == "re-weighted"
    (legend,) = figure.legends
    assert texts(legend.texts)[-2:] == ["rate", "re-weighted"]


def test_errors_of_trials():
    values = {"beta": [1, 2, 2], "delta": [0.1, 0.2, 0.2], "rate": [0.1, 0.01, 1]}
    figure = search_figure(values, [30, 25, 20], "errors", log=["rate"], chosen=2)
    on_map, of_beta, _, of_rate, _ = figure.axes
    assert texts(on_map.texts) == ["30.0", "20.0"]
    assert of_beta.collections[0].get_offsets().tolist() == [[1, 30], [2, 25], [2, 20]]
    assert of_rate.collections[1].get_offsets().tolist() == [[1, 20]]
    assert of_rate.get_xscale() == "log" and of_beta.get_xscale() == "linear"


def test_the_script(tmp_path):
    picture = tmp_path / "errors.png"
    (tmp_path / "result.json").write_text(RESULT.to_json())
    script = [helpers.ROOT / "benchmarks" / "per_class_error.py", f"--output={picture}"]
    done = helpers.python(*script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    missing = helpers.python(*script, tmp_path / "none")
    assert missing.returncode == 2
    assert "no result of a run" in missing.stderr
    assert "Traceback" not in missing.stderr
