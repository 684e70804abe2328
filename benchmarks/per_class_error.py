"""Draws the error of each class in several runs of one setting.

    python benchmarks/per_class_error.py RUN [RUN...] --output=errors.png

A RUN is a run's folder, or its result.json.
"""

import argparse

from mm_tf.experiments.reports.figures import per_class_error_figure
from mm_tf.experiments.runs.result import RunResult


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--output", required=True, help="the PNG or SVG to write")
    arguments = parser.parse_args()
    try:
        results = [RunResult.read(run) for run in arguments.runs]
        per_class_error_figure(results).savefig(arguments.output, dpi=150)
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
