"""Images in folders, one for each class."""

import itertools
import os
import unicodedata

from mm_tf._checks import nearest
from mm_tf._text import printable
from mm_tf.data._checks import check_path
from mm_tf.data.custom.assembly import from_listing
from mm_tf.data.custom.listing import (
    LINK,
    NO_CLASS,
    SPLITS,
    SPLITS_AS_CLASSES,
    Entry,
    Listing,
    Problem,
    class_order,
    files_below,
    first_few,
    is_image_name,
    leads_out,
    notes_on,
    sort_key,
    visible,
)
from mm_tf.data.custom.options import ReadOptions, check_options
from mm_tf.data.dataset import ImageData
from mm_tf.data.images.decoding import SUFFIXES

# How the names of folders begin that are splits, if they hold only folders.
_SPLIT = ("train", "test", "val")


def read_folder(
    data_dir: str | os.PathLike[str], options: ReadOptions | None = None
) -> ImageData:
    """Reads a folder that has a folder of images for each class.

    Which folders and files count, and in which order they come: see `list_folder`.
    Where there is no folder with test images, they are taken from the training images,
    as `mm_tf.data.splits.stratified_split` says; files of the same bytes never part.

    The mean and the deviation of the channels are measured on up to 1,000 training
    images, evenly spread over all of them.

    Args:
        data_dir: The folder; `~` is expanded.
        options: How to read. Defaults to `None`, the defaults of `ReadOptions`.

    Returns:
        An `ImageData` whose images are `ImageFiles`.

    Raises:
        ValueError: If the folder is not as described, if a class has no image that
            can be used, or, with `strict`, if a file cannot be. Two folders without
            images of their own that hold the same folders are taken for splits, and
            refused; inside `train` they are classes.

    Example:

    >>> import os, tempfile
    >>> from PIL import Image
    >>> from mm_tf.data import ReadOptions, read_folder
    >>> folder = tempfile.mkdtemp()
    >>> for name, color in (("cat", 0), ("dog", 99)):
    ...     os.mkdir(os.path.join(folder, name))
    ...     for i in range(5):
    ...         path = os.path.join(folder, name, f"{i}.png")
    ...         Image.new("RGB", (40, 30), (color + i, 0, 0)).save(path)
    >>> data = read_folder(folder, ReadOptions(image_size=16))
    >>> data.class_names, data.train_images.shape, data.test_images.shape
    (('cat', 'dog'), (8, 16, 16, 3), (2, 16, 16, 3))
    """
    options = check_options(options)
    return from_listing("folder", data_dir, list_folder(data_dir), options)


def list_folder(data_dir: str | os.PathLike[str]) -> Listing:
    """Lists the images of a folder that has a folder for each class.

    A class's images may lie in folders inside its own. `data_dir` holds either the
    classes, or `train` and beside it `test` or `val` (or the longer names) with the
    classes in them; where there are both, `val` is not used. Classes are in the order
    of their names, or of their numbers where all of them are whole numbers. The images
    of a class are in the order of their names.

    Names that begin with a dot, `__MACOSX`, `Thumbs.db` and `desktop.ini` are passed
    over without a word. Links are followed, and those that lead out of `data_dir` are
    listed. No folder is entered twice for one class, so that links in a circle end.
    """
    root = os.path.abspath(check_path("data_dir", data_dir))
    if not os.path.isdir(root):
        raise ValueError(
            "`data_dir` must be an existing folder, with a folder of images for each "
            f"class. Received: data_dir={os.fspath(data_dir)!r}"
        )
    try:
        return _list_folder(root)
    except OSError as error:
        raise ValueError(
            f"`data_dir` must be a folder that can be read ({error.strerror}). "
            f"Received: data_dir={os.fspath(data_dir)!r}"
        ) from None


def _list_folder(root: str) -> Listing:
    splits, notes = _split_folders(root)
    entries: list[Entry] = []
    problems: list[Problem] = []
    classes: dict[str | None, set[str]] = {split: set() for split in splits}
    for split, folder in splits.items():
        if leads_out(root, folder):
            problems.append(Problem.of_kind(LINK, folder))
        for name in visible(root, folder):
            path = os.path.join(folder, name)
            if not os.path.isdir(os.path.join(root, path)):
                if is_image_name(name):
                    problems.append(Problem.of_kind(NO_CLASS, path))
                continue
            # One letter with an accent can be written in two ways, and macOS
            # changes one into the other.
            label = unicodedata.normalize("NFC", name)
            classes[split].add(label)
            for kind, file in files_below(root, path, above=("", folder)):
                if kind is None:
                    entries.append(Entry(file, label, split))
                else:
                    problems.append(Problem.of_kind(kind, file))
    _check_classes(root, classes, entries, problems)
    if splits == {None: ""}:
        problems += _same_folders(entries)
    entries.sort(key=lambda entry: (entry.label, sort_key(entry.name)))
    names = class_order(set().union(*classes.values()))
    return Listing(root, tuple(entries), names, tuple(problems), (*notes,))


def check_outside(
    argument: str, place: str | os.PathLike[str], data_dir: str | os.PathLike[str]
) -> None:
    """Refuses a place to write in where it would become a class."""
    root = os.path.realpath(check_path("data_dir", data_dir))
    inside = os.path.realpath(check_path(argument, place))
    first = os.path.relpath(inside, root).split(os.sep)[0]
    # Names that begin with a dot are passed over; `.` is the root, `..` outside it.
    if first.startswith("."):
        return
    try:
        splits, _ = _split_folders(root)
    except OSError:
        return  # Reported when it is listed.
    # Beside train and test, other folders are not used.
    if len(splits) < 2 or first.casefold() in SPLITS:
        raise ValueError(
            f"`{argument}` must not lie inside `data_dir`, where it would be taken for "
            f"a class. Received: {argument}={os.fspath(place)!r} with "
            f"data_dir={os.fspath(data_dir)!r}"
        )


def _split_folders(root: str) -> tuple[dict[str | None, str], list[str]]:
    """The folders that the classes are in, by split, and notes on other folders."""
    folders = [
        name for name in visible(root, "") if os.path.isdir(os.path.join(root, name))
    ]
    found: dict[str, str] = {}
    for name in folders:
        split = SPLITS.get(name.casefold(), "")
        inside = visible(root, name) if split else []
        if any(os.path.isdir(os.path.join(root, name, each)) for each in inside):
            if split in found:
                raise ValueError(
                    f"`data_dir` must have one folder for {split}. Received: "
                    f"data_dir={root!r} with {found[split]!r} and {name!r}"
                )
            found[split] = name
    if found and len(found) == len(folders) and "train" not in found:
        raise ValueError(
            "`data_dir` must have the folder train beside test or val. Received: "
            f"data_dir={root!r} with {', '.join(sorted(found.values()))}"
        )
    # A class may be called train: then other classes are beside it.
    are_splits = all(name.casefold() in SPLITS for name in folders)
    if "train" not in found or (len(found) == 1 and not are_splits):
        return {None: ""}, []
    notes = []
    unused = sorted(set(folders) - set(found.values()))
    if len(found) == 3:
        unused.append(found.pop("val"))
    if unused:
        names = ", ".join(f"{name}/" for name in unused)
        notes.append(f"Not used: {printable(names)}.")
    if len(found) == 1:
        return {None: found["train"]}, notes
    test = found.get("test") or found["val"]
    return {"train": found["train"], "test": test}, notes


def _check_classes(
    root: str,
    classes: dict[str | None, set[str]],
    entries: list[Entry],
    problems: list[Problem],
) -> None:
    received = f"Received: data_dir={root!r}"
    train, test = next(iter(classes.values())), classes.get("test", set())
    if len(train) < 2:
        raise ValueError(
            "`data_dir` must have a folder of images for each of at least two classes. "
            f"{received} with {', '.join(map(repr, train)) or 'no folder'}"
        )
    unknown = sorted(test - train)
    if unknown:
        hint = nearest(unknown[0], train) if len(unknown) == 1 else ""
        raise ValueError(
            "The classes of the test images must be among those of the training "
            f"images.{hint} {received}, with only test images of "
            f"{', '.join(map(repr, unknown))}"
        )
    with_images = {entry.label for entry in entries if entry.split != "test"}
    empty = sorted(train - with_images)
    if empty:
        raise ValueError(
            f"Every class must have an image ({', '.join(SUFFIXES)}). "
            f"{' '.join([*notes_on(problems), received])} with none in "
            f"{', '.join(map(repr, empty))}"
        )


def _same_folders(entries: list[Entry]) -> list[Problem]:
    """Classes that hold no images but folders, of the same names or as a split."""
    inside: dict[str, set[str]] = {}
    for entry in entries:
        name, first, *rest = entry.name.split(os.sep)
        inside.setdefault(name, set()).add(first if rest else "")
    holders = [name for name, found in inside.items() if len(found - {""}) > 1]
    for one, other in itertools.combinations(sorted(holders), 2):
        common = inside[one] & inside[other]
        is_most = 2 * len(common) >= len(inside[one] | inside[other])
        if (is_most or common in (inside[one], inside[other])) and "" not in common:
            named = first_few(sorted(common))
            return [
                Problem(SPLITS_AS_CLASSES, other, f"same folders as {one}: {named}")
            ]
    return [
        Problem(SPLITS_AS_CLASSES, name, f"only folders: {first_few(sorted(found))}")
        for name, found in inside.items()
        if name in holders and "" not in found and name.casefold().startswith(_SPLIT)
    ]
