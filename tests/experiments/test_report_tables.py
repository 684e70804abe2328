"""The tables of a report, and the words beside them."""

import pytest
from made_up_runs import make_data, make_run
from page_parsing import Page

from mm_tf.experiments import paper, report, summary

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
