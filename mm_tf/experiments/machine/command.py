"""How every command of this package starts, and how it ends with an error."""

import importlib.util
import itertools
import os
import pathlib
import shlex
import sys
import warnings

from absl import flags

from mm_tf import _files, _text
from mm_tf._checks import check_choice, check_number, nearest
from mm_tf.data.dataset import CUSTOM_DATASETS
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.config import method_files
from mm_tf.experiments.config.fields import BACKENDS, STRATEGIES
from mm_tf.experiments.machine import environment
from mm_tf.experiments.paper.methods import check_method

# The flag files of the checkout's experiments/: a link there, a copy in the wheel.
_SETTINGS = pathlib.Path(__file__).parents[1] / "flagfiles"


def set_up(backend):
    """Sets up the process of a command: backend, environment variables, warnings."""
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend
    # Keras reads it too, but fails late and with a long message.
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen:
        if chosen not in BACKENDS:
            raise ValueError(
                f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. "
                f"Received: KERAS_BACKEND={chosen}"
            )
        if importlib.util.find_spec(chosen) is None:
            raise ValueError(
                "`backend` must be installed: in a checkout of mm_tf, "
                f"pip install --editable '.[{chosen}]'. Received: backend={chosen!r}"
            )
    for name, value in environment.variables_for_tensorflow().items():
        os.environ.setdefault(name, value)
    # One line, without the place in the code.
    warnings.formatwarning = lambda message, kind, *_: (
        f"{kind.__name__}: {_text.printable_lines(str(message))}\n"
    )


def check_post_hoc(kind, tau):
    """The strength of an adjustment that flags ask for, or None if that is open."""
    if kind is not None:
        check_choice("post_hoc", kind, ["la"])
    elif tau is not None:
        raise ValueError(
            f"`post_hoc_tau` needs --post_hoc=la. Received: post_hoc_tau={tau}"
        )
    return None if tau is None else check_number("post_hoc_tau", tau, low=0.0)


def add_post_hoc(parser):
    """Adds the flags of post-hoc logit adjustment to a command that takes words."""
    parser.add_argument(
        "--post_hoc",
        choices=["la"],
        help="adjust the run's outputs by its class counts, without training",
    )
    parser.add_argument(
        "--post_hoc_tau",
        type=float,
        metavar="T",
        help="the strength of the adjustment; default: chosen on the run's hold-out, 1 "
        "without one",
    )


def parse_flags(argv, values=flags.FLAGS):
    """Parses the flags of a command line and returns its other words.

    A wrong flag ends the command with one message.
    """
    _text.prepare_output()
    try:
        arguments = _with_methods(argv, values)
        # Before a flag is refused because its method is not there.
        check_method(_parsed_so_far(arguments).method)
        return values(flagfiles_first(arguments, values))
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        fail(
            "A flag must be one of those that --help lists."
            f"{nearest(name, list(values))} Received: --{name}"
        )
    except flags.IllegalFlagValueError as error:
        fail(_in_our_words(error, values))
    except (flags.Error, ValueError) as error:
        fail(error)


def _in_our_words(error, values):
    """Says what absl says of a value as `flag --NAME=VALUE: ...`."""
    text = str(error).removeprefix("flag --").removesuffix(f": {error.__context__}")
    name, _, value = text.partition("=")
    parser = values[name].parser
    choices = getattr(parser, "enum_values", ())
    expected = f"one of {', '.join(choices)}" if choices else parser.syntactic_help
    return (
        f"`{name}` must be {expected or 'true or false'}.{nearest(value, choices)} "
        f"Received: {name}={value!r}"
    )


def take_path(argv, values=flags.FLAGS):
    """Takes the path that may stand among the flags of a command as `--data_dir`."""
    program, *words = argv
    if not words:
        return
    if len(words) > 1 or not os.path.exists(os.path.expanduser(words[0])):
        raise ValueError(
            "Only flags, as --method=mm, and one path of your images are expected. "
            f"Received: {shlex.join(words)}"
        )
    for name in ("data_dir", "dataset", "settings", "grid"):
        if name not in values or not values[name].present:
            continue
        value = values[name].value
        if value not in CUSTOM_DATASETS:
            raise ValueError(
                f"`{name}` must not be given with a path of your images. "
                f"Received: {name}={value!r} and {words[0]!r}"
            )
    values([program, f"--data_dir={words[0]}"])


def _with_methods(arguments, values):
    """Loads the methods of files that a command line names.

    Returns the command line with the names under which they are registered; their own
    flags are defined.
    """
    program, *words = arguments
    for place, word in enumerate(words):
        flag, _, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or flag not in ("method", "methods"):
            continue
        # The value may be the next word.
        if not value and place + 1 < len(words):
            value = words.pop(place + 1)
            words[place] = f"--{flag}={value}"
        names = value.split(",") if flag == "methods" else [value]
        if any(map(method_files.is_named, names)):
            # The file may import Keras.
            so_far = _parsed_so_far([program, *words])
            set_up(so_far.backend or STRATEGIES[so_far.strategy])
        words[place] = f"--{flag}={','.join(_loaded(name, values) for name in names)}"
    return [program, *words]


def _parsed_so_far(arguments):
    """The flags of a run on a command line that may have others."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    config_flags.define_flags(values)
    values(flagfiles_first(arguments, check=_first_needed), known_only=True)
    return values


def _first_needed(lines, *_):
    """The flags in a flagfile that decide which others there are."""
    names = ("method", "backend", "strategy")
    flags_of_them = tuple(f"--{name}=" for name in names)
    return [line.strip() for line in lines if line.startswith(flags_of_them)]


def _loaded(text, values):
    """The name of a method, which is loaded if it is in a file."""
    if not method_files.is_named(text):
        return text
    method = method_files.load(text)
    config_flags.define_own_flags(method, values)
    for name in method.hyperparameters:
        # For --helpshort.
        values.register_key_flag_for_module(sys.argv[0], values[name])
    return method.name


def flagfiles_first(arguments, values=flags.FLAGS, check=config_flags.flags_in):
    """Returns a command line with the flags of its flagfiles before its other flags.

    absl takes the last value, and a flag on the command line should take precedence
    over a flagfile wherever it stands. `--setting=quickstart` stands for the flagfile
    of that name. `check` returns the flags in the lines of a flagfile.
    """
    program, *rest = arguments
    paths, others = [], []
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        name = name.removeprefix("-").removeprefix("-")
        is_setting = name == "setting" and name in values
        if not argument.startswith("-") or not (is_setting or name == "flagfile"):
            others.append(argument)
            continue
        if not equals:
            value = rest.pop(0) if rest else ""
        if not value and not is_setting:
            raise ValueError("`flagfile` must name a file. Received: flagfile=''")
        paths.append(_flagfile_of(value) if is_setting else value)
    typed = {word.lstrip("-").partition("=")[0] for word in others}
    files = (_flags_of(path, values, check, typed) for path in paths)
    return [program, *itertools.chain(*files), *others]


def _flags_of(flagfile, values, check, typed):
    path = pathlib.Path(flagfile).expanduser()
    try:
        text = _files.read_text(path, _files.MOST_BYTES_OF_FLAGS)
        return check(text.splitlines(), values, typed)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`flagfile` cannot be read ({getattr(error, 'strerror', None) or error}). "
            f"Received: flagfile={flagfile}"
        ) from None


def settings():
    """The names that `--setting` takes."""
    return sorted(path.stem for path in _SETTINGS.glob("*.flags"))


def _flagfile_of(setting):
    if setting not in settings():
        raise ValueError(
            f"`setting` must be one of {', '.join(settings())}."
            f"{nearest(setting, settings())} Received: setting={setting!r}"
        )
    return _SETTINGS / f"{setting}.flags"


def fail(message, status=2):
    """Ends a command with one message on standard error and an exit status."""
    print(f"mm_tf: {_text.printable_lines(str(message))}", file=sys.stderr)
    sys.exit(status)
