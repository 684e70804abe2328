"""What tests of reports share."""

import pytest


@pytest.fixture
def coarse_pictures(monkeypatch):
    """Drawing is most of the time of a report."""
    from mm_tf.experiments.reports import pictures

    monkeypatch.setattr(pictures, "_DOTS_PER_INCH", 50)


@pytest.fixture
def run(tmp_path):
    """The folder of a run, to be made up."""
    return tmp_path / "saved_models" / "erm" / "seed0"
