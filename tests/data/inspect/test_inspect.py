"""Tests of `mm_tf.data.inspect`: what it finds, prints and writes, and its command."""

import csv
import io
import os
import shutil

import numpy as np
import pytest
from helpers import python, refused
from made_up_images import pixels, save, save_broken, save_classes, store_in_tfds
from PIL import Image
from rich.console import Console

from mm_tf.data import ReadOptions, read_folder
from mm_tf.data.custom.folders import check_outside
from mm_tf.data.inspect import main, print_inspection, write_inspection
from mm_tf.data.inspect.scan import inspect_data


@pytest.fixture
def photos(tmp_path):
    """Training images of three classes and test images of two of them."""
    folder = tmp_path / "photos"
    save_classes(folder / "train", {"cat": 30, "dog": 5, "fox": 2})
    save_classes(folder / "test", {"cat": 4, "dog": 4}, first_seed=500)
    return folder


@pytest.fixture
def spoilt(photos):
    """The same, with all that can be wrong with it."""
    train, test = photos / "train", photos / "test"
    save_broken(train / "dog")
    (train / "cat" / "notes.txt").write_text("")
    save(train / "loose.png")
    shutil.copy(train / "cat" / "000.png", train / "cat" / "copy.png")
    shutil.copy(train / "cat" / "001.png", test / "cat" / "leaked.png")
    shutil.copy(train / "cat" / "002.png", train / "dog" / "two.png")
    shutil.copy(train / "cat" / "003.png", test / "dog" / "both.png")
    image = Image.open(train / "cat" / "004.png")
    image.save(test / "cat" / "other_format.bmp")
    return photos


def printed(found, width=100):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_inspection(found, console)
    return console.file.getvalue()


def rows(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def test_a_good_folder(photos, capsys):
    seen = []
    found = inspect_data("folder", photos, None, lambda *numbers: seen.append(numbers))
    assert seen[-1] == (45, 45)
    assert found.class_names == ("cat", "dog", "fox")
    assert found.train_counts.tolist() == [30, 5, 2]
    assert found.test_counts.tolist() == [4, 4, 0]
    assert found.imbalance_ratio == 15.0
    assert found.shot_groups == ("medium", "few", "few")
    assert found.sizes.shape == (45, 2) and (found.sizes == (12, 10)).all()
    assert (found.formats, found.modes) == ({"PNG": 45}, {"RGB": 45})
    assert (found.problems, found.notes) == ((), ())
    main([f"--data_dir={photos}", "--strict"])
    assert "No problems found." in capsys.readouterr().out


@pytest.mark.parametrize("num_threads", [1, 5])
def test_what_is_wrong_is_found(spoilt, num_threads):
    found = inspect_data("folder", spoilt, ReadOptions(num_threads=num_threads))
    details = {(p.kind, p.file): p.detail for p in found.problems}
    unreadable = [file for kind, file in details if kind == "unreadable"]
    assert len(unreadable) == 12
    assert details["unreadable", "train/dog/empty.png"] == "the file is empty"
    for file in unreadable:
        del details["unreadable", file]
    leaked = "a test image, same {} as train/cat/{}.png, a training image"
    assert details == {
        ("no class", "train/loose.png"): "skipped: it is in no class's folder",
        ("unknown suffix", "train/cat/notes.txt"): (
            "skipped: not named as JPEG, PNG, WebP, BMP, GIF"
        ),
        ("leakage", "test/cat/leaked.png"): leaked.format("bytes", "001"),
        ("leakage", "test/cat/other_format.bmp"): leaked.format("pixels", "004"),
        **{
            ("two labels", file): f"left out: same bytes as {other}: {classes}"
            for file, other, classes in (
                ("train/cat/002.png", "train/dog/two.png", "cat and dog"),
                ("train/cat/003.png", "test/dog/both.png", "cat and dog"),
                ("train/dog/two.png", "train/cat/002.png", "dog and cat"),
                ("test/dog/both.png", "train/cat/003.png", "dog and cat"),
            )
        },
        ("duplicate", "train/cat/copy.png"): "same bytes as train/cat/000.png",
    }
    assert found.train_counts.tolist() == [29, 5, 2]
    assert found.test_counts.tolist() == [6, 4, 0]


def test_the_split_is_the_one_of_training(tmp_path):
    folder = save_classes(tmp_path / "photos", {"a": 20, "b": 7, "c": 1})
    save_broken(folder / "b")
    options = ReadOptions(split_seed=3, test_fraction=0.3)
    found = inspect_data("folder", folder, options)
    with pytest.warns(UserWarning):
        data = read_folder(folder, options)
    assert found.train_counts.tolist() == data.class_counts.tolist()
    tested = np.bincount(data.test_labels, minlength=3)
    assert found.test_counts.tolist() == tested.tolist()
    assert found.notes == (
        "There is no test set: 30% of each class become test images, as in a run.",
    )


def test_classes_without_a_whole_image(tmp_path):
    folder = save_classes(tmp_path / "photos", {"a": 4, "b": 4})
    save_broken(folder / "owl")
    found = inspect_data("folder", folder)
    assert found.train_counts.tolist() == [3, 3, 0] and found.shot_groups[2] == ""
    assert "Imbalance ratio: infinite (3 and 0 training images)" in printed(found)
    for name in "ab":
        shutil.rmtree(folder / name)
        save_broken(folder / name)
    found = inspect_data("folder", folder)
    assert found.train_counts.tolist() == [0, 0, 0] and len(found.problems) == 36
    assert "Formats: none" in printed(found)
    assert len(write_inspection(found, tmp_path / "look")) == 3


def test_sizes_formats_and_modes(tmp_path):
    save(tmp_path / "x" / "a" / "1.jpg", 1, width=30, height=20)
    save(tmp_path / "x" / "a" / "2.gif", 2, width=5, height=7)
    save(tmp_path / "x" / "b" / "3.png", 3, width=300, height=200, mode="L")
    save(tmp_path / "x" / "b" / "4.webp", 4, width=1, height=1)
    found = inspect_data("folder", tmp_path / "x")
    assert sorted(found.sizes.tolist()) == [[1, 1], [5, 7], [30, 20], [300, 200]]
    assert found.formats == {"JPEG": 1, "GIF": 1, "PNG": 1, "WEBP": 1}
    assert found.modes["L"] == 1
    assert "smallest 1 x 1," in printed(found) and "largest 300 x 200" in printed(found)


def test_csv_and_archives(photos, tmp_path):
    path = tmp_path / "all.csv"
    names = sorted((photos / "train").rglob("*.png"))
    lines = [f"{name},{name.parent.name}" for name in names]
    path.write_text("\n".join(["path,label", *lines, lines[0], "none.png,cat"]))
    found = inspect_data("csv", path)
    problems = [(problem.kind, problem.file) for problem in found.problems]
    assert problems == [("unreadable", "none.png"), ("duplicate", str(names[0]))]
    images = np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4)
    images[9], images[3] = images[0], images[2]
    arrays = dict(x_train=images[:6], y_train=[0, 1] * 3)
    np.savez(tmp_path / "x.npz", x_test=images[6:], y_test=[0, 1] * 2, **arrays)
    found = inspect_data("npz", tmp_path / "x.npz")
    assert found.train_counts.tolist() == [3, 3] and found.formats == {"array": 10}
    same = "same pixels as train[0]"
    assert [tuple(problem) for problem in found.problems] == [
        ("leakage", "test[3]", f"a test image, {same}, a training image"),
        ("two labels", "train[3]", "same pixels as train[2]: 1 and 0"),
        ("two labels", "test[3]", f"{same}: 1 and 0"),
    ]


def test_tfds_and_the_flags_of_its_reading(tmp_path, capsys):
    tfds = pytest.importorskip("tensorflow_datasets")
    images = [pixels(i, 10 + i, 14) for i in range(10)]
    store_in_tfds(
        tmp_path,
        "made_up",
        {"train": ([*images, images[0]], [0, 1] * 5 + [0])},
        picture=tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
        kind=tfds.features.ClassLabel(names=["no", "yes"]),
    )
    given = ["--dataset=tfds:made_up", f"--data_dir={tmp_path}", "--channels=1"]
    main([*given, "--image_size=8x9", f"--memory_limit={11 * 72}"])
    said = " ".join(capsys.readouterr().out.split())
    assert "smallest 9 x 8, median 9 x 8, largest 9 x 8" in said and "L 11" in said
    assert "read as in a run, at 9 x 8 pixels, whatever size they are" in said
    assert "duplicate: 1" in said
    for flag, message in (
        (f"--memory_limit={11 * 72 - 1}", f"`memory_limit` must be at least {11 * 72}"),
        ("--image_size=8,9", "`image_size` must be a number of pixels, or height x"),
        ("--channels=2", "`channels` must be 3"),
    ):
        assert message in refused(main, [*given, "--image_size=8x9", flag])


def test_many_classes_are_not_all_shown(tmp_path):
    counts = {f"class{number:03}": 1 + number % 3 for number in range(70)}
    found = inspect_data("folder", save_classes(tmp_path / "x", counts))
    text = printed(found)
    assert "... 30 more" in text and text.count("class0") == 40
    write_inspection(found, tmp_path / "look")
    assert len(rows(tmp_path / "look" / "counts.csv")) == 71


def test_names_that_would_be_markup_or_no_text(tmp_path):
    names = ["[red]a[bold]", "$x_1$", "狐", "\x1b[31mred\n", os.fsdecode(b"\xff")]
    folder = save_classes(tmp_path / "x", dict.fromkeys(names, 2))
    (folder / names[3] / "b\x1b.txt").write_text("")
    found = inspect_data("folder", folder)
    text = printed(found)
    assert "[red]a[bold]" in text and "狐" in text and "\x1b" not in text
    write_inspection(found, tmp_path / "look")
    assert {row[0] for row in rows(tmp_path / "look" / "counts.csv")[1:]} == set(names)


def test_nothing_is_replaced_unless_asked_for(photos, tmp_path):
    found = inspect_data("folder", photos)
    for name in ("counts.csv", "other.txt"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match="without counts.csv.*--overwrite.*Received"):
        write_inspection(found, tmp_path)
    assert (tmp_path / "counts.csv").read_text() == "mine"
    assert not (tmp_path / "counts.png").exists()
    write_inspection(found, tmp_path, overwrite=True)
    assert (tmp_path / "counts.csv").read_text() != "mine"
    assert (tmp_path / "other.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="`output` must be a folder. .*other.txt'$"):
        write_inspection(found, tmp_path / "other.txt")


def test_a_picture_that_fails_leaves_nothing(photos, tmp_path, monkeypatch):
    def fail(found, path):
        path.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mm_tf.data.inspect.picture.draw", fail)
    with pytest.raises(ValueError, match="`output`.*No space left.*Received"):
        write_inspection(inspect_data("folder", photos), tmp_path / "look")
    assert os.listdir(tmp_path / "look") == []


def test_the_command_and_its_files(spoilt, tmp_path, capsys):
    place, output = f"--data_dir={spoilt}", f"--output={tmp_path / 'look'}"
    main([place, output])
    out, err = capsys.readouterr()
    for part in ("Imbalance ratio: 14.5 (29 and 2", "12", "... 7 more", "leakage: 2"):
        assert part in out
    assert err == ""
    assert out.count("Written: ") == 3
    found, folder = inspect_data("folder", spoilt), tmp_path / "look"
    assert sorted(os.listdir(folder)) == ["counts.csv", "counts.png", "problems.csv"]
    assert rows(folder / "counts.csv")[:2] == [
        ["class", "train", "train_percent", "test", "test_percent", "shot_group"],
        ["cat", "29", "80.56", "6", "60.00", "medium"],
    ]
    assert rows(folder / "problems.csv")[0] == ["kind", "file", "detail"]
    assert rows(folder / "problems.csv")[1:] == [list(p) for p in found.problems]
    with Image.open(folder / "counts.png") as image:
        assert image.format == "PNG" and image.width > 1000
    refused(main, [str(spoilt), "--strict"], status=1)
    for arguments, message in (
        ([place, output], "mm_tf: `output` must be a folder without counts.csv"),
        ([place, "--test_fraction=2"], "`test_fraction`"),
        (["--dataset=folder"], "Received: data_dir=None"),
        ([place, str(spoilt)], "`data_dir` must be given once"),
        (["--dataset=mnist"], "Received: name='mnist'"),
        (["--dataset=npz", place], "`data_dir` must be a .npz file"),
        ([place, "--strct"], "Did you mean --strict? Received: --strct"),
    ):
        assert message in refused(main, arguments)
    main([place, output, "--overwrite"])


def test_an_output_that_would_become_a_class_is_refused(tmp_path):
    flat = save_classes(tmp_path / "flat", {"cat": 3, "dog": 3})
    for look in (flat / "look", flat / "cat" / "look"):
        said = refused(main, [f"--data_dir={flat}", f"--output={look}"])
        assert "`output` must not lie inside `data_dir`" in said
    assert sorted(os.listdir(flat)) == ["cat", "dog"]
    # A hidden folder, a neighbour, and one beside train and test are no class.
    alone = save_classes(tmp_path / "alone", {"train/cat": 1})
    split = save_classes(tmp_path / "split", {"train/cat": 1, "test/cat": 1})
    for place, root in (
        (flat / ".look", flat),
        (tmp_path / "flat_look", flat),
        (split / "look", split),
    ):
        check_outside("output", place, root)
    for place, root in ((alone / "look", alone), (split / "test" / "look", split)):
        with pytest.raises(ValueError, match="`output` must not lie inside.*Received"):
            check_outside("output", place, root)


def test_the_module_runs_without_what_it_does_not_need(photos, tmp_path):
    done = python(
        "-c",
        "import sys\n"
        "from mm_tf.data.inspect import main\n"
        f"main(['--data_dir={photos}'])\n"
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'sklearn', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))\n",
    )
    assert done.stdout.endswith("[]\n") and done.stderr == ""
    done = python("-m", "mm_tf.data.inspect", f"--data_dir={tmp_path}/none")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("mm_tf: `data_dir` must be an existing folder")
    assert done.stderr.count("\n") == 1
