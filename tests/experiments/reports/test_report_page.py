"""The page of a report."""

import html
import re
import shutil
import subprocess

import numpy as np
import pytest
from made_up_runs import NAMES, make_data, make_run
from page_parsing import Page

from mm_tf.experiments import report
from mm_tf.experiments.reports import figures

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def test_one_run_with_all_its_numbers(run):
    result = make_run(run, method="mm_drw")
    path = report.write_report([run], data=make_data())
    assert path == run / "report" / "index.html"
    page = Page(path)
    for number in (
        f"{result.top1_error:.2f}",
        f"{result.best_top1_error:.2f} (epoch 3)",
        f"{result.balanced_error:.2f}",
        "12.34",
        "45.67",
        "no such class",
        *(f"{error:.1f}" for error in result.per_class_error),
        *map(str, result.class_counts),
        "1,234.5",
        "6,789 s",
        "CPU of a test",
        "3.99.1",
        "resnet8",
    ):
        assert number in page.text, number
    assert "re-weighted from epoch 5" in page.source
    assert "learning rate × 0.01 from epoch 5" in page.source
    assert "Without test images" not in page.text
    errors = [f"{error:.1f}" for error in result.per_class_error]
    rows = [
        f"{name} {count} 10 {error}"
        for name, count, error in zip(
            result.class_names, result.class_counts, errors, strict=True
        )
    ]
    head = "Class Training images Test images MM-DRW, error in %"
    assert " ".join([head, *rows]) in page.text


def test_everything_is_inside_the_page(run):
    make_run(run)
    path = report.write_report([run], data=make_data())
    page = Page(path)
    assert page.loaded and all(
        uri.startswith("data:image/png;base64,") for uri in page.loaded
    )
    assert not re.search(r"url\(|@import|https?://", page.source)
    assert "script" not in page.tags
    assert all(image["alt"] for image in page.images)
    written = {file.name for file in path.parent.iterdir()} - {"index.html"}
    assert {"class_counts.png", "class_counts_dark.png"} <= written
    for name in written:
        assert (path.parent / name).read_bytes().startswith(b"\x89PNG")
    # The folder says of each file whose it is, so that it may be replaced.
    assert report._files_of_report(path.parent) == written | {"index.html"}


def test_names_are_text(run):
    make_run(
        run, names=NAMES, device="<b>GPU</b>", protocol_differences=["<i>x</i>"],
        published_top1_error=1.0,
    )  # fmt: skip
    flags = run / "flags.txt"
    flags.write_text(flags.read_text() + "--data_dir=<u>here</u>\n")
    page = Page(report.write_report([run], data=make_data()))
    assert not {"script", "i", "u"} & page.tags
    assert all(image["src"].startswith("data:") for image in page.images)
    for text in (*NAMES, "<b>GPU</b>", "<i>x</i>", "<u>here</u>"):
        assert text in page.text
        assert html.escape(text, quote=False).replace('"', "&#34;") in page.source


def test_several_runs(tmp_path):
    folders = [tmp_path / f"run{number}" for number in range(3)]
    make_run(folders[0], "erm", published_top1_error=29.64)
    make_run(folders[1], "mm_drw", seed=0)
    make_run(folders[2], "mm_drw", seed=1)
    page = Page(report.write_report(folders, tmp_path / "out", data=make_data()))
    for label in ("ERM (seed 0)", "MM-DRW (seed 0)", "MM-DRW (seed 1)"):
        assert label in page.text
    assert "re-weighted from epoch 5 (2 runs)" in page.source
    assert "Published, top-1 (Table 1) 29.64 none none" in page.text
    assert "MM-DRW (seed 0), MM-DRW (seed 1) : The paper has no number" in page.text
    assert (tmp_path / "out" / "confusion_3_dark.png").exists()


@pytest.mark.parametrize(
    ("imbalance", "words"),
    [("step", "imbalance ratio 10."), ("none", "280 training images, balanced.")],
)
def test_the_ratio_is_said_where_there_is_one(run, imbalance, words):
    make_run(run, imbalance=imbalance)
    page = Page(report.write_report([run], gallery=False))
    assert words in page.text
    assert ("imbalance ratio" in page.text) == (imbalance == "step")


def test_a_hundred_classes(run):
    names = [f"kind of thing {number}" for number in range(100)]
    make_run(run, names=names, counts=[500 - 4 * number for number in range(100)])
    page = Page(report.write_report([run], data=make_data(100)))
    assert all(name in page.text for name in names)
    assert "mean of 10 neighbouring classes" in page.text


def test_in_a_browser(run, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no chromium here (on Debian: apt install chromium)")
    make_run(run, method="mm_drw", names=NAMES)
    page = report.write_report([run], data=make_data())
    picture = tmp_path / "page.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--incognito"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=800,3000"]
    command += ["--hide-scrollbars"]

    def call(*arguments):
        return subprocess.run(
            [*command, *arguments, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
        )

    dom = call("--dump-dom").stdout
    assert "Most often confused" in dom and "</html>" in dom
    assert html.escape(NAMES[0]) in dom and "<script" not in dom
    from PIL import Image

    for theme, scheme in {"light": 1, "dark": 0}.items():
        call(
            f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}"
        )
        with Image.open(picture) as image:
            shown = np.asarray(image.convert("RGB")).astype(int)

        def share(color, shown=shown):
            rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
            return (np.abs(shown - rgb).max(axis=-1) <= 2).mean()

        # The bars of the errors: pictures are shown, and on their theme's ground.
        assert share(figures.COLORS[0]) > 0.002
        other = {"light": "dark", "dark": "light"}[theme]
        assert share(figures._THEMES[theme]["ground"]) > 0.5
        assert share(figures._THEMES[other]["ground"]) < 0.02
        assert picture.stat().st_size > 20_000
