"""The measurement of a folder's memory, small."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

PATH = pathlib.Path(__file__).parents[2] / "benchmarks" / "memory_of_folder.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("memory_of_folder", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_images_are_all_different(benchmark, tmp_path, monkeypatch):
    # In this process: one that was forked from a pytest with TensorFlow may hang.
    monkeypatch.setattr(benchmark, "ProcessPoolExecutor", lambda _: InThisProcess())
    benchmark.make_folder(tmp_path / "images", 50)
    paths = sorted((tmp_path / "images").rglob("*.jpg"))
    assert len({path.read_bytes() for path in paths}) == len(paths) == 50
    assert len({path.parent for path in paths}) == benchmark.CLASSES


class InThisProcess:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, values, chunksize):
        return map(function, values)


def test_a_peak_is_that_of_the_process(benchmark):
    # Asked by a process that is small, as the benchmark's is.
    asked = (
        "from memory_of_folder import peak\n"
        "little, _, said = peak(['-c', 'print(7)'])\n"
        "much, seconds, _ = peak(['-c', 'bytearray(2**27).count(1)'])\n"
        "assert said == '7\\n' and seconds > 0\n"
        "print(much - little)"
    )
    found = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=PATH.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    # Less by what the asking one has, NumPy, and the one asked has not.
    assert 2**27 * 0.7 < int(found.stdout) < 2**27 * 1.1
    with pytest.raises(subprocess.CalledProcessError):
        benchmark.peak(["-c", "raise SystemExit(3)"])


def test_too_much_is_said(benchmark):
    row = {
        "case": "data",
        "num_images": 5,
        "bytes_of_all_images": 2**20,
        "memory_limit": 2**30,
        "base_bytes": 2**28,
        "bound_bytes": 2**29,
        "peak_bytes": 2**30,
        "is_within_bound": False,
    }
    assert benchmark.line(row).endswith("bound 512 MiB (base 256 MiB)  TOO MUCH")
    assert "TOO MUCH" not in benchmark.line({**row, "is_within_bound": True})


@pytest.mark.parametrize("wrong", ["--num_images=10", "--cases=walk"])
def test_wrong_calls(benchmark, wrong, capsys):
    with pytest.raises(SystemExit) as exit:
        benchmark.main([wrong])
    assert exit.value.code == 2
    assert wrong.split("=")[1] in capsys.readouterr().err


def test_what_was_measured_is_what_the_docs_say():
    root = PATH.parents[1]
    found = json.loads((root / "benchmarks/results/memory_of_folder.json").read_text())
    page = (root / "docs" / "photos.md").read_text("utf-8")
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
    measured = subprocess.run(
        [sys.executable, str(PATH), "--num_images=3000", f"--output={output}"]
    )
    rows = json.loads(output.read_text())["rows"]
    assert [row["case"] for row in rows] == ["data", "data", "run", "run"]
    assert measured.returncode == (not all(row["is_within_bound"] for row in rows))
    # Processes that do the same differ by some MiB, much beside so few images.
    assert all(row["peak_bytes"] < row["bound_bytes"] + 2**25 for row in rows)
