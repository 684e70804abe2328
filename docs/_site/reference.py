"""The reference: a page for each public module, read from the sources."""

import ast
import functools
import pathlib

import griffe

import mm_tf

FOLDER = "docs/api"
_ROOT = pathlib.Path(mm_tf.__file__).parents[1]
# Modules whose names are in no part, and which the docstrings of a part name.
_NAMED = ("decoding", "folders", "inspection", "listing", "splitting", "tables")


@functools.cache
def modules():
    """Returns the names of the public modules, in the order of the pages.

    They are the parts of `mm_tf`, everything in `mm_tf.experiments`, of the modules
    inside the parts those that docstrings name, and what else is a command, that is,
    runs with `python -m`.
    """
    parts = [f"mm_tf.{name}" for name in mm_tf._PARTS]
    others = [f"mm_tf.data.{name}" for name in _NAMED]
    for path in sorted((_ROOT / "mm_tf").rglob("*.py")):
        name = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
        is_public = "._" not in name
        if is_public and (name.startswith("mm_tf.experiments.") or _is_command(path)):
            others.append(name)
    return [*parts, *others]


def navigation():
    """Returns the pages as MkDocs wants them, those of experiments by themselves."""
    parts, experiments = [], []
    for name in modules():
        is_experiment = name.startswith("mm_tf.experiments.")
        prefix = "mm_tf.experiments." if is_experiment else "mm_tf."
        pages = experiments if is_experiment else parts
        pages.append({name.removeprefix(prefix): f"{FOLDER}/{name}.md"})
    return [*parts, {"experiments": experiments}]


def page(name):
    """Returns the page of a module, in Markdown with mkdocstrings' directives."""
    module = _package()[name.removeprefix("mm_tf.")]
    blocks = [f"# {name}", _directive(name, members=False, show_root_heading=False)]
    for member in _public_members(module):
        path = _path(module, member)
        elsewhere = path.rpartition(".")[0]
        if elsewhere != name and elsewhere in modules():
            blocks.append(f"## {member}\n\nIs [{path}][].")
        else:
            blocks.append(_directive(path, heading=member))
    return "\n\n".join(blocks) + "\n"


@functools.cache
def _package():
    return griffe.load("mm_tf", search_paths=[str(_ROOT)], allow_inspection=False)


def _is_command(path):
    body = ast.parse(path.read_text("utf-8")).body
    return any(
        isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for node in body
    )


def _public_members(module):
    if module.exports is not None:
        return [str(name) for name in module.exports]
    return [
        name
        for name, member in module.members.items()
        if not member.is_alias and not name.startswith("_") and member.has_docstring
    ]


def _path(module, name):
    """Where a public name of a module is defined."""
    member = module.members[name]
    # A function that is named as the file that it is in, as of the losses.
    if member.is_module:
        member = member.members[name]
    return member.final_target.path if member.is_alias else member.path


def _directive(path, **options):
    lines = "".join(f"\n      {key}: {str(value)}" for key, value in options.items())
    return f"::: {path}\n    options:{lines}"
