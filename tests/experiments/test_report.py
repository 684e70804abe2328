"""The report, from small made-up runs."""

import html
import html.parser
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from mm_tf.data import DATASETS, DatasetInfo, ImageData
from mm_tf.experiments import figures, paper, report, summary
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.config_flags import to_flagfile
from mm_tf.experiments.results import RunResult

MEAN_STD = {"mean": (0.5,), "std": (0.5,)}


def make_run(
    folder, method="erm", seed=0, names=None, counts=None, epochs=6, **changes
):
    """Writes what a run leaves, made up, and returns its `RunResult`."""
    names = names or ["cat", "dog", "eel"]
    counts = counts or [200, 60, 20][: len(names)]
    size, rng = len(names), np.random.default_rng(seed)
    labels = np.repeat(np.arange(size), 10)
    predictions = np.where(rng.random(10 * size) < 0.6, labels, 0)
    errors = [
        100 * float(np.mean(predictions[labels == label] != label))
        for label in range(size)
    ]
    config = RunConfig(method=method, seed=seed, epochs=epochs, model="resnet8")
    error = float(np.mean(errors))
    values = dict(
        method=method,
        setting=config.setting,
        dataset="digits",
        imbalance="long_tailed",
        imbalance_ratio=10.0,
        seed=seed,
        subset_seed=0,
        epochs=epochs,
        hyperparameters=config.hyperparameters,
        class_names=names,
        class_counts=counts,
        top1_error=error,
        best_top1_error=error - 1.23,
        best_epoch=3,
        balanced_error=error + 0.01,
        per_class_error=errors,
        many_shot_error=12.34,
        medium_shot_error=45.67,
        few_shot_error=None,
        published_top1_error=None,
        protocol_differences=[],
        images_per_second=1234.5,
        training_seconds=6789.0,
        backend="tensorflow",
        device="CPU of a test",
        versions={"keras": "3.99.1"},
    )
    result = RunResult(**(values | changes))
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(result.to_json())
    (folder / "flags.txt").write_text(to_flagfile(config))
    rows = [f"{e},0.{e},{5 - e / 2},{90 - e},NA" for e in range(epochs)]
    header = "epoch,accuracy,loss,test_top1_error,val_loss"
    (folder / "history.csv").write_text("\n".join([header, *rows]))
    np.savez_compressed(
        folder / "predictions.npz",
        labels=labels.astype("uint16"),
        predictions=predictions.astype("uint16"),
    )
    return result


def make_data(size=3):
    """Images for the made-up runs' labels."""
    info = DatasetInfo(
        "fake",
        size,
        (8, 8, 1),
        10,
        **MEAN_STD,
        crop_padding=0,
        horizontal_flip=False,
        description="",
    )
    labels = np.repeat(np.arange(size), 10)
    images = np.random.default_rng(0).integers(0, 256, (10 * size, 8, 8, 1), "uint8")
    names = tuple(map(str, range(size)))
    return ImageData(info, images, labels, images, labels, names)


class Page(html.parser.HTMLParser):
    """What a page loads, its images and its text."""

    def __init__(self, path):
        super().__init__()
        self.loaded, self.images, self.tags, self.words = [], [], set(), []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.loaded += [values[k] for k in ("src", "srcset", "href") if k in values]
        if tag == "img":
            self.images.append(values)

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch):
    """Drawing is most of the time of these tests."""
    monkeypatch.setattr(report, "_DOTS_PER_INCH", 50)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "saved_models" / "erm" / "seed0"


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


NAMES = ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a $x_$ {{ 7 * 7 }} &"]


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


@pytest.fixture
def drawn(monkeypatch):
    """The figures that a report draws, by the names of their functions."""
    drawn = {}

    def watch(name):
        draw = getattr(figures, name)

        def watched(*arguments):
            drawn[name] = draw(*arguments)
            return drawn[name]

        monkeypatch.setattr(figures, name, watched)

    for name in (
        "class_counts_figure",
        "per_class_error_figure",
        "shot_error_figure",
        "training_curves_figure",
    ):
        watch(name)
    return drawn


@pytest.mark.parametrize(
    ("method", "words"),
    [("hg_drs", "re-sampled"), ("mm_drw", "re-weighted"), ("cb_rs", None)],
)
def test_pictures_are_of_the_run(run, drawn, method, words):
    result = make_run(run, method=method, epochs=20)
    report.write_report([run], gallery=False)
    (counts,) = drawn["class_counts_figure"].axes
    assert [bar.get_height() for bar in counts.patches[:3]] == result.class_counts
    _, errors = drawn["per_class_error_figure"].axes
    heights = [bar.get_height() for bar in errors.patches]
    assert heights == result.per_class_error
    (shots,) = drawn["shot_error_figure"].axes
    assert [bar.get_height() for bar in shots.containers[0]] == [12.34, 45.67]
    for axes in drawn["training_curves_figure"].axes:
        lines = {line.get_label(): line.get_xdata()[0] for line in axes.lines[-2:]}
        # Epochs 16 and 18 of 20, as 160 and 180 of 200.
        assert lines == {
            "learning rate × 0.01 from epoch 16": 15.5,
            "learning rate × 0.0001 from epoch 18": 17.5,
        }
        spans = [(span.get_label(), span.get_x()) for span in axes.patches]
        assert spans == ([(f"{words} from epoch 16", 15.5)] if words else [])


def test_runs_that_only_their_folder_tells_apart(tmp_path):
    folders = [tmp_path / "short", tmp_path / "long"]
    for folder in folders:
        make_run(folder)
    page = Page(report.write_report(folders, tmp_path / "out", data=make_data()))
    assert "ERM (short)" in page.text and "ERM (long)" in page.text


def test_a_hundred_classes(run):
    names = [f"kind of thing {number}" for number in range(100)]
    make_run(run, names=names, counts=[500 - 4 * number for number in range(100)])
    page = Page(report.write_report([run], data=make_data(100)))
    assert all(name in page.text for name in names)
    assert "mean of 10 neighbouring classes" in page.text


def test_what_is_missing_is_said(run):
    make_run(run)
    (run / "history.csv").unlink()
    (run / "predictions.npz").write_bytes(b"PK damaged")
    (run / "flags.txt").write_text("--no_such_flag=1\n")
    page = Page(report.write_report([run]))
    assert "history.csv is missing" in page.text
    assert "predictions.npz cannot be read" in page.text
    assert "flags.txt cannot be read" in page.text
    assert "There is no history to draw." in page.text
    assert "The runs kept no predictions." in page.text
    assert "no_such_flag" in page.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"gallery": False}, "They were not asked for."),
        ({"data": make_data(4)}, "not the one that the runs were evaluated on"),
    ],
)
def test_without_images(run, arguments, words):
    make_run(run)
    page = Page(report.write_report([run], **arguments))
    assert words in page.text
    assert "taken for cat" in page.text


def test_data_that_cannot_be_loaded(run):
    make_run(run, dataset="cifar10")
    page = Page(report.write_report([run], data_dir=run / "none"))
    assert "Without test images" in page.text and "`data_dir`" in page.text


def test_a_rare_class_that_is_all_wrong_comes_first(run):
    make_run(run)
    labels = np.repeat([0, 1, 2], [100, 20, 2])
    predictions = labels.copy()
    predictions[:30] = 1  # 30 of 100, and of each other class
    predictions[100:106] = 0  # 6 of 20: the same share of fewer images
    predictions[120:] = 1  # 2 of 2
    np.savez_compressed(run / "predictions.npz", labels=labels, predictions=predictions)
    page = Page(report.write_report([run], gallery=False))
    words = ["2 of 2 test", "30 of 100 test", "6 of 20 test"]
    places = [page.text.index(each) for each in words]
    assert places == sorted(places)


@pytest.mark.parametrize("differences", [[], ["epochs 6"]])
def test_the_words_are_those_of_the_run(run, differences, capsys):
    result = make_run(run, published_top1_error=20.0, protocol_differences=differences)
    summary.print_result(result, run)
    printed = " ".join(capsys.readouterr().out.split())
    assert paper.published_words(result) in printed
    page = Page(report.write_report([run], data=make_data()))
    assert paper.published_words(result) in page.text
    assert "Published, top-1 (Table 1) 20.00" in page.text


def test_nothing_is_said_of_a_number_that_is_not_there(run):
    make_run(run)
    page = Page(report.write_report([run], data=make_data()))
    assert "Published" not in page.text and "The paper has no" not in page.text


def test_an_earlier_report_is_replaced_and_nothing_else(run):
    make_run(run)
    page = report.write_report([run], data=make_data())
    assert report.write_report([run], gallery=False) == page
    assert not list(page.parent.glob("confused_*"))
    (page.parent / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes.txt"):
        report.write_report([run], gallery=False)
    assert (page.parent / "notes.txt").read_text() == "mine"


def test_nothing_is_left_of_a_report_that_fails(run, monkeypatch):
    make_run(run)
    before = sorted(run.iterdir())
    monkeypatch.setattr(report, "_confusions", lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write_report([run])
    assert sorted(run.iterdir()) == before


def test_as_many_runs_as_colors():
    assert len(figures.COLORS) == report.MOST_RUNS


def make_wrong_calls(folder):
    """Runs for the wrong calls below, and a file and a folder in the way."""
    make_run(folder / "a")
    make_run(folder / "b", seed=1)
    make_run(folder / "other", setting="digits_lt5")
    make_run(folder / "words", top1_error="low")
    make_run(folder / "names", class_names=["cat", "dog"])
    make_run(folder / "unfinished")
    (folder / "unfinished" / "result.json").unlink()
    make_run(folder / "stopped.incomplete")
    (folder / "stopped.incomplete" / "result.json").unlink()
    make_run(folder / "photos", dataset="folder")
    flags = f"--dataset=folder\n--data_dir={folder / 'flat'}\n"
    (folder / "photos" / "flags.txt").write_text(flags)
    (folder / "flat" / "cat").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "file").write_text("mine")


WRONG = {
    "no run": ([], "RUN"),
    "misspelt flag": (["a", "--outptu=x"], "--outptu"),
    "no such folder": (["none"], "there is none at"),
    "a folder that is no run": (["empty"], "has no result.json"),
    "a run that has not finished": (["unfinished"], "has not finished (it has no"),
    "a run that was stopped": (["stopped"], "stopped.incomplete): "),
    "output that would become a class": (["photos", "--output=flat/x"], "a class."),
    "a result that was edited": (
        ["words"],
        "top1_error: Input should be a valid number",
    ),
    "lists of two lengths": (["names"], "class_counts is no list of 2"),
    "two settings": (["a", "other", "--output=x"], "digits_lt5"),
    "the same twice": (["a", "./a", "--output=x"], "twice"),
    "too many": (["a"] * 7, "1 to 6 folders. Received: 7"),
    "several without output": (["a", "b"], "`output` must be given"),
    "output that is a file": (["a", "--output=file"], "`output` is not a folder"),
    "output in other use": (["a", "--output=b"], "holds other files"),
    "output below a file": (["a", "--output=file/x"], "`output` cannot be written"),
    "no name": (["a", "--output="], "`output` must name a folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name, tmp_path, monkeypatch, capsys):
    make_wrong_calls(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[name]
    with pytest.raises(SystemExit) as exit:
        report.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_wrong_call_is_told_at_once(tmp_path):
    program = (
        "import sys; from mm_tf.experiments import report\n"
        "try: report.main(['none'])\n"
        "except SystemExit as exit: code = exit.code\n"
        "heavy = {'keras', 'tensorflow', 'matplotlib', 'sklearn', 'jinja2'}\n"
        "sys.exit(f'imported: {heavy & set(sys.modules)}'"
        " if heavy & set(sys.modules) else code)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert seconds < 2


def test_the_command(run, capsys):
    make_run(run, names=[f"digit {number}" for number in range(10)],
             counts=[100] * 10)  # fmt: skip
    report.main([str(run)])
    assert capsys.readouterr().out == f"Written: {run / 'report' / 'index.html'}\n"
    # These labels are not those of the digits.
    page = Page(run / "report" / "index.html")
    assert DATASETS["digits"].description.split()[0] in page.text
    assert "Without test images" in page.text


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
