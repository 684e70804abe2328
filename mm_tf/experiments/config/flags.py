"""The flags of a run on a command line and in a flag file, and its config from them.

A new flag is a field in `fields.py`: this file follows.
"""

import functools
import itertools
import json
import os
import shlex
import typing

from absl import flags

from mm_tf import _checks
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config import fields as config_fields
from mm_tf.experiments.paper.methods import METHODS, Method, MethodLoss, check_method

_DEFINE: dict[type, typing.Callable] = {
    bool: flags.DEFINE_boolean,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    str: flags.DEFINE_string,
}


def define_flags(values=flags.FLAGS):
    """Defines a flag of a command for each field of `RunConfig`."""
    for field in config_fields.flag_fields():
        kind, _ = config_fields.kind_of(field)
        choices, help = field.metadata["choices"], field.metadata["help"]
        define = _DEFINE[kind]
        if choices:
            define = functools.partial(flags.DEFINE_enum, enum_values=list(choices))
        define(field.name, default=field.default, help=help, flag_values=values)
    for method in METHODS.values():
        define_own_flags(method, values)


def define_own_flags(method, values=flags.FLAGS):
    """Defines the flags of a `Method`'s own hyper-parameters."""
    for name, each in method.hyperparameters.items():
        define = _DEFINE[type(each.default)]
        help = f"{method.title}: {each.help or 'its hyper-parameter'}"
        define(name, default=each.default, help=help, flag_values=values)


def define_setting(values=flags.FLAGS):
    """Defines `--setting`, which `command.parse_flags` replaces by a flagfile."""
    flags.DEFINE_string(
        "setting",
        None,
        "The flags of quickstart or of one of the paper's settings, such as "
        "cifar10_lt100; other flags on the command line take precedence.",
        flag_values=values,
    )


def from_flags(values=flags.FLAGS):
    """Returns the `RunConfig` of parsed flags."""
    own = check_method(values.method).hyperparameters
    return RunConfig(
        **_field_values(values),
        method_arguments={name: values[name].value for name in own},
    )


def _field_values(values) -> dict[str, typing.Any]:
    fields = config_fields.flag_fields()
    return {field.name: values[field.name].value for field in fields}


def given(values=flags.FLAGS):
    """Returns the arguments of `RunConfig` of the flags that were given.

    The run's folder is not among them.
    """
    own = [name for method in METHODS.values() for name in method.hyperparameters]
    arguments: dict[str, typing.Any] = {
        field.name: values[field.name].value
        for field in config_fields.flag_fields()
        if values[field.name].present and field.name != "output_dir"
    }
    arguments["method_arguments"] = {
        name: values[name].value
        for name in own
        # A file may register more methods than the line names.
        if name in values and values[name].present
    }
    return arguments


def from_lines(lines, saved_method=None):
    """Returns the `RunConfig` of the lines of a run's `flags.txt`.

    Args:
        lines: The lines.
        saved_method: What the run's result says of its `Method`. A method that is not
            registered here is taken from it, and flags that are not known here are
            then the method's own: nothing is imported.
    """
    values = flags.FlagValues()
    define_flags(values)
    name = _method_in(lines)
    if not name or ":" in name or name in METHODS:
        values(["flags", *flags_in(lines, values, ["data_dir"])])
        return from_flags(values)
    own = (f"--{name}_", f"--no{name}_")
    is_own = [line.startswith(own) for line in lines]
    others = [line for line, is_one in zip(lines, is_own, strict=True) if not is_one]
    values(["flags", *flags_in(others, values, ["data_dir"])])
    return RunConfig(
        **_field_values(values),
        method_arguments=dict(map(_own_value, itertools.compress(lines, is_own))),
        saved_method=saved_method or Method(name, name, MethodLoss("", head="linear")),
    )


def _method_in(lines):
    flag = "--method="
    *_, last = ["", *(line.strip() for line in lines if line.startswith(flag))]
    return last.removeprefix(flag)


def _own_value(line):
    """The name and the value in a line of which no flag is defined here."""
    name, equals, text = line.strip().removeprefix("--").partition("=")
    if not equals:
        return name.removeprefix("no"), not name.startswith("no")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def flags_in(lines, values=flags.FLAGS, typed=()):
    """Returns the flags in the lines of a flagfile, all of which may stand there.

    Flagfiles are passed on. So they set only flags of mm_tf, none of absl, which can
    write files anywhere, and none that counts only where a user types it. A run of the
    user's may have its images in a bucket: if `data_dir` is among the flags that are
    `typed`, that line is passed over.
    """
    own = {
        flag.name
        for module, defined in values.flags_by_module_dict().items()
        if not module.startswith("absl.")
        for flag in defined
    }
    # Of other flags absl would take the next word of the command line as the value.
    bare = {f"{no}{name}" for name in own if values[name].boolean for no in ("", "no")}
    lines = [line.strip() for line in lines]
    lines = [line for line in lines if line and not line.startswith(("#", "//"))]
    kept = []
    for line in lines:
        name, equals, value = line.removeprefix("-").removeprefix("-").partition("=")
        if counts_only_when_typed(name, value):
            if name == "data_dir" and name in typed:
                continue
            raise ValueError(
                f"A flagfile must not set `{name}`, which counts only on the command "
                f"line itself. Delete this line and give {shlex.quote(line)} there. "
                f"Received: {line}"
            )
        if not line.startswith("-") or name not in (own if equals else bare):
            raise ValueError(
                "A flagfile must hold one flag of this command in each line, as "
                f"--seed=1.{_checks.nearest(name, own)} Received: {line}"
            )
        kept.append(line)
    return kept


def counts_only_when_typed(name, value):
    """Whether a flag must be typed by the user: what it does could harm them.

    It reaches another machine, runs code, or names another file of flags.
    """
    if name in ("method", "methods"):
        return ":" in value
    return "://" in value or name in ("ray_address", "flagfile", "setting")


def to_flagfile(config):
    """Returns the text of a flagfile that repeats the run in any working folder."""
    values = config.identity()
    if config.has_weights_file:
        values["weights"] = _absolute(config.weights)
    if config.data_dir is not None:
        is_bucket = "://" in config.data_dir
        values["data_dir"] = (
            config.data_dir if is_bucket else _absolute(config.data_dir)
        )
    return "".join(
        f"--{'' if value else 'no'}{name}\n"
        if isinstance(value, bool)
        else f"--{name}={value}\n"
        for name, value in values.items()
        if value is not None
    )


def _absolute(path):
    return os.path.abspath(os.path.expanduser(path))
