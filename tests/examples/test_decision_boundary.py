"""The picture of decision boundaries, small."""

import re

import numpy as np
import pytest
from helpers import ROOT, module_at, refused


@pytest.fixture(scope="module")
def example():
    return module_at(ROOT / "examples" / "decision_boundary.py")


@pytest.mark.long
def test_it_draws_and_prints_each_error(example, tmp_path, capsys):
    picture = tmp_path / "boundary.png"
    example.main([f"--output={picture}", "--epochs=6", "--test_points=2000"])
    printed = capsys.readouterr().out
    errors = {
        name: float(re.search(rf"{name} +([\d.]+) %", printed)[1])
        for name in ("cross-entropy", "LDAM", "MM", "optimum")
    }
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == [picture.name]
    # Not below the optimum but by chance, and 50 is what guessing gives.
    for error in errors.values():
        assert errors["optimum"] - 1 <= error <= 50


def test_a_sample_is_imbalanced_and_repeats(example):
    points, labels = example.sample(example.COUNTS, np.random.default_rng(3))
    again, _ = example.sample(example.COUNTS, np.random.default_rng(3))
    assert np.bincount(labels).tolist() == [500, 25]
    np.testing.assert_array_equal(points, again)


def test_the_error_counts_both_classes_the_same(example):
    labels = np.array([0] * 98 + [1] * 2)
    assert example.balanced_error(labels, np.zeros(100)) == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output"),
        (["--output=none/boundary.png"], "Received: none/boundary.png"),
        (["--output=boundary.jpg"], "Received: boundary.jpg"),
        (["--output=boundary.png", "--epochs=0"], "--epochs must be >= 1"),
    ],
)
def test_wrong_calls(example, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(example.main, arguments)
    assert not list(tmp_path.iterdir())
