"""The report: its command, its folder and its page, from small made-up runs."""

import re
import shutil
import subprocess

import helpers
import numpy as np
import pytest
from made_up_runs import NAMES, Page, make_data, make_run
from PIL import Image

from mm_tf.experiments import report
from mm_tf.experiments.reports import figures, page
from mm_tf.experiments.reports.runs import check_folders

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def test_only_an_earlier_report_is_replaced(run):
    make_run(run)
    path = report.write_report([run], data=make_data())
    assert report.write_report([run], gallery=False) == path
    assert not list(path.parent.glob("confused_*"))
    (path.parent / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes.txt"):
        report.write_report([run], gallery=False)
    assert (path.parent / "notes.txt").read_text() == "mine"


def test_nothing_is_left_of_a_report_that_fails(run, monkeypatch):
    make_run(run)
    before = sorted(run.iterdir())
    monkeypatch.setattr(page.gallery, "confused_pairs", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write_report([run])
    assert sorted(run.iterdir()) == before


def test_a_folder_of_runs_stands_for_the_runs_in_it(tmp_path):
    runs = [tmp_path / "digits_lt20" / "mm" / f"seed{seed}" for seed in (0, 1)]
    for seed, run in enumerate(runs):
        make_run(run, seed=seed)
    folder = tmp_path / "digits_lt20"
    assert check_folders([folder])[0] == runs
    page = report.write_report([folder], gallery=False)
    assert page == folder / "report" / "index.html"


def make_wrong_calls(folder):
    """Runs for the wrong calls below, and a file and a folder in the way."""
    make_run(folder / "a")
    make_run(folder / "b", seed=1)
    make_run(folder / "other", setting="digits_lt5")
    make_run(folder / "held", evaluated_on="holdout")
    make_run(folder / "words", top1_error="low")
    make_run(folder / "names", class_names=["cat", "dog"])
    make_run(folder / "counts", counts=[9, 9, 9])
    make_run(folder / "unfinished")
    (folder / "unfinished" / "result.json").unlink()
    make_run(folder / "photos", dataset="folder")
    flags = f"--dataset=folder\n--data_dir={folder / 'flat'}\n"
    (folder / "photos" / "flags.txt").write_text(flags)
    (folder / "flat" / "cat").mkdir(parents=True)
    for seed in range(7):
        shutil.copytree(folder / "a", folder / "many" / "mm" / f"seed{seed}")
    (folder / "empty").mkdir()
    (folder / "file").write_text("mine")


WRONG = [
    ([], "RUN"),
    (["a", "--outptu=x"], "--outptu"),
    (["none"], "must be the folder of a finished run"),
    (["empty"], "with its result.json"),
    (["unfinished"], "It has not finished."),
    # The folder of the report would become a class.
    (["photos", "--output=flat/x"], "a class."),
    (["words"], "top1_error: Input should be a valid"),
    (["names"], "class_counts is not a list of 2"),
    (["a", "other", "--output=x"], "digits_lt5"),
    (["a", "held", "--output=x"], "and hold-out ("),
    (["a", "counts", "--output=x"], "the same class counts"),
    (["a", "./a", "--output=x"], "twice"),
    (["a"] * 7, "1 to 6 runs. Received: 7"),
    (["many"], "many/mm/seed6"),
    (["a", "b"], "`output` must be given"),
    (["a", "--output=file"], "`output` must be a folder"),
    (["a", "--output=b"], "this one holds flags.txt"),
    (["a", "--output=file/x"], "`output` cannot be written"),
    (["a", "--output="], "`output` must name a folder"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_calls(arguments, message, tmp_path, monkeypatch):
    make_wrong_calls(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert message in helpers.refused(report.main, arguments)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command(run, capsys):
    make_run(run, names=[str(number) for number in range(10)], counts=[100] * 10)
    report.main([str(run)])
    printed = capsys.readouterr()
    assert printed.out == f"Written: {run / 'report' / 'index.html'}\n"
    # These labels are not those of the digits.
    assert printed.err.startswith("mm_tf: The page shows no test images: These are not")
    assert "Without test images" in Page(run / "report" / "index.html").text
    report.main([str(run), "--no_gallery"])
    assert not capsys.readouterr().err


def test_everything_is_inside_the_page(run):
    make_run(run, method="mm_drw", published_top1_error=20.0)
    path = report.write_report([run], data=make_data())
    found = Page(path)
    assert found.loaded
    assert all(uri.startswith("data:image/png;base64,") for uri in found.loaded)
    assert not re.search(r"url\(|@import|https?://", found.source)
    assert "script" not in found.tags
    assert found.source.count("<img ") == len(
        re.findall('<img .* alt="[^"]', found.source)
    )
    written = {file.name for file in path.parent.iterdir()} - {"index.html"}
    assert {"per_class_error.png", "training_curves_dark.png"} <= written
    for name in written:
        assert (path.parent / name).read_bytes().startswith(b"\x89PNG")
    # The page names its files, so that they may be replaced.
    assert report._files_of_report(path.parent) == written | {"index.html"}


def test_names_are_text(run):
    make_run(
        run,
        names=NAMES,
        device="<b>GPU</b>",
        protocol_differences=["<i>x</i>"],
        published_top1_error=1.0,
    )
    flags = run / "flags.txt"
    flags.write_text(flags.read_text() + "--data_dir=<u>here</u>\n")
    found = Page(report.write_report([run], data=make_data()))
    assert not {"script", "i", "u"} & found.tags
    assert all(uri.startswith("data:") for uri in found.loaded)
    for text in (*NAMES, "<b>GPU</b>", "<i>x</i>", "<u>here</u>"):
        assert text in found.text


def test_a_hundred_classes(run):
    names = [f"kind of thing {number}" for number in range(100)]
    make_run(run, names=names, counts=[500 - 4 * number for number in range(100)])
    found = Page(report.write_report([run], data=make_data(100)))
    assert all(name in found.text for name in names)
    assert "mean of 10 neighbouring classes" in found.text


def test_the_page_has_its_classes_by_training_images(run):
    make_run(run, names=["few", "most", "some"], counts=[20, 200, 60])
    page = Page(report.write_report([run], data=make_data()))
    table = page.text[page.text.index("Every class in numbers") :]
    assert table.index("most 200") < table.index("some 60") < table.index("few 20")
    # Predictions follow their classes: each wrong one is of the class "few".
    assert "most predicted as few" in page.text
    assert "some predicted as few" in page.text
    assert "few predicted as" not in page.text


def test_captions_are_above_their_pictures(run):
    make_run(run)
    source = Page(report.write_report([run], gallery=False)).source
    confusion = source[source.index('id="confusion"') :]
    assert confusion.index("<figcaption>ERM<") < confusion.index("<img ")


def screenshot(page, picture, size, *options):
    """The pixels of a page in a browser; skips the test if there is none."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no chromium here (on Debian: apt install chromium)")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--incognito"]
    command += [f"--user-data-dir={picture.parent / 'profile'}", *options]
    command += [f"--window-size={size}", "--hide-scrollbars"]
    command += [f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, capture_output=True, timeout=120)
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_in_a_browser(run, tmp_path):
    make_run(run, method="mm_drw", names=NAMES)
    path = report.write_report([run], data=make_data())
    for number, (theme, (ground, *_)) in enumerate(figures._THEMES.items()):
        option = f"--blink-settings=preferredColorScheme={1 - number}"
        shown = screenshot(path, tmp_path / f"{theme}.png", "800,3000", option)
        # The bars of the errors: pictures are shown, and on their theme's ground.
        for color, least in ((figures.COLORS[0], 0.002), (ground, 0.5)):
            rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
            assert (np.abs(shown - rgb).max(axis=-1) <= 2).mean() > least


def test_a_phone_shows_pictures_whole(run, tmp_path):
    make_run(run, names=["a", "b", "c"])
    path = report.write_report([run], gallery=False)
    # A browser's window has a least width, a frame has none.
    frame = tmp_path / "frame.html"
    style = "border: 0; width: 390px; height: 3000px"
    frame.write_text(
        f'<body style="margin: 0"><iframe src="{path.as_uri()}" style="{style}">'
    )
    shown = screenshot(frame, tmp_path / "phone.png", "600,3000")[:, :390]
    rgb = [int(figures.COLORS[0][i : i + 2], 16) for i in (1, 3, 5)]
    bars = (np.abs(shown - rgb).max(axis=-1) <= 2).sum(axis=0) > 20
    edges = np.flatnonzero(np.diff(bars.astype(int)) == -1)
    # The last class's bar ends before the page's margin.
    assert 330 < edges[-1] < 369


def test_formulas_of_the_site_are_shown_whole(tmp_path):
    style = (helpers.ROOT / "docs" / "site.css").read_text()
    formula = (
        '<math display="block"><mi>w</mi><mfrac><mrow><mn>1</mn><mo>&#x2212;</mo>'
        "<mi>&#x3b2;</mi></mrow><mrow><mn>1</mn><mo>&#x2212;</mo><msup><mi>&#x3b2;</mi>"
        "<msub><mi>n</mi><mi>j</mi></msub></msup></mrow></mfrac></math>"
    )
    shown = []
    for more in ("", "math { overflow: visible !important }"):
        page = tmp_path / "page.html"
        page.write_text(
            f'<style>{style}{more}</style><div class="md-typeset">{formula}</div>'
        )
        size, scale = "600,300", "--force-device-scale-factor=2"
        shown.append(screenshot(page, tmp_path / "page.png", size, scale))
    np.testing.assert_array_equal(*shown)
    assert shown[0].min() < 100
