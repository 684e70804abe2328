"""Writes one HTML page about a run, or about several of one setting side by side.

    python -m mm_tf.experiments.report saved_models/digits_lt20/mm_ldam_drw/seed1
    python -m mm_tf.experiments.report --output=report \
        saved_models/cifar10_lt100/erm/seed1 saved_models/cifar10_lt100/mm_drw/seed1

The page opens from disk, without a network: its pictures are inside it, and lie
beside it as PNG files. The same from Python:

    from mm_tf.experiments.report import write_report
    page = write_report(["saved_models/digits_lt20/mm_ldam_drw/seed1"])
"""

import pathlib
import re
import sys

from mm_tf import _checks, _files, _text
from mm_tf.data.custom.folders import check_outside
from mm_tf.experiments.machine import command
from mm_tf.experiments.reports import gallery as report_gallery
from mm_tf.experiments.reports import runs as report_runs
from mm_tf.experiments.runs import finished

__all__ = ["write_report"]

PAGE = "index.html"


def write_report(
    runs,
    output=None,
    data_dir=None,
    gallery=True,
    data=None,
    post_hoc=None,
    post_hoc_tau=None,
):
    """Writes a page about finished runs, and its pictures as PNG files.

    Args:
        runs: Folders of one to six runs of one setting. A folder of runs, as
            `saved_models/digits_lt20`, stands for the finished runs in it.
        output: The folder to write, which is new, empty or an earlier report.
            Defaults to `None`, `report` in the folder if only one is given.
        data_dir: Where the images are now: the folder, CSV file or archive of your
            images, else the folder in which tfds keeps data sets. Defaults to `None`,
            as in the run's flags.
        gallery: Whether to show the test (or hold-out) images. They are read
            as for the run itself, and never downloaded; where that fails the page
            says so, and the command too. Defaults to `True`.
        data: The runs' `ImageData`, as for `mm_tf.experiments.run.run`, to show
            images of data that `mm_tf.data.load` does not know. Defaults to `None`.
        post_hoc: `"la"` for the errors after post-hoc logit adjustment as well (see
            `mm_tf.calibration.logit_adjustment`). Defaults to `None`.
        post_hoc_tau: Its strength, >= 0. Defaults to `None`: chosen on the hold-out
            of a run that has one, 1 for others.

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
    ValueError: `run` must be the folder of a finished run...
    """
    adjustment = post_hoc, post_hoc_tau
    page, _ = _write_report(runs, output, data_dir, gallery, adjustment, data)
    return page


def _write_report(runs, output, data_dir, gallery, adjustment, data=None):
    """The page's path, and what is missing from it that was asked for, or None."""
    tau, kind = command.check_post_hoc(*adjustment), adjustment[0]
    folders, results = report_runs.check_folders(runs)
    output = _check_output(output, runs)
    _check_is_no_class(output, folders[0], data_dir)
    read = [
        report_runs.read(folder, result, kind is not None, tau)
        for folder, result in zip(folders, results, strict=True)
    ]
    images, without_images = None, "they were switched off (--no_gallery)."
    if gallery:
        images, without_images = report_gallery.evaluation_images(read, data_dir, data)
    # It imports what draws and fills the page, which a wrong argument should not.
    from mm_tf.experiments.reports import page as report_page

    try:
        with _files.whole_folder(output) as folder:
            names = ("data_dir", "weights", "first_stage")
            places = [getattr(x.config, name, None) for x in read for name in names]
            reason = without_images and report_runs.without_places(
                without_images, folders[0], data_dir, *places
            )
            report_page.write(folder / PAGE, read, images, reason)
    except _files.WriteError as error:
        raise ValueError(
            f"`output` cannot be written ({error.strerror}). Received: output={output}"
        ) from None
    missing = None
    if gallery and without_images:
        words = results[0].evaluated_words
        missing = f"The page shows no {words} images: {without_images}"
    return output / PAGE, missing


def _check_output(output, runs):
    if output is None:
        if len(runs) > 1:
            raise ValueError(
                "`output` must be given with several runs: the folder to write. "
                f"Received: {len(runs)} runs and no --output"
            )
        output = pathlib.Path(runs[0], "report")
    if not str(output).strip():
        raise ValueError(f"`output` must name a folder. Received: output={output!r}")
    output = pathlib.Path(output).expanduser().resolve()
    earlier = _files_of_report(output)
    _files.check_folder(
        "output",
        output,
        lambda name: name not in earlier,
        "a new or empty folder or an earlier report",
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
    """The names of the files that an earlier report wrote into a folder."""
    try:
        head = _files.read_text(folder / PAGE, _files.MOST_BYTES_OF_TEXT)[:10_000]
    except (OSError, ValueError):
        return set()
    found = re.search(r'<meta name="mm_tf-report-files" content="([\w. -]*)">', head)
    return {PAGE, *found[1].split()} if found else set()


def main(arguments=None):
    """The command."""
    parser = _checks.parser("mm_tf.experiments.report", __doc__)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a folder that mm_tf.experiments.run wrote, or one with such folders "
        "in it; up to six runs of one setting",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="the folder to write: new, empty or an earlier report; default `report` "
        "in RUN if there is one",
    )
    parser.add_argument(
        "--data_dir",
        metavar="PATH",
        help="where the images are now, to show some: the folder, CSV file or archive "
        "of your images, else where tfds keeps data sets; default as in the run",
    )
    parser.add_argument(
        "--no_gallery",
        action="store_true",
        help="show no test or hold-out images, and read no data set",
    )
    command.add_post_hoc(parser)
    given = parser.parse_args(arguments)
    try:
        command.set_up(None)
        page, missing = _write_report(
            *(given.runs, given.output, given.data_dir, not given.no_gallery),
            (given.post_hoc, given.post_hoc_tau),
        )
    except (OSError, ValueError) as error:
        command.fail(error)
    print(_text.printable(f"Written: {page}"))
    if missing:
        line = _text.printable(" ".join(missing.splitlines()))
        print(f"mm_tf: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
