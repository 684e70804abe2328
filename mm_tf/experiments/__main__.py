"""The command `mm_tf`: `mm_tf run` does what `python -m mm_tf.experiments.run` does."""

import runpy
import sys

from mm_tf import _text
from mm_tf._checks import nearest
from mm_tf.experiments.machine import command

_HELP = """\
mm_tf: learning from class-imbalanced images.

  mm_tf COMMAND ...   runs a command: `mm_tf COMMAND --help` lists its flags

  {commands}

`mm_tf run --setting=quickstart` trains on handwritten digits, in a minute or two.
Each command is a module, too, as in `python -m mm_tf.experiments.run`.
"""

# The module of each command, and what the command does.
COMMANDS = {
    "run": ("mm_tf.experiments.run", "trains one method, and reports its errors"),
    "tune": ("mm_tf.experiments.tune", "searches the flags of a run"),
    "table": ("mm_tf.experiments.table", "fills a table: methods, settings, seeds"),
    "report": ("mm_tf.experiments.report", "writes a page about finished runs"),
    "predict": ("mm_tf.experiments.predict", "classifies images by a finished run"),
    "export": ("mm_tf.experiments.export", "exports a model: SavedModel, ONNX, TFLite"),
    "inspect": ("mm_tf.data.inspect", "shows what is in your images, before a run"),
}


def main(arguments=None):
    """The command."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "-help", "--help", "help"):
        lines = (f"{name:8} {line}" for name, (_, line) in COMMANDS.items())
        print(_HELP.format(commands="\n  ".join(lines)), end="")
        return
    if name not in COMMANDS:
        command.fail(
            f"the command must be one of {', '.join(COMMANDS)}."
            f"{nearest(name, COMMANDS)} Received: {name!r}"
        )
    _text.typed = ["mm_tf", name, *rest]
    sys.argv[1:] = rest
    runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
