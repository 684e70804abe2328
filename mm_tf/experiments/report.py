"""Writes one HTML page about a run, or about several of one setting side by side.

    python -m mm_tf.experiments.report saved_models/digits_lt20/mm_ldam_drw/seed1
    python -m mm_tf.experiments.report --output=report \
        saved_models/cifar10_lt100/erm/seed1 saved_models/cifar10_lt100/mm_drw/seed1

The page opens from disk, without a network: its pictures are inside it, and lie
beside it as PNG files. The same from Python:

    from mm_tf.experiments.report import write_report
    page = write_report(["saved_models/digits_lt20/mm_ldam_drw/seed1"])
"""

import argparse
import os
import pathlib
import re
import sys
import tempfile

from mm_tf._text import printable
from mm_tf.data.custom.folders import check_outside
from mm_tf.experiments.reports import images as report_images
from mm_tf.experiments.reports import runs as report_runs
from mm_tf.experiments.runs import finished

__all__ = ["write_report"]

PAGE = "index.html"


def write_report(runs, output=None, data_dir=None, gallery=True, data=None):
    """Writes a page about finished runs, and its pictures as PNG files.

    Args:
        runs: Folders of one to six runs of one setting.
        output: The folder to write, which is new, empty or an earlier report; by
            default `report` in the folder of a single run.
        data_dir: Where the images are now: the folder, CSV file or archive of images
            of your own, else the folder in which tfds keeps data sets. By default as
            in the run's flags.
        gallery: Whether to show the test (or hold-out) images. They are read, and
            where they are not prepared downloaded, as for the run itself; where that
            fails the page says so, and the command too.
        data: The runs' `ImageData`, as for `mm_tf.experiments.run.run`, to show
            images of data that `mm_tf.data.load` does not know.

    Returns:
        The `pathlib.Path` of the page.

    Raises:
        ValueError: `runs` is empty, has more than six, or one that is no finished
            run, of another setting or evaluated on other images; or `output` cannot
            be written, holds other files, would become a class of the images, or
            is missing with several runs.

    Example:

    >>> import tempfile
    >>> from mm_tf.experiments.report import write_report
    >>> write_report([tempfile.mkdtemp()])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: `runs` must be folders of finished runs...
    """
    page, _ = _write_report(runs, output, data_dir, gallery, data)
    return page


def _write_report(runs, output, data_dir, gallery, data=None):
    """The page's path, and what is missing from it that was asked for, or None."""
    folders = report_runs.check_folders(runs)
    results = report_runs.check_results(folders)
    output = _check_output(output, folders)
    _check_is_no_class(output, folders[0], data_dir)
    with _new_folder(output) as folder:
        read = list(map(report_runs.read, folders, results))
        images, without_images = None, "They were not asked for."
        if gallery:
            images, without_images = report_images.evaluation_images(
                read, data_dir, data
            )
        # It imports what draws and fills the page: a wrong argument costs none of it.
        from mm_tf.experiments.reports import page as report_page

        report_page.write(folder / PAGE, read, images, without_images)
    missing = None
    if gallery and without_images:
        words = read[0].result.evaluated_words
        missing = f"The page shows no {words} images: {without_images}"
    return output / PAGE, missing


def _check_output(output, folders):
    if output is None:
        if len(folders) > 1:
            raise ValueError(
                "`output` must be given with several runs: the folder to write. "
                f"Received: {len(folders)} runs and no --output"
            )
        output = folders[0] / "report"
    if not str(output).strip():
        raise ValueError(f"`output` must name a folder. Received: output={output!r}")
    output = pathlib.Path(output).expanduser().resolve()
    if output.exists() and not output.is_dir():
        raise ValueError(f"`output` is not a folder. Received: output={output}")
    if output.exists():
        foreign = {path.name for path in output.iterdir()} - _files_of_report(output)
        if foreign:
            raise ValueError(
                "`output` must be a new or empty folder or an earlier report, and "
                f"this one holds other files ({min(foreign)}). "
                f"Received: output={output}"
            )
    return output


def _check_is_no_class(output, run, data_dir):
    try:
        config = finished.read_config(run)
    except ValueError:
        return  # The page says so.
    if config.dataset == "folder":
        check_outside("output", output, data_dir or config.data_dir)


def _files_of_report(folder):
    """The names of what an earlier report wrote into a folder."""
    try:
        head = (folder / PAGE).read_text(encoding="utf-8")[:10_000]
    except (OSError, ValueError):
        return set()
    found = re.search(r'<meta name="mm_tf-report-files" content="([\w. -]*)">', head)
    return {PAGE, *found[1].split()} if found else set()


class _new_folder:
    """A folder beside `output` that takes its place when all is written."""

    def __init__(self, output):
        self._output = output

    def __enter__(self):
        try:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._away = tempfile.TemporaryDirectory(
                dir=self._output.parent, prefix=".report-"
            )
        except OSError as error:
            raise ValueError(
                f"`output` cannot be written ({error.strerror}). "
                f"Received: output={self._output}"
            ) from None
        # Inside, because a temporary directory is its owner's alone to read.
        self._new = pathlib.Path(self._away.name, "new")
        self._new.mkdir()
        return self._new

    def __exit__(self, kind, error, traceback):
        with self._away:
            if kind is None:
                if self._output.exists():
                    os.replace(self._output, self._new.with_name("old"))
                os.replace(self._new, self._output)


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m mm_tf.experiments.report",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a folder that mm_tf.experiments.run left; up to six of one setting",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="the folder to write: new, empty or an earlier report; by default "
        "`report` in the folder of a single run",
    )
    parser.add_argument(
        "--data_dir",
        metavar="PATH",
        help="where the images are now, to show some: the folder, CSV file or archive "
        "of images of your own, else where tfds keeps data sets; by default as in the "
        "run",
    )
    parser.add_argument(
        "--no_gallery",
        action="store_true",
        help="show no test or hold-out images, and read no data set",
    )
    given = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        page, missing = _write_report(
            given.runs, given.output, given.data_dir, not given.no_gallery
        )
    except (OSError, ValueError) as error:
        print(f"mm_tf: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"Written: {page}")
    if missing:
        line = printable(" ".join(missing.splitlines()))
        print(f"mm_tf: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
