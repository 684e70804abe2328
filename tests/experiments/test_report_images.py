"""The images that the runs of a report were evaluated on."""

import pytest
from made_up_runs import make_data, make_run
from page_parsing import Page

from mm_tf.experiments import report

pytestmark = pytest.mark.usefixtures("coarse_pictures")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"gallery": False}, "They were not asked for."),
        ({"data": make_data(4)}, "not the one that the runs were evaluated on"),
    ],
)
def test_without_images(run, arguments, words):
    make_run(run)
    page = Page(report.write_report([run], **arguments))
    assert words in page.text
    assert "taken for cat" in page.text


def test_data_that_cannot_be_loaded(run):
    make_run(run, dataset="cifar10")
    page = Page(report.write_report([run], data_dir=run / "none"))
    assert "Without test images" in page.text and "`data_dir`" in page.text
