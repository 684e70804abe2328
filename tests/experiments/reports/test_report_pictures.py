"""The pictures of a report."""

import pytest
from made_up_runs import make_run

from mm_tf.experiments import report
from mm_tf.experiments.reports import figures

pytestmark = pytest.mark.usefixtures("coarse_pictures")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that a report draws, by the names of their functions."""
    drawn = {}

    def watch(name):
        draw = getattr(figures, name)

        def watched(*arguments):
            drawn[name] = draw(*arguments)
            return drawn[name]

        monkeypatch.setattr(figures, name, watched)

    for name in (
        "class_counts_figure",
        "per_class_error_figure",
        "shot_error_figure",
        "training_curves_figure",
    ):
        watch(name)
    return drawn


@pytest.mark.parametrize(
    ("method", "words"),
    [("hg_drs", "re-sampled"), ("mm_drw", "re-weighted"), ("cb_rs", None)],
)
def test_pictures_are_of_the_run(run, drawn, method, words):
    result = make_run(run, method=method, epochs=20)
    report.write_report([run], gallery=False)
    (counts,) = drawn["class_counts_figure"].axes
    assert [bar.get_height() for bar in counts.patches[:3]] == result.class_counts
    _, errors = drawn["per_class_error_figure"].axes
    heights = [bar.get_height() for bar in errors.patches]
    assert heights == result.per_class_error
    (shots,) = drawn["shot_error_figure"].axes
    assert [bar.get_height() for bar in shots.containers[0]] == [12.34, 45.67]
    for axes in drawn["training_curves_figure"].axes:
        lines = {line.get_label(): line.get_xdata()[0] for line in axes.lines[-2:]}
        # Epochs 16 and 18 of 20, as 160 and 180 of 200.
        assert lines == {
            "learning rate × 0.01 from epoch 16": 15.5,
            "learning rate × 0.0001 from epoch 18": 17.5,
        }
        spans = [(span.get_label(), span.get_x()) for span in axes.patches]
        assert spans == ([(f"{words} from epoch 16", 15.5)] if words else [])
