"""Measures the speed of mm_tf against PyTorch and against itself, on this machine.

    python benchmarks/speed.py                       # all, about an hour on 2 cores
    python benchmarks/speed.py --only=step,fit       # these alone, measured again
    python benchmarks/speed.py --quick --output=/tmp/speed     # in a minute or two

Contenders run in processes of their own and are asked in turn. `speed.json` and
`speed.md` in `--output` hold what was measured; a section that is measured again
replaces itself there.
"""

import argparse
import datetime
import importlib.util
import json
import os
import pathlib
import platform

import sections

from mm_tf import _files
from mm_tf.experiments.config.fields import BACKENDS
from mm_tf.experiments.machine import environment

JSON, MARKDOWN = "speed.json", "speed.md"
OUTPUT = pathlib.Path(__file__).parent / "results" / "speed"


def measured(name, sizes, backends, command):
    """Measures a section; returns it as `speed.json` holds it."""
    load_before = os.getloadavg()
    rows = []
    for row in sections.SECTIONS[name](sizes, backends):
        rows.append(row)
        print(_line(row), flush=True)
    return {
        "title": sections.SECTIONS[name].__doc__.strip(),
        "command": command,
        "ended": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "machine": _machine(),
        "versions": environment.versions(),
        # Runnable processes in the last 1, 5 and 15 minutes; afterwards its own too.
        "load_before": load_before,
        "load_after": os.getloadavg(),
        "is_quick": sizes == sections.QUICK,
        "rows": rows,
    }


def to_markdown(results):
    """Returns the tables of `speed.json`."""
    lines = [
        "# Speed",
        "",
        "Medians over rounds in which the contenders took turns; each section says "
        "when it was measured. CPU: per second of CPU time (or seconds of it), which "
        "other work on the machine disturbs less. Ratio: times as fast as the peer, "
        "the median of the rounds' ratios; of memory, how many times as much; in "
        "`profile`, the share of all operations. What the contenders are: "
        "[benchmarks/README.md](../../README.md#contenders).",
    ]
    for name, section in results.items():
        before, after = (
            ", ".join(f"{load:.1f}" for load in section[key])
            for key in ("load_before", "load_after")
        )
        lines += [
            "",
            f"## {name}: {section['title'].rstrip('.')}",
            "",
            f"`{section['command']}`, {section['ended']}",
            "",
            *(_TRIAL if section["is_quick"] else ()),
            f"{section['machine']}; load average {before} before, {after} after, "
            "its own work included; "
            + ", ".join(f"{key} {value}" for key, value in section["versions"].items()),
        ]
        case = None
        for row in section["rows"]:
            if row["case"] != case:
                case = row["case"]
                lines += ["", f"### {case}", "", *_rounds(row), *_header(row)]
            lines.append(_markdown_row(row))
    return "\n".join(lines) + "\n"


_TRIAL = ("**A trial with tiny sizes: the figures mean nothing.**", "")


def _rounds(row):
    """Says how often it was measured, where that is more than once."""
    if not row["rounds"]:
        return []
    processes = len({each.get("process", 0) for each in row["rounds"]})
    anew = f" in {processes} processes" if processes > 1 else ""
    return [f"{len(row['rounds'])} rounds{anew}.", ""]


def _header(row):
    more = ["ms more"] if "milliseconds_more" in row else []
    columns = ["contender", row["unit"], "CPU", "peer", "ratio", "ratio, CPU", *more]
    return [_cells(columns), _cells(["---"] * len(columns))]


def _markdown_row(row):
    more = [f"{row['milliseconds_more']:.3f}"] if "milliseconds_more" in row else []
    return _cells(
        [
            row["contender"],
            _number(row["value"]),
            _number(row["cpu_value"]),
            row["peer"] or "-",
            _number(row["ratio"]),
            _number(row["cpu_ratio"]),
            *more,
        ]
    )


def _cells(values):
    return f"| {' | '.join(values)} |"


def _number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(row):
    ratio = "" if row["ratio"] is None else f", {row['ratio']:.2f} x {row['peer']}"
    return (
        f"{row['case']}: {row['contender']}: {_number(row['value'])} {row['unit']} "
        f"(CPU {_number(row['cpu_value'])}{ratio})"
    )


def _machine():
    model = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores, {platform.platform()}"


def parse(argv):
    """Returns the command's arguments."""
    installed = _installed()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument(
        "--only",
        default=",".join(sections.SECTIONS),
        help=f"sections, with commas; by default all: {', '.join(sections.SECTIONS)}",
    )
    parser.add_argument(
        "--backends",
        default=",".join(installed),
        help="Keras's backends; by default those that are installed",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, for a trial")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=OUTPUT,
        help="folder of speed.json and speed.md; by default benchmarks/results/speed",
    )
    arguments = parser.parse_args(argv)
    for name, known in (("only", sections.SECTIONS), ("backends", installed)):
        values = getattr(arguments, name).split(",")
        wrong = [value for value in values if value not in known]
        if wrong:
            parser.error(
                f"`{name}` must be of {','.join(known)}, with commas. "
                f"Received: {name}={getattr(arguments, name)!r}"
            )
        setattr(arguments, name, values)
    against_torch = set(arguments.only) - sections.WITHOUT_TORCH
    if against_torch and importlib.util.find_spec("torch") is None:
        parser.error(
            f"PyTorch is the peer in {', '.join(sorted(against_torch))}: "
            ".venv/bin/pip install --editable '.[torch]'"
        )
    if arguments.quick and arguments.output == OUTPUT:
        parser.error("`output` must be another folder for a trial with --quick")
    return arguments


def _command(name, arguments):
    """Returns the command that measures a section again."""
    words = ["python", "benchmarks/speed.py", f"--only={name}"]
    if arguments.backends != _installed():
        words.append(f"--backends={','.join(arguments.backends)}")
    return " ".join([*words, *(["--quick"] if arguments.quick else [])])


def _installed():
    return [each for each in BACKENDS if importlib.util.find_spec(each)]


def main(argv=None):
    """The command."""
    arguments = parse(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / JSON
    results = json.loads(path.read_text()) if path.exists() else {}
    sizes = sections.QUICK if arguments.quick else sections.FULL
    for name in arguments.only:
        command = _command(name, arguments)
        print(f"{name}, into {arguments.output}: may be silent for minutes", flush=True)
        try:
            results[name] = measured(name, sizes, arguments.backends, command)
        except KeyboardInterrupt:
            left = arguments.only[arguments.only.index(name) :]
            raise SystemExit(
                f"\nStopped. What was measured before is in {arguments.output}; "
                f"go on with --only={','.join(left)}"
            ) from None
        in_order = {key: results[key] for key in sections.SECTIONS if key in results}
        # After each section: nothing is lost if the next one is stopped.
        _files.write_text(path, json.dumps(in_order, indent=1) + "\n")
        _files.write_text(arguments.output / MARKDOWN, to_markdown(in_order))


if __name__ == "__main__":
    main()
