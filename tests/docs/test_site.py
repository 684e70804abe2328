"""The documentation site: what it is made of. `make docs` builds it."""

import importlib.util
import pathlib
import re
import sys

import griffe
import numpy as np
import pytest
import yaml

import mm_tf
from mm_tf.experiments.config.fields import flag_fields
from mm_tf.experiments.paper.methods import METHODS

ROOT = pathlib.Path(__file__).parents[2]
SITE = ROOT / "docs" / "_site"


def load(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", SITE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


choosing, docstrings, margins, reference, tables = map(
    load, ("choosing", "docstrings", "margins", "reference", "tables")
)


def pages_of(navigation):
    for entry in navigation:
        for page in entry.values():
            yield from [page] if isinstance(page, str) else pages_of(page)


@pytest.fixture(scope="module")
def pages():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    return list(pages_of(config["nav"]))


def test_every_page_and_notebook_is_in_the_navigation(pages):
    there = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")}
    there |= {f"examples/{path.stem}.md" for path in ROOT.glob("examples/*.ipynb")}
    assert there <= set(pages)


def test_every_public_module_has_a_page_of_all_its_public_names():
    modules = reference.modules()
    experiments = {path.stem for path in (ROOT / "mm_tf/experiments").glob("[!_]*.py")}
    expected = {f"mm_tf.{part}" for part in mm_tf._PARTS}
    expected |= {f"mm_tf.experiments.{name}" for name in experiments}
    assert expected | {"mm_tf.data.inspect"} <= set(modules)
    assert len(list(pages_of(reference.navigation()))) == len(modules)
    page = reference.page("mm_tf.losses")
    for name in mm_tf.losses.__all__:
        assert f"heading: {name}\n" in page


def test_every_directive_names_something_that_there_is():
    package = griffe.load("mm_tf", search_paths=[str(ROOT)], allow_inspection=False)
    for module in reference.modules():
        lines = reference.page(module).splitlines()
        paths = [line.split()[1] for line in lines if line.startswith(":::")]
        assert paths[0] == module
        for path in paths[1:]:
            assert package[path.removeprefix("mm_tf.")].is_public, path


def test_what_is_named_in_docstrings_and_pages_has_a_page():
    package = griffe.load("mm_tf", search_paths=[str(ROOT)], allow_inspection=False)
    files = [*ROOT.glob("mm_tf/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    texts = [path.read_text("utf-8") for path in files]
    named = {n for text in texts for n in re.findall(r"`mm_tf\.([a-z_.]+\w+)", text)}
    assert {"data.read_folder", "losses.LDAM"} <= named
    modules = reference.modules()
    for name in named:
        if not package[name].is_module:
            assert f"mm_tf.{name}".rpartition(".")[0] in modules, name


def test_the_methods_are_all_there():
    page = tables.methods_page()
    for method in METHODS.values():
        assert f"| `{method.name}` | {method.title} |" in page


def test_the_tests_that_reliability_names_are_there():
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    named = re.findall(r"`([a-z_0-9/]+(?:/|\.py))`", page)
    assert len(named) > 30
    missing = [name for name in named if not (ROOT / "tests" / name).exists()]
    assert missing == ["tests/"]


def test_the_settings_are_all_there():
    page = tables.settings_page()
    for field in flag_fields():
        assert f"`--{field.name}`" in page
    for path in (ROOT / "experiments").glob("*.flags"):
        assert path.name in page
    assert "| `cifar10_lt100.flags` | cifar10 | long_tailed, 100 | 5000 to 50" in page
    assert "`--holdout` | `0.0` | number >= 0, <= 1 |" in page


def test_doctests_are_fenced():
    text = (
        "Does it.\n\n>>> x = [\n...     1]\n>>> x\n[1]\n\n>>> 2\n2\n\nSource: a book.\n"
    )
    assert docstrings.fence_doctests(text) == (
        "Does it.\n\n```pycon\n>>> x = [\n...     1]\n>>> x\n[1]\n\n>>> 2\n2\n```\n\n"
        "Source: a book.\n"
    )
    assert docstrings.fence_doctests("No example, 2 >>> 1.") == "No example, 2 >>> 1."


def test_comparisons_are_no_quotations():
    text = "No number\n    >= 0.\n\n>>> 1\n1\n"
    assert docstrings.escape_comparisons(text) == (
        "No number\n    \\>= 0.\n\n>>> 1\n1\n"
    )


def test_the_pictures_are_of_the_losses_and_are_shown():
    text = (ROOT / "docs" / "losses.md").read_text("utf-8")
    drawn = {f"losses/{name}.svg" for name in margins.pictures()}
    there = {f"losses/{path.name}" for path in (ROOT / "docs/losses").iterdir()}
    assert drawn == there
    assert all(f"({picture})" in text for picture in drawn)


def test_the_margins_are_those_of_the_formula():
    gap = np.array([-0.5, -0.1, 0.1, 0.5])
    smoothing = np.array([0.6, 0.6, 0.9, 0.9])
    expected = np.exp(-np.abs(gap) - smoothing)
    np.testing.assert_allclose(margins.margins_of(gap), expected, rtol=1e-6)
    rarest = margins.margins_of(gap, class_count=margins.RARE)
    expected = np.exp(-np.abs(gap) - np.array([0.1, 0.1, 0.15, 0.15]))
    np.testing.assert_allclose(rarest, expected, rtol=1e-6)


def test_the_figures_of_choosing_are_those_of_the_runs():
    page = " ".join((ROOT / "docs" / "choosing.md").read_text("utf-8").split())
    figures = choosing.figures()
    assert len(figures) > 20
    for name, text in figures.items():
        assert text in page, name


def dots(picture):
    """Where the dots of a picture are, [N, 2], in its own units."""
    text = picture.read_text("utf-8")
    found = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', text)
    return np.array(found, dtype=float)


def test_the_picture_of_choosing_is_of_the_runs(tmp_path):
    choosing.main([f"--output={tmp_path / 'choosing.svg'}"])
    drawn, shown = dots(tmp_path / "choosing.svg"), dots(ROOT / "docs/choosing.svg")
    # 30 means of three seeds each, and ticks; a half is less than half a dot.
    assert len(drawn) > 90
    np.testing.assert_allclose(drawn, shown, atol=0.5)


def test_pictures_are_drawn(tmp_path):
    margins.main([f"--output={tmp_path}"])
    assert {path.stem for path in tmp_path.iterdir()} == set(margins.pictures())
