"""What tests of reports share."""

import pytest


@pytest.fixture
def coarse_pictures(monkeypatch):
    """Drawing is most of the time of a report."""
    from mm_tf.experiments import report_pictures

    monkeypatch.setattr(report_pictures, "_DOTS_PER_INCH", 50)


@pytest.fixture
def run(tmp_path):
    """The folder of a run, to be made up."""
    return tmp_path / "saved_models" / "erm" / "seed0"
