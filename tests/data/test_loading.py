"""Tests of `mm_tf.data.dataset` and `mm_tf.data.loading`."""

import hashlib
import socket
import sys

import numpy as np
import pytest
from helpers import environment, python

import mm_tf.data
from mm_tf.data import (
    DATASETS,
    DatasetUnavailableError,
    imbalanced,
    load,
    loading,
    prepared,
    subsample,
)


def test_public_names_are_there():
    missing = [n for n in mm_tf.data.__all__ if not hasattr(mm_tf.data, n)]
    assert missing == [] and set(mm_tf.data.__all__) <= set(dir(mm_tf.data))
    with pytest.raises(AttributeError, match="no_such_name"):
        mm_tf.data.no_such_name  # noqa: B018


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    pytest.importorskip("sklearn")
    # They need no `data_dir`.
    return load("digits", tmp_path_factory.getbasetemp() / "missing")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def digest(*arrays):
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]


def test_digits_never_change_and_are_as_their_row_says(digits):
    info = digits.info
    assert digits.train_images.shape == (1297, *info.image_shape)
    assert digits.test_images.shape == (500, *info.image_shape)
    assert np.bincount(digits.test_labels).tolist() == [50] * 10
    assert np.bincount(digits.train_labels).min() == info.images_per_class
    assert digits.class_names == tuple("0123456789")
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 255)
    pixels = digits.train_images / 255
    assert pixels.mean() == pytest.approx(info.mean[0], abs=5e-5)
    assert pixels.std() == pytest.approx(info.std[0], abs=5e-5)
    assert digest(digits.train_images, digits.train_labels) == "d55a38cb977fdf1b"
    assert digest(digits.test_images, digits.test_labels) == "7a600cda01ff305e"


def test_splits_are_in_one_order_however_they_are_stored(monkeypatch, digits):
    read = loading._read_digits

    def shuffled(info):
        (train, test), names = read(info)
        mixed = np.random.default_rng(0).permutation(len(train[1]))
        return ((train[0][mixed], train[1][mixed]), test), names

    monkeypatch.setattr(loading, "_read_digits", shuffled)
    again = load("digits")
    assert (again.train_images == digits.train_images).all()
    assert (again.train_labels == digits.train_labels).all()


def test_imbalanced_draws_only_training_images(digits):
    counts = np.arange(10, 0, -1)
    subset = imbalanced(digits, counts, seed=0)
    drawn = subsample(digits.train_labels, counts, seed=0)
    assert (subset.train_images == digits.train_images[drawn]).all()
    assert np.bincount(subset.train_labels).tolist() == counts.tolist()
    assert subset.test_images is digits.test_images


def test_data_dir_may_start_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "there").mkdir()
    assert prepared.expand("~/there") == str(tmp_path / "there")
    assert prepared.expand("gs://bucket/there") == "gs://bucket/there"


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("cifar10", "https://www.cs.toronto.edu"),
        ("cifar100", "https://www.cs.toronto.edu"),
        ("tfds:mnist", "https://storage.googleapis.com"),
    ],
)
def test_missing_data_set_is_one_clear_message(
    no_network, tmp_path, capfd, name, host, monkeypatch
):
    tfds = pytest.importorskip("tensorflow_datasets")
    # It retries for minutes.
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", None)
    with pytest.raises(DatasetUnavailableError) as caught:
        load(name, data_dir=tmp_path)
    message, name = str(caught.value), name.removeprefix("tfds:")
    assert "\n" not in message
    for part in (
        f"data set {name} is not prepared and cannot be downloaded",
        f"Looked at: {tmp_path}",
        f"Reason: ConnectionError: {host} cannot be reached.",
        "--data_dir",
        "TFDS_DATA_DIR",
        f"tfds.load('{name}')",
        "digits",
    ):
        assert part in message
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_tfds_data_dir_is_looked_at_without_noise(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    # tfds reads the variable when it is imported, hence a new process.
    script = (
        "import socket\n"
        "def refuse(*a, **k): raise socket.gaierror()\n"
        "socket.getaddrinfo = refuse\n"
        "from mm_tf.data import load\n"
        "load('cifar10')\n"
    )
    done = python("-c", script, env=environment(TFDS_DATA_DIR=str(tmp_path)))
    assert done.stderr.startswith("Traceback")
    assert f"Looked at: {tmp_path}" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("info_text", ["{", "{}"])
def test_broken_folder_is_one_clear_message(no_network, tmp_path, info_text):
    pytest.importorskip("tensorflow_datasets")
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(info_text)
    with pytest.raises(DatasetUnavailableError, match=f"cifar10 .*{tmp_path}"):
        load("cifar10", data_dir=tmp_path)


def test_cut_off_files_are_one_clear_message(tmp_path, cifar_dir):
    (prepared,) = cifar_dir.glob("cifar10/3.*")
    folder = tmp_path / "cifar10" / prepared.name
    folder.mkdir(parents=True)
    for path in prepared.iterdir():
        with path.open("rb") as file:
            (folder / path.name).write_bytes(file.read(100_000))
    with pytest.raises(DatasetUnavailableError, match="cannot be read") as caught:
        load("cifar10", data_dir=tmp_path)
    assert "DataLossError: truncated record" in str(caught.value)


def test_incomplete_training_set_is_refused():
    info = DATASETS["digits"]
    complete = np.repeat(np.arange(10), 124)
    loading._check_complete(info, complete)
    with pytest.raises(ValueError, match="1239 training images instead of 1240"):
        loading._check_complete(info, complete[1:])


@pytest.mark.parametrize(
    "package, name, module",
    [
        ("scikit-learn", "digits", "sklearn.datasets"),
        ("tensorflow-datasets", "cifar10", "tensorflow_datasets"),
    ],
)
def test_missing_package_is_named(monkeypatch, package, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DatasetUnavailableError, match=f"`pip install {package}`"):
        load(name)


@pytest.mark.usefixtures("cifar_dir")
def test_cifar10():
    data = load("cifar10")
    assert data.train_images.shape == (50_000, 32, 32, 3)
    assert data.test_images.shape == (10_000, 32, 32, 3)
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    pixels = data.train_images[::10] / 255
    assert pixels.mean((0, 1, 2)) == pytest.approx(data.info.mean, abs=5e-3)
    assert digest(data.train_images, data.train_labels) == "949c0b4d951efccf"
    assert digest(data.test_images, data.test_labels) == "1c3d67ed25249724"
