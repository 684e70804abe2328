"""The gallery of a report."""

import numpy as np
import pytest
from made_up_runs import make_run
from page_parsing import Page

from mm_tf.experiments import report

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def test_a_rare_class_that_is_all_wrong_comes_first(run):
    make_run(run)
    labels = np.repeat([0, 1, 2], [100, 20, 2])
    predictions = labels.copy()
    predictions[:30] = 1  # 30 of 100, and of each other class
    predictions[100:106] = 0  # 6 of 20: the same share of fewer images
    predictions[120:] = 1  # 2 of 2
    np.savez_compressed(run / "predictions.npz", labels=labels, predictions=predictions)
    page = Page(report.write_report([run], gallery=False))
    words = ["2 of 2 test", "30 of 100 test", "6 of 20 test"]
    places = [page.text.index(each) for each in words]
    assert places == sorted(places)
