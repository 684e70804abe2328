"""What a report reads of its runs, and what its tables, curves and gallery show."""

import pathlib

import numpy as np
import pytest
from made_up_images import save_classes
from made_up_runs import Page, make_data, make_run

from mm_tf.data.loading import data_digest
from mm_tf.experiments import paper, report
from mm_tf.experiments.reports import pictures, runs, tables

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def make_and_read(folder, lines=None, **arguments):
    result = make_run(folder, **arguments)
    if lines is not None:
        (folder / "flags.txt").write_text("\n".join(lines))
    return runs.read(folder, result)


def write_page(*folders, **arguments):
    return Page(report.write_report(folders, **arguments))


def test_one_run_with_all_its_numbers(run):
    result = make_run(run, method="mm_drw", published_top1_error=20.0)
    page = write_page(run, data=make_data())
    for text in (
        f"{result.top1_error:.2f}",
        f"{result.best_top1_error:.2f} (epoch 3)",
        f"{result.balanced_error:.2f}",
        "Published, top-1 (Table 1) 20.00",
        paper.published_words(result),
        "12.34",
        "45.67",
        "no such class",
        "1,234.5",
        "6,789 s",
        "CPU of a test",
        "3.99.1",
        "resnet8",
    ):
        assert text in page.text, text
    assert "re-weighted from epoch 5" in page.source
    assert "Without test images" not in page.text
    rows = [
        f"{name} {count} 10 {error:.1f}"
        for name, count, error in zip(
            result.class_names,
            result.class_counts,
            result.per_class_error,
            strict=True,
        )
    ]
    head = "Class Training images Test images MM-DRW, error in %"
    assert " ".join([head, *rows]) in page.text


def test_several_runs(tmp_path):
    folders = [tmp_path / f"run{number}" for number in range(3)]
    make_run(folders[0], "erm", published_top1_error=29.64)
    make_run(folders[1], "mm_drw", seed=0)
    make_run(folders[2], "mm_drw", seed=1)
    page = write_page(*folders, output=tmp_path / "out", data=make_data())
    for label in ("ERM (seed 0)", "MM-DRW (seed 0)", "MM-DRW (seed 1)"):
        assert label in page.text
    assert "re-weighted from epoch 5 (2 runs)" in page.source
    assert "Published, top-1 (Table 1) 29.64 none none" in page.text
    assert "MM-DRW (seed 0), MM-DRW (seed 1) : The paper has no number" in page.text
    assert (tmp_path / "out" / "confusion_3_dark.png").exists()


def test_labels_of_runs_that_differ_only_in_their_folders(tmp_path):
    read = [make_and_read(tmp_path / name) for name in ("short", "long")]
    assert runs.labels(read) == ["ERM (short)", "ERM (long)"]


NO_GALLERY = {"gallery": False}
NO_DATA = {"data_dir": "none"}
ON_TEST = {"dataset": "cifar10", "evaluated_on": "test"}
ON_HOLDOUT = {"dataset": "cifar10", "evaluated_on": "holdout"}
STEP = {"imbalance": "step", "imbalance_ratio": 100.0}


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        (STEP, NO_GALLERY, "imbalance ratio 100."),
        (STEP | {"imbalance": "none"}, NO_GALLERY, "280 training images, balanced."),
        ({}, NO_GALLERY, "they were switched off (--no_gallery)."),
        ({}, {"data": make_data(4)}, "not the images that the runs were evaluated on"),
        (ON_TEST, NO_DATA, "Without test images: give --data_dir, the place"),
        (ON_HOLDOUT, NO_DATA, "Without hold-out images: Without its flags"),
    ],
)
def test_pages_of_other_runs_and_without_images(run, changes, arguments, words):
    make_run(run, **changes)
    if arguments is NO_DATA:
        (run / "flags.txt").unlink()
    text = write_page(run, **arguments).text
    assert words in text and "predicted as cat" in text
    assert "Published" not in text
    assert changes.get("imbalance") != "none" or "imbalance ratio" not in text


def test_the_page_names_what_is_missing(run):
    make_run(run)
    (run / "history.csv").unlink()
    (run / "predictions.npz").write_bytes(b"PK damaged")
    (run / "flags.txt").write_text("--no_such_flag=1\n")
    text = write_page(run).text
    assert "history.csv is missing" in text and "No history was saved." in text
    assert "predictions.npz cannot be read" in text
    assert "The runs saved no predictions." in text
    assert "flags.txt cannot be read" in text and "no_such_flag" in text


def test_photos_that_moved_or_changed(run, tmp_path, capsys):
    make_run(run)
    photos, moved = tmp_path / "photos", tmp_path / "moved"
    for part, size in {"train": 1, "test": 10}.items():
        classes = dict.fromkeys(["cat", "dog", "eel"], size)
        save_classes(photos / part, classes, first_seed=50 * size)
    digest = data_digest("folder", photos)
    (run / "flags.txt").write_text(
        f"--dataset=folder\n--data_dir={photos}\n--data_digest={digest}\n"
    )

    def reason(*arguments):
        """Why the page shows no images: the command says where, the page does not."""
        report.main([str(run), *arguments])
        out, err = capsys.readouterr()
        found = err.removeprefix("mm_tf: The page shows no test images: ").strip()
        text = Page(pathlib.Path(out.removeprefix("Written: ").strip())).text
        assert ("Without test images" in text) == bool(err)
        assert "\n" not in found and found.replace(f"{tmp_path}/", "") in text
        assert str(tmp_path) not in text
        return found

    assert not reason()
    photos.rename(moved)
    assert reason().startswith("give --data_dir, the place of the run's images. ")
    assert not reason(f"--data_dir={moved}")
    (moved / "test" / "cat" / "000.png").unlink()
    assert "the images are not those of the run" in reason(f"--data_dir={moved}")


def test_a_rare_class_that_is_all_wrong_comes_first(run):
    make_run(run)
    labels = np.repeat([0, 1, 2], [100, 20, 2])
    predictions = labels.copy()
    predictions[:30] = 1  # 30 of 100.
    predictions[100:106] = 0  # 6 of 20: the same share of fewer images.
    predictions[120:] = 1  # 2 of 2.
    np.savez_compressed(run / "predictions.npz", labels=labels, predictions=predictions)
    text = write_page(run, gallery=False).text
    words = ["2 of 2 test", "30 of 100 test", "6 of 20 test"]
    places = [text.index(each) for each in words]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("method", "words"),
    [("hg_drs", "re-sampled"), ("mm_drw", "re-weighted"), ("cb_rs", None)],
)
def test_curves_have_the_marks_of_the_run(run, method, words):
    read = make_and_read(run, method=method, epochs=20)
    marks = [each[:2] for each in pictures._marks([read], ["label"])]
    # Epochs 16 and 18 of 20, as 160 and 180 of 200.
    expected = [
        (16, "learning rate × 0.01 from epoch 16"),
        (18, "learning rate × 0.0001 from epoch 18"),
    ]
    expected[1:1] = [(16, f"{words} from epoch 16")] if words else []
    assert marks == expected


FLAGS = {
    "imbalance_ratio": "20.0",
    "subset_seed": "0",
    "delta": "0.6",
    "class_weighting": "effective_number",
    "effective_number_beta": "0.9999",
    "reweight_epoch": "3",
    "seed": "0",
}
AS_IS = {"dataset": "folder", "data_dir": "photos", "imbalance": "as_is"}


def read_flags(folder, flags):
    lines = [f"--{name}={value}" for name, value in {**FLAGS, **flags}.items()]
    read = make_and_read(folder, lines)
    assert read.config is not None
    return read


@pytest.mark.parametrize(
    ("flags", "without"),
    [
        ({"method": "mm_drw"}, set()),
        ({"method": "mm_drw", "imbalance": "none"}, {"imbalance_ratio"}),
        ({"method": "mm_drw"} | AS_IS, {"imbalance_ratio", "subset_seed"}),
        ({"method": "mm_drw", "holdout": "0.2"} | AS_IS, {"imbalance_ratio"}),
        (
            {"method": "erm"},
            {"delta", "class_weighting", "effective_number_beta", "reweight_epoch"},
        ),
        (
            {"method": "cb_rw", "class_weighting": "inverse_frequency"},
            {"delta", "effective_number_beta", "reweight_epoch"},
        ),
    ],
)
def test_flags_without_effect_are_left_out(run, flags, without):
    given = FLAGS.keys() | flags.keys()
    named = {name for name, *_ in tables.flags([read_flags(run, flags)])}
    assert named & given == given - without
    # With the defaults of flags that its file does not have.
    assert {"epochs", "holdout", "strategy"} <= named


def test_a_flag_of_only_one_run_is_no_difference(tmp_path):
    flags = [{"method": "erm"}, {"method": "mm_drw", "seed": "1"}]
    read = [read_flags(tmp_path / each["method"], each) for each in flags]
    rows = {name: (cells, differs) for name, cells, differs in tables.flags(read)}
    assert rows["delta"] == (["-", "0.6"], False)
    assert rows["seed"] == (["0", "1"], True)
    assert rows["imbalance_ratio"] == (["20.0", "20.0"], False)


def test_classes_have_the_images_that_their_errors_are_measured_on(tmp_path):
    read = [
        make_and_read(
            tmp_path / str(last),
            evaluated_counts=[10, 10, last],
            evaluated_on="holdout",
        )
        for last in (2000, 3)
    ]
    columns = dict(tables.classes(read, ["A", "B"]))
    assert columns["Training images"] == ["200", "60", "20"]
    assert columns["Hold-out images"] == ["10", "10", "2,000 or 3"]
    errors = read[0].result.per_class_error
    assert columns["A, error in %"] == [f"{error:.1f}" for error in errors]
