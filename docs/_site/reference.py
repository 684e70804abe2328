"""The reference: a page for each public module, read from the sources."""

import functools
import pathlib

import griffe

import mm_tf

FOLDER = "docs/api"
_ROOT = pathlib.Path(mm_tf.__file__).parents[1]
# Modules whose names are in no part, and which docstrings and pages name.
_NAMED = (
    "mm_tf.data.custom.csv_file",
    "mm_tf.data.images.decoding",
    "mm_tf.data.custom.folders",
    "mm_tf.data.custom.listing",
    "mm_tf.data.inspect",
    "mm_tf.data.inspect.scan",
    "mm_tf.data.splits",
    "mm_tf.experiments",
    "mm_tf.experiments.config",
    "mm_tf.experiments.grids.aggregate",
    "mm_tf.experiments.grids.grid",
    "mm_tf.experiments.paper",
    "mm_tf.experiments.paper.methods",
    "mm_tf.experiments.paper.registry",
    "mm_tf.experiments.runs.result",
    "mm_tf.experiments.searches.hypermodel",
)


@functools.cache
def modules():
    """Returns the names of the public modules, in the order of the pages.

    They are `mm_tf`, its parts, the commands, and the modules inside that docstrings
    and pages name.
    """
    parts = [f"mm_tf.{name}" for name in mm_tf._PARTS]
    commands = [
        f"mm_tf.experiments.{path.stem}"
        for path in sorted((_ROOT / "mm_tf" / "experiments").glob("[!_]*.py"))
    ]
    return ["mm_tf", *parts, *sorted([*_NAMED, *commands])]


def navigation():
    """Returns the pages as MkDocs wants them, those of experiments by themselves."""
    parts, experiments = [], []
    for name in modules():
        is_experiment = name.startswith("mm_tf.experiments")
        prefix = "mm_tf.experiments." if is_experiment else "mm_tf."
        pages = experiments if is_experiment else parts
        pages.append({name.removeprefix(prefix): f"{FOLDER}/{name}.md"})
    return [*parts, {"experiments": experiments}]


def page(name):
    """Returns the page of a module, in Markdown with mkdocstrings' directives."""
    module = _package()
    if name != "mm_tf":
        module = module[name.removeprefix("mm_tf.")]
    blocks = [f"# {name}", _directive(name, members=False, show_root_heading=False)]
    for member in _public_members(module):
        path = _path(module, member)
        # The pages of whole packages have only their own names.
        below = [m for m in modules() if m not in ("mm_tf", "mm_tf.experiments")]
        pages = [m for m in below if path.startswith(f"{m}.")]
        if pages and max(pages, key=len) != name:
            blocks.append(f"## {member}\n\nIs [{path}][].")
        else:
            blocks.append(_directive(path, heading=member))
    return "\n\n".join(blocks) + "\n"


@functools.cache
def _package():
    return griffe.load("mm_tf", search_paths=[str(_ROOT)], allow_inspection=False)


def _public_members(module):
    if module.exports is not None:
        return [str(name) for name in module.exports]
    return [
        name
        for name, member in module.members.items()
        if not (member.is_alias or member.is_module or name.startswith("_"))
        and member.has_docstring
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
