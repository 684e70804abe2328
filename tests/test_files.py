"""Files that are whole or not there, and files of strangers."""

import errno
import io
import json
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_tf import _files

ARRAYS = {"kernel": np.arange(6.0).reshape(2, 3), "steps": np.array(7)}


def packed(arrays, **arguments):
    buffer = io.BytesIO()
    np.savez(buffer, **arguments, **arrays)
    return buffer.getvalue()


def test_what_stands_there_stays_if_writing_fails(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("old")
    with pytest.raises(OSError), _files.whole_file(path) as unfinished:
        unfinished.write_text("half of the n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]
    _files.write_text(path, "new")
    assert path.read_text() == "new"


def test_a_folder_that_can_neither_be_replaced_nor_put_back_is_named(
    tmp_path, monkeypatch
):
    path, replace, so_far = tmp_path / "report", os.replace, iter(range(9))
    path.mkdir()
    (path / "page").write_text("old")

    def fail_from_the_second(*names):
        if next(so_far):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(*names)

    monkeypatch.setattr(os, "replace", fail_from_the_second)
    with pytest.raises(_files.WriteError) as failed, _files.whole_folder(path) as new:
        (new / "page").write_text("new")
    place = failed.value.strerror.partition("; what stood there is now ")[2]
    assert (pathlib.Path(place) / "page").read_text() == "old"
    assert [str(each) for each in tmp_path.iterdir()] == [place]


def test_what_a_killed_process_left_is_removed_by_name(tmp_path):
    left = [".7.incomplete.a.csv", ".8.incomplete.a.csv", ".7.incomplete.b.csv"]
    mine = ["a.csv", ".incomplete", ".my.incomplete.a.csv"]
    for name in [*left, *mine]:
        (tmp_path / name).write_text("half")
    _files.remove_unfinished(tmp_path, "a.csv")
    assert {path.name for path in tmp_path.iterdir()} == {
        ".7.incomplete.b.csv",
        *mine,
    }
    _files.remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*mine}


def test_json_keeps_letters_and_escapes_what_is_no_unicode(tmp_path):
    facts = {"Möwe": ["雀", os.fsdecode(b"\xff.png")]}
    text = _files.json_text(facts)
    assert text == '{"Möwe": ["雀", "\\udcff.png"]}\n'
    _files.write_text(tmp_path / "facts.json", text)
    assert json.loads((tmp_path / "facts.json").read_text("utf-8")) == facts


def test_arrays_come_back_as_they_were(tmp_path):
    _files.write_arrays(tmp_path / "a.npz", ARRAYS)
    there = _files.read_arrays(tmp_path / "a.npz")
    assert there.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(there[name], array)
        assert there[name].dtype == array.dtype


class Executed:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.npz"
    path.write_bytes(packed({"x": np.array([Executed()], dtype=object)}))
    with pytest.raises(ValueError, match="holds Python objects"):
        _files.read_arrays(path)
    path.write_bytes(pickle.dumps(Executed()))
    with pytest.raises(ValueError, match="cannot be read as arrays"):
        _files.read_arrays(path)
    assert not (tmp_path / "executed").exists()


def test_a_header_that_lies_about_its_size_takes_no_memory(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
    )
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"few")
    with pytest.raises(ValueError, match="3 bytes where its header says"):
        _files.read_arrays(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(10**6))
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match="8,000,1.. bytes"):
        _files.read_arrays(path, most_bytes=10**6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(place=st.integers(min_value=0), change=st.integers(1, 255))
def test_a_changed_byte_is_found_or_changes_nothing(tmp_path_factory, place, change):
    folder = tmp_path_factory.mktemp("changed")
    data = bytearray(packed(ARRAYS))
    data[place % len(data)] ^= change
    (folder / "a.npz").write_bytes(data)
    try:
        there = _files.read_arrays(folder / "a.npz")
    except ValueError:
        return
    assert there.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(there[name], array)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(length=st.integers(min_value=0))
def test_a_file_that_was_cut_is_found(tmp_path_factory, length):
    folder = tmp_path_factory.mktemp("cut")
    data = packed(ARRAYS)
    (folder / "a.npz").write_bytes(data[: length % len(data)])
    with pytest.raises(ValueError, match="cannot be read as arrays"):
        _files.read_arrays(folder / "a.npz")
