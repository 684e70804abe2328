"""The images that the runs of a report were evaluated on."""

import pathlib

import pytest
from made_up_images import save_classes
from made_up_runs import make_data, make_run
from page_parsing import Page

from mm_tf.data.loading import data_digest
from mm_tf.experiments import report

pytestmark = pytest.mark.usefixtures("coarse_pictures")


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
    (run / "flags.txt").unlink()
    page = Page(report.write_report([run], data_dir=run / "none"))
    assert "Without test images: give --data_dir, " in page.text
    assert "`data_dir` must be an existing folder" in page.text


def test_a_hold_out_is_not_known_without_flags(run):
    make_run(run, evaluated_on="holdout")
    (run / "flags.txt").unlink()
    page = Page(report.write_report([run]))
    assert "Without hold-out images: Without its flags" in page.text


def told(arguments, capsys):
    """What a command says besides where the page is, which says it too."""
    report.main(arguments)
    out, err = capsys.readouterr()
    path = out.removeprefix("Written: ").rstrip("\n")
    reason = err.removeprefix("mm_tf: The page shows no test images: ").rstrip("\n")
    assert "\n" not in reason
    shown = Page(pathlib.Path(path)).text
    assert ("Without test images" in shown) == bool(err)
    assert reason in shown
    return reason


def test_photos_that_moved_or_changed_are_told(run, tmp_path, capsys):
    make_run(run)
    photos, moved = tmp_path / "photos", tmp_path / "moved"
    for part, size in {"train": 1, "test": 10}.items():
        save_classes(photos / part, dict.fromkeys(["cat", "dog", "eel"], size))
    flags = {
        "dataset": "folder",
        "data_dir": photos,
        "data_digest": data_digest("folder", photos),
    }
    lines = [f"--{name}={value}" for name, value in flags.items()]
    (run / "flags.txt").write_text("\n".join(lines))
    assert not told([str(run)], capsys)
    photos.rename(moved)
    reason = told([str(run)], capsys)
    assert reason.startswith("give --data_dir, where those of the run are now. ")
    assert reason.endswith(f"Received: data_dir='{photos}'")
    assert not told([str(run), f"--data_dir={moved}"], capsys)
    (moved / "test" / "cat" / "000.png").unlink()
    reason = told([str(run), f"--data_dir={moved}"], capsys)
    assert reason.startswith("give --data_dir, where those of the run are now. ")
    assert "`data_digest`: the images are not those of the run" in reason
