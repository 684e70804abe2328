"""The tables of a report, and the words beside them."""

import pytest
from made_up_runs import make_data, make_run
from page_parsing import Page

from mm_tf.experiments import paper, report
from mm_tf.experiments.reports import runs as report_runs
from mm_tf.experiments.reports import tables
from mm_tf.experiments.runs import summary

pytestmark = pytest.mark.usefixtures("coarse_pictures")


@pytest.mark.parametrize("differences", [[], ["epochs 6"]])
def test_the_words_are_those_of_the_run(run, differences, capsys):
    result = make_run(run, published_top1_error=20.0, protocol_differences=differences)
    summary.print_result(result, run)
    printed = " ".join(capsys.readouterr().out.split())
    assert paper.published_words(result) in printed
    page = Page(report.write_report([run], data=make_data()))
    assert paper.published_words(result) in page.text
    assert "Published, top-1 (Table 1) 20.00" in page.text


def test_nothing_is_said_of_a_number_that_is_not_there(run):
    make_run(run)
    page = Page(report.write_report([run], data=make_data()))
    assert "Published" not in page.text and "The paper has no" not in page.text


FLAGS = {
    "imbalance_ratio": "20.0",
    "subset_seed": "0",
    "delta": "0.6",
    "class_weighting": "effective_number",
    "effective_number_beta": "0.9999",
    "reweight_epoch": "3",
    "seed": "0",
}
AS_IS = {"dataset": "folder", "data_dir": "photos", "imbalance": "as_is"}


def read_run(folder, flags):
    """A run of which the flags count alone."""
    result = make_run(folder)
    lines = [f"--{name}={value}" for name, value in {**FLAGS, **flags}.items()]
    (folder / "flags.txt").write_text("\n".join(lines))
    read = report_runs.read(folder, result)
    assert read.config is not None
    return read


@pytest.mark.parametrize(
    ("flags", "without"),
    [
        ({"method": "mm_drw"}, set()),
        ({"method": "mm_drw", "imbalance": "step"}, set()),
        ({"method": "mm_drw", "imbalance": "none"}, {"imbalance_ratio"}),
        ({"method": "mm_drw"} | AS_IS, {"imbalance_ratio", "subset_seed"}),
        ({"method": "mm_drw", "holdout": "0.2"} | AS_IS, {"imbalance_ratio"}),
        (
            {"method": "erm"},
            {"delta", "class_weighting", "effective_number_beta", "reweight_epoch"},
        ),
        (
            {"method": "cb_rw", "class_weighting": "inverse_frequency"},
            {"delta", "effective_number_beta", "reweight_epoch"},
        ),
    ],
)
def test_flags_that_play_no_part_are_left_out(run, flags, without):
    rows = tables.flags([read_run(run, flags)])
    assert {name for name, *_ in rows} == (FLAGS.keys() | flags.keys()) - without


def test_a_flag_of_one_run_alone_is_no_difference(tmp_path):
    flags = [{"method": "erm"}, {"method": "mm_drw", "seed": "1"}]
    runs = [read_run(tmp_path / each["method"], each) for each in flags]
    rows = {name: (cells, differs) for name, cells, differs in tables.flags(runs)}
    assert rows["delta"] == (["-", "0.6"], False)
    assert rows["seed"] == (["0", "1"], True)
    assert rows["imbalance_ratio"] == (["20.0", "20.0"], False)


def read_all(folders, **arguments):
    """Runs with another number of evaluated images each, the second without any."""
    counts = [[10, 10, 2000], None, [10, 10, 3]]
    for folder, of_classes in zip(folders, counts, strict=False):
        result = make_run(folder, evaluated_counts=of_classes, **arguments)
        if of_classes is None:
            (folder / "predictions.npz").unlink()
        yield report_runs.read(folder, result)


def test_classes_have_the_images_that_their_errors_are_on(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    runs = list(read_all(folders, evaluated_on="holdout"))
    columns = dict(tables.classes(runs, ["A", "B", "C"]))
    assert list(columns) == [
        "Training images",
        "Hold-out images",
        *(f"{label}, error in %" for label in "ABC"),
    ]
    assert columns["Training images"] == ["200", "60", "20"]
    assert columns["Hold-out images"] == ["10", "10", "2,000 or 3"]
    errors = runs[0].result.per_class_error
    assert columns["A, error in %"] == [f"{error:.1f}" for error in errors]
    columns = dict(tables.classes(runs[1:2], ["B"]))
    assert list(columns) == ["Training images", "B, error in %"]


def test_all_flags_of_a_run_are_shown_where_they_cannot_be_read(run):
    result = make_run(run)
    (run / "flags.txt").write_text("--method=erm\n--delta=0.6\n--no_such_flag\n")
    rows = tables.flags([report_runs.read(run, result)])
    assert [(name, *cells) for name, cells, _ in rows] == [
        ("method", "erm"),
        ("delta", "0.6"),
        ("no_such_flag", "yes"),
    ]
