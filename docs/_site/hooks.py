"""Pages of the site that are not files under docs/: see `on_files`."""

import pathlib
import re
import sys

import nbconvert
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]
# MkDocs loads this file by its path.
sys.path[:0] = [str(ROOT), str(pathlib.Path(__file__).parent)]

import reference  # noqa: E402
import tables  # noqa: E402

# Pages, and files that pages show, outside docs/.
_OTHERS = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "benchmarks/README.md",
    "benchmarks/results/README.md",
    "benchmarks/results/*/*",
)


def on_config(config):
    """Puts the pages of the modules into the navigation."""
    for entry in config.nav:
        if "Reference" in entry:
            entry["Reference"] = reference.navigation()
    return config


def on_files(files, config):
    """Lays the pages out as they are in the repository, and adds those made here."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
        if not file.src_uri.startswith("_site/"):
            files.append(_file(config, f"docs/{file.src_uri}", file.abs_src_path))
    for pattern in _OTHERS:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                uri = path.relative_to(ROOT).as_posix()
                files.append(_file(config, uri, str(path)))
    made = {
        "docs/methods.md": tables.methods_page(),
        "docs/settings.md": tables.settings_page(),
    }
    for name in reference.modules():
        made[f"{reference.FOLDER}/{name}.md"] = reference.page(name)
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        made.update(_notebook(path))
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links to notebooks into links to their pages."""
    return re.sub(r"(\]\([^)\s]+)\.ipynb\)", r"\1.md)", markdown)


def _file(config, uri, path):
    return File.generated(config, uri, abs_src_path=path)


def _notebook(path):
    """Returns a notebook's page and pictures, {name of the file: what is in it}."""
    exporter = nbconvert.MarkdownExporter()
    text, resources = exporter.from_filename(
        str(path), resources={"output_files_dir": f"{path.stem}_files"}
    )
    return {
        f"examples/{path.stem}.md": text,
        **{
            f"examples/{name}": content
            for name, content in resources["outputs"].items()
        },
    }
