"""Tests of the readers of custom data, and of the steps they are made of.

Four readers in one file, because they share their images, their errors and their table
of cases.
"""

import csv
import dataclasses
import os
import shlex
import shutil
import socket
import sys
import unicodedata
import warnings

import numpy as np
import pytest
from made_up_images import pixels, save, save_broken, save_classes, store_in_tfds
from PIL import Image

from mm_tf.data import (
    DatasetUnavailableError,
    DataWarning,
    ImageFileError,
    ImageFiles,
    ReadOptions,
    imbalanced,
    load,
    read_csv,
    read_folder,
    read_npz,
    read_tfds,
)
from mm_tf.data.inspect import show
from mm_tf.data.inspect.scan import inspect_data
from mm_tf.data.loading import data_digest

pytestmark = pytest.mark.filterwarnings("error::mm_tf.data.DataWarning")
warns = pytest.mark.filterwarnings("default::mm_tf.data.DataWarning")


def names_of(images):
    """The last two parts of each path: class and file."""
    return ["/".join(path.split(os.sep)[-2:]) for path in images.paths]


def contents(data):
    """All that a data set holds, to compare."""
    return (
        dataclasses.astuple(data.info),
        data.class_names,
        data.train_images[:].tobytes(),
        data.train_labels.tolist(),
        data.test_images[:].tobytes(),
        data.test_labels.tolist(),
        data.notes,
    )


@pytest.fixture
def photos(tmp_path):
    """Three classes of 10, 5 and 2 images of one size."""
    return save_classes(tmp_path / "photos", {"cat": 10, "dog": 5, "fox": 2})


def write_csv(path, rows, header=("path", "label")):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


# Folders


@pytest.mark.filterwarnings("error")
def test_a_folder_of_classes(photos):
    data = read_folder(photos, ReadOptions(image_size=(10, 12)))
    assert data.class_names == ("cat", "dog", "fox")
    assert data.class_counts.tolist() == [8, 4, 1]
    assert np.bincount(data.test_labels).tolist() == [2, 1, 1]
    assert isinstance(data.train_images, ImageFiles) and data.notes == ()
    assert data.info.name == "folder" and data.info.image_shape == (10, 12, 3)
    assert data.info.images_per_class == 1 and data.info.horizontal_flip
    assert data.info.crop_padding == 1
    assert data.info.description == (
        "17 files of photos; 4 test images, 20% of each class."
    )
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ):
        names = names_of(images)
        assert names == sorted(names)
        assert [data.class_names[j] for j in labels] == [n[:3] for n in names]
    both = [*data.train_images.paths, *data.test_images.paths]
    assert len(set(both)) == 17
    assert (data.train_images[0] == np.asarray(Image.open(both[0]))).all()
    values = data.train_images[:] / 255
    assert data.info.mean == pytest.approx(values.mean((0, 1, 2)), abs=1e-4)
    assert data.info.std == pytest.approx(values.std((0, 1, 2)), abs=1e-4)


def test_images_of_one_colour_have_a_deviation(tmp_path):
    for name, level in (("a", 10), ("b", 11)):
        for number in range(3):
            path = tmp_path / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (8, 8 + number), level).save(path)
    info = read_folder(tmp_path, ReadOptions(channels=1)).info
    assert info.mean == (0.0412,) and info.std == (0.0039,)
    assert info.image_shape == (32, 32, 1)


def test_a_data_set_reads_the_same_again_and_elsewhere(photos, tmp_path):
    first = contents(read_folder(photos))
    assert contents(read_folder(f"{photos}/", ReadOptions(num_threads=1))) == first
    few = ReadOptions(num_threads=5, memory_limit=0, verify=False)
    assert contents(read_folder(photos, few)) == first
    # Written in another order, and another place.
    moved = tmp_path / "else" / "photos"
    for name in ("fox", "dog", "cat"):
        shutil.copytree(photos / name, moved / name)
    assert contents(read_folder(moved)) == first


def test_the_split_depends_only_on_its_seed_and_fraction(photos):
    default = read_folder(photos)
    other = read_folder(photos, ReadOptions(split_seed=1))
    assert names_of(default.test_images) != names_of(other.test_images)
    half = read_folder(photos, ReadOptions(test_fraction=0.5, image_size=8))
    assert np.bincount(half.test_labels).tolist() == [5, 2, 1]


TWO_CLASSES = {"train/a": 3, "train/b": 2, "test/a": 1, "test/b": 2}


def renamed(train, test):
    """The counts of two classes with other names for the folders of the splits."""
    return {
        name.replace("train", train).replace("test", test): count
        for name, count in TWO_CLASSES.items()
    }


@pytest.mark.parametrize(
    "counts, unused, train, test",
    [
        (TWO_CLASSES, "", [3, 2], [0, 1, 1]),
        (renamed("train", "val"), "", [3, 2], [0, 1, 1]),
        (renamed("Train", "Validation"), "", [3, 2], [0, 1, 1]),
        (renamed("training", "VAL"), "", [3, 2], [0, 1, 1]),
        ({**TWO_CLASSES, "val/a": 1, "new": 1}, "new/, val/", [3, 2], [0, 1, 1]),
        ({"train/a": 5, "train/b": 5, "test": 1}, "test/", [4, 4], [0, 1]),
        # A class may be called train.
        ({"bus": 2, "train": 2, "train/steam": 1, "car": 2}, "", [1, 1, 2], [0, 1, 2]),
    ],
)
def test_folders_for_training_and_test_images(tmp_path, counts, unused, train, test):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = read_folder(save_classes(tmp_path, counts))
    assert bool(caught) == bool(unused)
    assert data.notes[:1] == ((f"Not used: {unused}.",) if unused else ())
    assert data.class_counts.tolist() == train and data.test_labels.tolist() == test
    if "val/" in unused:
        assert not any("val" in path for path in data.test_images.paths)


@pytest.mark.skipif(sys.platform != "linux", reason="others forbid some of them")
def test_names_of_all_kinds(tmp_path):
    no_text = os.fsdecode(b"z\xff")
    decomposed = unicodedata.normalize("NFD", "éléphant")
    given = ["Zebra", "ant eater", decomposed, "狐", "10", "9", no_text]
    for number, name in enumerate(given):
        for image in ("ä ö.PNG", "b [red]%20.JpEg"):
            save(tmp_path / name / "more" / image, seed=2 * number + len(image))
    data = read_folder(tmp_path)
    names = ("10", "9", "Zebra", "ant eater", no_text, "éléphant", "狐")
    assert data.class_names == names
    assert data.class_counts.tolist() == [1] * 7
    assert len(data.train_images[:]) == 7


def test_folders_named_by_numbers_are_in_the_order_of_a_csv_file(tmp_path):
    save_classes(tmp_path, dict.fromkeys(map(str, range(12)), 2))
    data = read_folder(tmp_path)
    assert data.class_names == tuple(map(str, range(12)))
    rows = [(path, path.parent.name) for path in tmp_path.rglob("*.png")]
    assert read_csv(write_csv(tmp_path / "x.csv", rows)).class_names == data.class_names
    # As version 0.1.0 had them.
    names = sorted(data.class_names)
    before = read_folder(tmp_path, ReadOptions(class_names=names))
    assert before.class_names == tuple(names)
    for path, label in zip(before.train_images.paths, before.train_labels, strict=True):
        assert names_of(ImageFiles([path], 8))[0].split("/")[0] == names[label]
    with pytest.raises(ValueError, match="`class_names` must be the classes.*Received"):
        read_folder(tmp_path, ReadOptions(class_names=names[1:]))


def test_what_systems_leave_is_passed_over_silently(photos):
    for name in (
        ".DS_Store",
        "cat/._000.png",
        "cat/Thumbs.db",
        "cat/desktop.ini",
        "__MACOSX/cat/000.png",
        ".git/cat/000.png",
    ):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(b"nothing")
    assert read_folder(photos).class_counts.tolist() == [8, 4, 1]


@warns
def test_other_files_and_links_to_nothing_are_reported(photos):
    for name in ("cat/a.tif", "dog/b.tif", "dog/c", "readme.txt"):
        (photos / name).write_text("nothing")
    save(photos / "loose.png")
    (photos / "cat" / "gone.png").symlink_to("nowhere.png")
    (photos / "cat" / "loop.png").symlink_to("loop.png")
    with pytest.warns(DataWarning):
        data = read_folder(photos)
    suffixes, left_out = data.notes
    assert suffixes == "Skipped for their suffixes: .tif 2, none 1."
    assert left_out.startswith(
        "Left out: 3 files: loose.png (skipped: it is in no class's folder); "
        "cat/gone.png (No such file"
    )
    assert data.class_counts.tolist() == [8, 4, 1]


def test_links_in_a_circle_end(photos):
    (photos / "cat" / "self").symlink_to(photos / "cat")
    (photos / "cat" / "all").symlink_to(photos)
    (photos / "dog" / "up").symlink_to("..")
    (photos / "fox" / "more").mkdir()
    (photos / "fox" / "more" / "again").symlink_to(photos / "fox" / "more")
    save(photos / "fox" / "more" / "1.png", seed=50)
    assert read_folder(photos).class_counts.tolist() == [8, 4, 2]


@warns
def test_links_out_of_the_folder_are_followed_and_reported(photos, tmp_path):
    elsewhere = save_classes(tmp_path / "elsewhere", {"owl": 5, "x": 1}, first_seed=70)
    (photos / "owl").symlink_to(elsewhere / "owl")
    (photos / "cat" / "one.png").symlink_to(elsewhere / "x" / "000.png")
    (photos / "cat" / "inside.png").symlink_to("000.png")
    with pytest.warns(DataWarning, match="out of the folder are followed: cat/one.png"):
        data = read_folder(photos)
    assert data.class_counts.tolist() == [10, 4, 1, 4]
    kinds = {p.file: p.kind for p in inspect_data("folder", photos).problems}
    assert kinds == {
        "cat/one.png": "link",
        "owl": "link",
        "cat/inside.png": "duplicate",
    }


@warns
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_files_are_left_out_and_reported(photos, tmp_path, monkeypatch):
    save_broken(photos / "dog")
    with pytest.warns(DataWarning) as caught:
        data = read_folder(photos)
    left_out, note = data.notes
    assert [str(warning.message) for warning in caught] == [left_out, note]
    assert left_out.startswith("Left out: 12 files: dog/bomb.png (")
    assert data.class_counts.tolist() == [8, 4, 1]
    # The command that the note names lists all of them.
    monkeypatch.chdir(tmp_path)
    command = note.removeprefix("python -m mm_tf.data.inspect ").split(" lists ")[0]
    show.main(shlex.split(command))
    with open(tmp_path / "look" / "problems.csv", newline="") as file:
        listed = [row["file"] for row in csv.DictReader(file)]
    assert len(listed) == 12 and all(name.startswith("dog/") for name in listed)
    with pytest.raises(ValueError, match=r"`strict`.*Received: dog/bomb.png \("):
        read_folder(photos, ReadOptions(strict=True))
    # Without a look beforehand, a broken file is an error when it is met.
    with pytest.raises(ImageFileError, match="Received: .*/dog/[a-z ]*[.][a-z]*$"):
        data = read_folder(photos, ReadOptions(verify=False))
        data.train_images[:], data.test_images[:]
    save_broken(photos / "owl")
    with pytest.raises(
        ValueError, match="that can be used. .*files of photos with none of owl$"
    ):
        read_folder(photos)


@warns
def test_the_only_image_of_a_class_is_for_training(tmp_path):
    save_classes(tmp_path, {"a": 5, "rare": 1, "same": 1})
    shutil.copy(tmp_path / "same" / "000.png", tmp_path / "same" / "copy.png")
    with pytest.warns(DataWarning, match="No test image of rare, same: .* one image"):
        data = read_folder(tmp_path)
    assert data.class_counts.tolist() == [4, 1, 2]
    assert data.test_labels.tolist() == [0]


@pytest.mark.parametrize(
    "counts, message",
    [
        ({}, "at least two classes.*photos' with no folder$"),
        ({"cat": 3}, "at least two classes.*photos' with 'cat'$"),
        ({"cat": 2, "owl": 0}, "Every class must have an image.*with none in 'owl'$"),
        ({**TWO_CLASSES, "test/owl": 1}, "among those of.*test images of 'owl'$"),
        ({**TWO_CLASSES, "test/aa": 1}, r"Did you mean a\? Received.*images of 'aa'$"),
        ({"test/a": 1, "test/b": 1}, "must have the folder train.*photos' with test$"),
        ({**TWO_CLASSES, "Training/a": 1}, "folder for train.*'Training' and 'train'"),
        ({"train/a": 1, "train/b": 1, "test/a": 0}, "There must be test.*with none$"),
        ({"a": 1, "b": 1}, "two different images.*2 files of photos with none$"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path, counts, message):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=message):
        read_folder(save_classes(tmp_path / "photos", counts))


@pytest.mark.parametrize(
    "names", [("training_set", "test_set"), ("a", "b"), ("train", "hold-out")]
)
def test_splits_of_other_names_are_not_taken_for_classes(tmp_path, names):
    one, other = names
    counts = {f"{one}/cat": 3, f"{one}/dog": 3, f"{one}/owl": 1}
    save_classes(tmp_path, {**counts, f"{other}/cat": 2, f"{other}/dog": 2})
    with pytest.raises(ValueError, match=r"rename splits to train.*: cat, dog$"):
        read_folder(tmp_path)
    (problem,) = inspect_data("folder", tmp_path).problems
    assert problem.kind == "splits as classes" and problem.detail.endswith("cat, dog")


@pytest.mark.parametrize(
    "names",
    [
        ["one/cat", "one/dog", "one/owl", "two/cat", "two/dog", "two/emu"],
        ["train_set/cat", "train_set/dog", "evaluation/emu"],
        ["mine", "Validation-1/emu", "Validation-1/owl"],
    ],
)
def test_folders_like_splits_are_not_taken_for_classes(names, tmp_path):
    save_classes(tmp_path, dict.fromkeys(names, 2))
    with pytest.raises(ValueError, match="rename splits to train"):
        read_folder(tmp_path)


@warns
def test_notes_have_no_escape_sequences_and_name_paths_out_of_the_folder(tmp_path):
    folder, escape = tmp_path / "all", "\x1b]0;owned\x07"
    save_classes(folder, {"cat": 4, "dog": 4})
    save(tmp_path / "up.png", seed=90)
    save(tmp_path / "there" / "in.png", seed=91)
    (folder / "link.png").symlink_to(tmp_path / "up.png")
    (folder / "there").symlink_to(tmp_path / "there")
    own = [(f"{name}/{i:03}.png", name) for name in ("cat", "dog") for i in range(4)]
    out = [("../up.png", "cat"), ("link.png", "cat"), ("there/in.png", "dog")]
    path = write_csv(folder / "x.csv", [*own, *out[:1], *out[2:]])
    with pytest.warns(DataWarning, match="of the folder are followed: ../up.*, there/"):
        read_csv(path)
    path = write_csv(folder / "x.csv", [*own, *out[1:]])
    with pytest.warns(DataWarning, match="are followed: link.png, there/in.png.$"):
        read_csv(path)
    shutil.rmtree(folder)
    classes = {
        f"{split}/{name}": 4 for split in ("train", "test") for name in ("cat", "dog")
    }
    save_classes(folder, classes | {f"new{escape}": 1})
    (folder / "train" / "cat" / f"{escape}.png").write_text("no image")
    (folder / "train" / "cat" / f"x.{escape}").touch()
    with pytest.warns(DataWarning) as caught:
        notes = load("folder", folder).notes
    said = "".join([*notes, *(str(each.message) for each in caught)])
    assert said.count("owned") == 6 and not {"\x1b", "\x07"} & {*said}


def test_classes_may_hold_folders(tmp_path):
    some = {f"{name}/{part}": 2 for name in ("bus", "car") for part in ("day", "night")}
    # Inside a folder named train, folders of the same names are classes.
    data = read_folder(save_classes(tmp_path / "x", {f"train/{k}": 2 for k in some}))
    assert data.class_names == ("bus", "car")
    # One folder of the same name, other names, images beside them: no splits.
    for more in ({"bus/day": 2, "car/day": 2}, {"bus/1": 1, "bus/2": 1, "car/3": 2}):
        read_folder(save_classes(tmp_path / str(len(more)), more))
    save_classes(tmp_path / "y", some)
    for name in ("bus", "car"):
        save(tmp_path / "y" / name / "own.png", seed=len(name) + ord(name[0]))
    assert read_folder(tmp_path / "y").class_names == ("bus", "car")


@warns
def test_an_image_in_two_classes_is_left_out_of_both(photos, tmp_path):
    shutil.copy(photos / "cat" / "000.png", photos / "dog" / "copy.png")
    with pytest.warns(DataWarning, match="^Left out: 2 files: cat/000.png .same bytes"):
        data = read_folder(photos)
    assert data.class_counts.tolist() == [7, 4, 1]
    images = [*data.train_images.paths, *data.test_images.paths]
    assert len(images) == 16 and str(photos / "cat" / "000.png") not in images
    with pytest.raises(ValueError, match=r"of one class. Received: .*copy.png \(same"):
        read_folder(photos, ReadOptions(strict=True))
    # A row of a CSV file for each class.
    path = photos / "cat" / "001.png"
    rows = [(p, p.parent.name) for p in sorted(photos.glob("[cd]*/00[1-4].png"))]
    with pytest.warns(DataWarning, match="^Left out: 2 files: .*: cat and dog"):
        read_csv(write_csv(tmp_path / "x.csv", [*rows, (path, "dog")]))


@warns
def test_images_of_arrays_in_two_classes_are_reported(tmp_path):
    images = noise(8, 4, 4)
    images[5] = images[0]
    path = archive(tmp_path / "x.npz", images=images, labels=[0, 1] * 4)
    with pytest.warns(
        DataWarning, match=r"two classes: 2 images: train\[0\] .same pix"
    ):
        data = read_npz(path)
    assert len(data.train_labels) + len(data.test_labels) == 8
    with pytest.raises(ValueError, match=r"of one class. Received: train\[0\]"):
        read_npz(path, ReadOptions(strict=True))


def test_what_is_wrong_with_all_files_is_said(tmp_path):
    photos = tmp_path / "photos"
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        (photos / name / "1.tif").write_text("an image")
    with pytest.raises(
        ValueError, match=r"\.png, .*suffixes: .tif 2. Received: .*'dog'$"
    ):
        read_folder(photos)
    path = write_csv(tmp_path / "x.csv", [("a.png", "cat"), ("b.png", "dog")])
    message = r"2 files: a.png \(No such file.*Received: 2 files of .* of cat, dog$"
    with pytest.raises(ValueError, match=message):
        read_csv(path)


@warns
def test_a_pipe_among_the_images_does_not_hang(photos):
    os.mkfifo(photos / "cat" / "x.png")
    assert data_digest("folder", photos)
    with pytest.warns(DataWarning, match="1 file: cat/x.png .it is not a regular file"):
        read_folder(photos)
    with pytest.raises(ImageFileError, match="not a regular file.*x.png$"):
        read_folder(photos, ReadOptions(verify=False))


# CSV files


def test_a_csv_file(photos, tmp_path):
    rows = [
        (f"photos/{path.parent.name}/{path.name}", path.parent.name)
        for path in sorted(photos.rglob("*.png"), key=lambda path: (path.name, path))
    ]
    rows[0] = (str(photos / "cat" / "000.png"), "cat")
    path = write_csv(tmp_path / "all.csv", rows)
    data = read_csv(path)
    assert data.class_names == ("cat", "dog", "fox") and data.info.name == "csv"
    assert data.class_counts.tolist() == [8, 4, 1]
    # In the order of the rows, on both sides.
    order = [name.removeprefix("photos/") for name, _ in rows[1:]]
    for images in (data.train_images, data.test_images):
        names = [name for name in names_of(images) if name != "cat/000.png"]
        assert names == [name for name in order if name in names]
    assert contents(read_csv(tmp_path)) == contents(data)


@warns
def test_splits_of_a_csv_file(tmp_path):
    splits = ["train", "Train", "test", "val", "training", "testing"]
    for number in range(6):
        save(tmp_path / f"{number}.png", seed=number)
    rows = [(i % 2, f"{i}.png", split, "?") for i, split in enumerate(splits)]
    header = (" Label", "PATH", "split ", "more")
    with pytest.warns(DataWarning, match="^The 1 images of the split val are not used"):
        data = read_csv(write_csv(tmp_path / "all.csv", rows, header))
    assert data.train_labels.tolist() == [0, 1, 0]
    assert data.test_labels.tolist() == [0, 1]
    # Where there is no test, val is the test set.
    rows = [row for row in rows if not row[2].startswith("test")]
    with pytest.warns(DataWarning, match="No test image of 0"):
        data = read_csv(write_csv(tmp_path / "all.csv", rows, header))
    assert data.test_labels.tolist() == [1]


@warns
def test_missing_images_are_reported_and_numbers_are_in_their_order(tmp_path):
    rows = [(f"{number}.png", number % 12) for number in range(25)]
    for number in range(24):
        save(tmp_path / f"{number}.png", seed=number)
    path = write_csv(tmp_path / "x.csv", [*rows, ("a\0b.png", 0)])
    with pytest.warns(DataWarning, match="2 files: 24.png .No such file.*null"):
        data = read_csv(path)
    assert data.class_names == tuple(map(str, range(12)))
    assert data.class_counts.tolist() == [1] * 12


@pytest.mark.parametrize(
    "text, message",
    [
        ("", r"first row, path and label.*with \[\]$"),
        ("a.png,cat\n", r"first row, path and label.*with \['a.png', 'cat'\]$"),
        ("path,label\n", "two classes.*with none$"),
        ("path,label\na.png,cat\n", "two classes.*with 'cat'$"),
        (
            "path,label\na.png,cat\nb.png\n",
            "a path and a label.*line 3 of.*'b.png', 'label': ''}$",
        ),
        ("path,label\n,cat\n", "a path and a label.*line 2 of .*'path': ''.*}$"),
        ("path,label,split\na,b,tset\n", "train, test or val.*line 2 .*'tset'"),
        ("path,label,split\na,b,test\nc,d,test\n", "the split train.*with test$"),
        ("path,label,split\na,b,test\nc,d,\n", "of all images or of none.*without$"),
        ('path,label\n"a', "CSV file in UTF-8 .*x.csv$"),
        (b"path,label\n\xff\xfe,b\n", "CSV file in UTF-8 .*x.csv$"),
    ],
)
def test_csv_files_that_are_no_data_set(tmp_path, text, message):
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "x.csv")


@pytest.mark.parametrize("read, suffix", [(read_csv, ".csv"), (read_npz, ".npz")])
def test_files_that_are_not_there(tmp_path, read, suffix):
    with pytest.raises(ValueError, match=f"a {suffix} file, or a folder.*with 0$"):
        read(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}{suffix}").write_text("")
    with pytest.raises(ValueError, match=f"a {suffix} file, or a folder.*with 2$"):
        read(tmp_path)
    with pytest.raises(ValueError, match=f"a {suffix} file, .*none{suffix}'$"):
        read(tmp_path / f"none{suffix}")


# Archives


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


def noise(number, *shape):
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (number, *shape), dtype=np.uint8)


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("train_images", "train_labels", "val_images", "val_labels"),
    ],
)
def test_an_archive_with_a_split(tmp_path, names):
    train, test = noise(6, 8, 8, 3), noise(4, 8, 8, 3)
    values = (train, np.arange(6)[:, None] % 3, test, np.arange(4, dtype=np.int8) % 3)
    path = archive(tmp_path / "x.npz", **dict(zip(names, values, strict=True)))
    data = read_npz(path)
    assert (data.train_images == train).all() and (data.test_images == test).all()
    assert data.train_labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.test_labels.tolist() == [0, 1, 2, 0]
    assert data.class_names == ("0", "1", "2") and data.info.name == "npz"
    assert contents(read_npz(tmp_path)) == contents(data)


def test_an_archive_without_a_split(tmp_path):
    images = noise(20, 8, 6)
    images[10] = images[0]
    labels = np.array(["b", "a"] * 10)
    data = read_npz(archive(tmp_path / "x.npz", images=images, labels=labels))
    assert data.info.image_shape == (8, 6, 1) and data.class_names == ("a", "b")
    assert np.bincount(data.test_labels).tolist() == [2, 2]
    sides = [{i.tobytes() for i in x} for x in (data.train_images, data.test_images)]
    assert len(sides[0]) + len(sides[1]) == 19 and not sides[0] & sides[1]


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    arrays = dict(images=np.zeros((100, 8, 8), np.uint8), labels=np.arange(100) % 2)
    arrays["images"][:, 0] = noise(100, 8)
    size = 100 * 8 * 8 + 100 * 8
    monkeypatch.setattr("mm_tf._files.MOST_BYTES_OF_ARRAYS", size)
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    small = ReadOptions(memory_limit=0)
    with pytest.raises(ValueError, match="`data_dir`.*arrays have 7,.*Received"):
        read_npz(tmp_path / "x.npz", small)
    assert len(read_npz(tmp_path / "x.npz").class_names) == 2
    # Not compressed, arrays have the size of their file.
    read_npz(archive(tmp_path / "x.npz", **arrays), small)


def test_labels_and_names_of_an_archive(tmp_path):
    split = dict(x_train=noise(6, 4, 4), x_test=noise(3, 4, 4))
    split |= dict(y_train=[10, 9, -1] * 2, y_test=[-1, 10, 9])
    data = read_npz(archive(tmp_path / "x.npz", **split))
    assert data.class_names == ("-1", "9", "10")
    assert data.train_labels.tolist() == [2, 1, 0] * 2
    split |= dict(y_train=[0, 1, 2] * 2, y_test=[2, 0, 1], class_names=["z", "y", "x"])
    data = read_npz(archive(tmp_path / "x.npz", **split))
    assert data.class_names == ("z", "y", "x")
    assert data.test_labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"images": np.zeros((6, 4, 4))}, r"uint8 .*float64 of shape \(6, 4, 4, 1\)$"),
        ({"images": np.zeros((6, 4), np.uint8)}, r"uint8 .*of shape \(6, 4\)$"),
        ({"images": np.zeros((6, 4, 4, 4), np.uint8)}, r"1 or 3.*\(6, 4, 4, 4\)$"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, r"There must be images.*\(0, 4"),
        ({"images": np.zeros((7, 4, 4), np.uint8)}, r"of 7 images.*shape \(6,\)$"),
        ({"labels": np.arange(6) / 2}, "integers or strings.*float64 of shape"),
        ({"labels": np.array([{}] * 6)}, "plain arrays .*Python objects.*x.npz$"),
        ({"labels": np.zeros(6, int)}, "at least two classes.*'0',"),
        ({"class_names": ["a"]}, "from 0 to 0.*with 0, 1$"),
        ({"images": None}, "must hold the arrays x_train.*with labels$"),
    ],
)
def test_archives_that_are_no_data_set(tmp_path, changed, message):
    arrays = {"images": noise(6, 4, 4), "labels": np.arange(6) % 2, **changed}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        read_npz(archive(tmp_path / "x.npz", **arrays))


def test_files_that_are_no_archive(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    path = archive(tmp_path / "x.npz", images=noise(99, 9, 9), labels=np.arange(99) % 2)
    contents = [b"", b"PK\x03\x04rubbish", b"rubbish", path.read_bytes()[:5000]]
    for content in [*contents, (tmp_path / "x.npy").read_bytes()]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match="must be an .npz archive.*x.npz$"):
            read_npz(path)


def test_an_archive_keeps_its_size(tmp_path):
    path = archive(tmp_path / "x.npz", images=noise(6, 4, 4), labels=np.arange(6) % 2)
    read_npz(path, ReadOptions(image_size=4, channels=1))
    with pytest.raises(ValueError, match=r"`image_size`.*\(4, 4\).*=\(8, 8\)$"):
        read_npz(path, ReadOptions(image_size=8))
    with pytest.raises(ValueError, match="`channels` must be None or 1.*channels=3$"):
        read_npz(path, ReadOptions(channels=3))


# TensorFlow Datasets


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """Prepared data sets: without a test set, with a secret one, without classes."""
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds")
    kinds = tfds.features.ClassLabel(names=["no", "yes"])
    several = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
    one_size = tfds.features.Image(shape=(5, 6, 3), encoding_format="png")
    sizes = [pixels(i, 10 + i, 20 - i) for i in range(10)]
    splits = {"train": (sizes, [0, 1] * 5)}
    store_in_tfds(folder, "sizes", splits, picture=several, kind=kinds)
    same = [pixels(i, 6, 5) for i in range(9)]
    splits = {
        "train": (same[:4], [1, 0, 1, 0]),
        "test": (same[4:6], [-1, -1]),
        "validation": (same[6:], [0, 0, 1]),
    }
    store_in_tfds(folder, "secret", splits, picture=one_size, kind=kinds)
    splits, number = {"train": (same, [0] * 9)}, tfds.features.Scalar(np.int64)
    store_in_tfds(folder, "plain", splits, picture=one_size, kind=number)
    return folder


def test_tfds_of_several_sizes(tfds_dir):
    data = load("tfds:sizes", tfds_dir)
    assert data.train_images.shape == (8, 32, 32, 3) and data.info.name == "tfds:sizes"
    assert np.bincount(data.test_labels).tolist() == [1, 1]
    assert data.class_names == ("no", "yes")
    small = read_tfds("sizes", tfds_dir, ReadOptions(image_size=8, channels=1))
    assert small.train_images.shape == (8, 8, 8, 1)
    again = read_tfds("sizes:1.0.0", tfds_dir, ReadOptions(num_threads=1))
    assert (again.train_images == data.train_images).all()


def test_tfds_with_a_secret_test_set(tfds_dir):
    data = load("tfds:secret", tfds_dir)
    assert data.info.image_shape == (5, 6, 3)
    assert data.test_labels.tolist() == [0, 0, 1]
    assert {i.tobytes() for i in data.train_images} == {
        pixels(i, 6, 5).tobytes() for i in range(4)
    }


def test_tfds_that_cannot_be_used(tfds_dir, tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise socket.gaierror("no network in this test")

    with pytest.raises(
        ValueError, match="one image with one class.*with kind, picture$"
    ):
        read_tfds("plain", tfds_dir)
    with pytest.raises(ValueError, match="`memory_limit`.* 630 for the 7.*limit=629$"):
        read_tfds("secret", tfds_dir, ReadOptions(memory_limit=629))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(DatasetUnavailableError, match="no_such_name.*cannot be read"):
        load("tfds:no_such_name", tmp_path)
    with pytest.raises(ValueError, match="`data_dir` must be an existing folder"):
        load("tfds:secret", tmp_path / "none")


@pytest.mark.usefixtures("cifar_dir")
@pytest.mark.long
def test_tfds_is_cifar():
    expected, data = load("cifar10"), load("tfds:cifar10")
    assert (data.train_images == expected.train_images).all()
    assert (data.test_labels == expected.test_labels).all()


# The one door


def test_load_reads_all_of_them(photos, tmp_path):
    rows = [(str(path), path.parent.name) for path in sorted(photos.rglob("*.png"))]
    table = write_csv(tmp_path / "x.csv", rows)
    options = ReadOptions(image_size=(10, 12))
    folder = load("folder", str(photos), options)
    of_table = load("csv", table, options)
    images = folder.train_images[:]
    assert (of_table.train_images[:] == images).all()
    train = dict(x_train=images, y_train=folder.train_labels)
    test = dict(x_test=folder.test_images[:], y_test=folder.test_labels)
    arrays = load("npz", archive(tmp_path / "x.npz", **train, **test))
    assert (arrays.train_images == images).all()
    assert (arrays.test_labels == folder.test_labels).all()


def test_imbalanced_subsets_stay_in_their_files(photos):
    data = read_folder(photos, ReadOptions(image_size=8))
    subset = imbalanced(data, [4, 2, 1], seed=0)
    assert isinstance(subset.train_images, ImageFiles)
    assert subset.class_counts.tolist() == [4, 2, 1]
    assert set(subset.train_images.paths) < set(data.train_images.paths)
