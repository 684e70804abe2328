"""The measurement of a folder's memory, small."""

import json
import subprocess

import pytest
from helpers import ROOT, environment, module_at, python, refused

PATH = ROOT / "benchmarks" / "memory_of_folder.py"


@pytest.fixture(scope="module")
def benchmark():
    return module_at(PATH)


def test_a_peak_is_that_of_the_process(benchmark):
    # Asked by a process that is small, as the benchmark's is.
    asked = (
        "from memory_of_folder import peak\n"
        "little, _, said = peak(['-c', 'print(7)'])\n"
        "much, seconds, _ = peak(['-c', 'bytearray(2**27).count(1)'])\n"
        "assert said == '7\\n' and seconds > 0\n"
        "print(much - little)"
    )
    found = python("-c", asked, env=environment(PATH.parent))
    assert found.returncode == 0, found.stderr
    # Less by what the asking one has, NumPy, and the one asked has not.
    assert 2**27 * 0.7 < int(found.stdout) < 2**27 * 1.1
    with pytest.raises(subprocess.CalledProcessError):
        benchmark.peak(["-c", "raise SystemExit(3)"])


@pytest.mark.parametrize("wrong", ["--num_images=10", "--cases=walk"])
def test_wrong_calls(benchmark, wrong):
    assert wrong.split("=")[1] in refused(benchmark.main, [wrong])


def test_what_was_measured_is_what_the_docs_say():
    found = json.loads((PATH.parent / "results/memory_of_folder.json").read_text())
    page = (ROOT / "docs" / "photos.md").read_text("utf-8")
    for row in found["rows"]:
        assert row["peak_bytes"] <= row["bound_bytes"]
        kept = min(row["memory_limit"], row["bytes_of_all_images"])
        allowed = row["base_bytes"] + kept + 2048 * row["num_images"]
        assert row["bound_bytes"] == allowed
        figures = ("bytes_of_all_images", "memory_limit", "base_bytes", "bound_bytes")
        cells = [f"{row[name] / 2**20:,.0f}" for name in (*figures, "peak_bytes")]
        assert f"| {row['case']} | {' | '.join(cells)} |" in page


@pytest.mark.long
def test_a_small_folder_stays_within_the_bound(tmp_path):
    output = tmp_path / "memory.json"
    measured = python(PATH, "--num_images=3000", f"--output={output}")
    rows = json.loads(output.read_text())["rows"]
    assert [row["case"] for row in rows] == ["data", "data", "run", "run"]
    assert measured.returncode == (not all(row["is_within_bound"] for row in rows))
    # Processes that do the same differ by some MiB, much beside so few images.
    assert all(row["peak_bytes"] < row["bound_bytes"] + 2**25 for row in rows)
