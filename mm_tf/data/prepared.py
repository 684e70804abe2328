"""Data sets that TensorFlow Datasets prepares: where they are, and what goes wrong."""

import contextlib
import os
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any


class DatasetUnavailableError(RuntimeError):
    """A data set is neither prepared where it was looked for nor downloadable."""


def prepared_builder(
    name: str,
    data_dir: str | os.PathLike[str] | None,
    download: bool = True,
) -> Any:
    """The `tfds` builder of a prepared data set, after a download if needed.

    Without `download` it comes from the prepared files only: `tfds` would fetch and
    import the code of some data sets to look for them.
    """
    data_dir = expand(data_dir)
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise not_installed(name, "tensorflow-datasets") from None
    # Replaced by the very folder of the data set as soon as tfds has named it.
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    problem = "cannot be read"
    try:
        with _quiet_absl():
            if not download:
                from tensorflow_datasets.core import read_only_builder

                problem = "is not prepared, and only a run downloads one"
                return read_only_builder.builder_from_files(name, data_dir=data_dir)
            builder = tfds.builder(name, data_dir=data_dir)
            folder = str(builder.data_dir)
            if not builder.is_prepared():
                problem = "is not prepared and cannot be downloaded"
                _check_reachable(builder.url_infos)
                builder.download_and_prepare()
    except Exception as error:  # tfds fails in as many ways as there are files.
        raise _unavailable(name, problem, folder, error) from None
    return builder


@contextlib.contextmanager
def reading(name: str, builder: Any) -> Iterator[None]:
    """Reads a prepared data set on the CPU, and reports which one if that fails."""
    import keras
    import tensorflow as tf

    if keras.config.backend() != "tensorflow":
        # Too late, and no harm done, where TensorFlow has been used before.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    try:
        with _quiet_absl(), tf.device("CPU:0"):
            yield
    except Exception as error:
        folder = str(builder.data_dir)
        raise _unavailable(name, "cannot be read", folder, error) from None


def expand(data_dir: str | os.PathLike[str] | None) -> str | None:
    """The absolute path of a folder that exists; `None` and buckets as they are."""
    if data_dir is None:
        return None
    if not isinstance(data_dir, (str, os.PathLike)):
        raise ValueError(
            f"`data_dir` must be a path or None. Received: data_dir={data_dir!r}"
        )
    folder = os.path.expanduser(os.fspath(data_dir))
    if "://" in folder:  # A bucket, which tfds itself can read.
        return folder
    if not os.path.isdir(folder):
        raise ValueError(
            "`data_dir` must be an existing folder (create it to have a data set "
            f"downloaded there). Received: data_dir={os.fspath(data_dir)!r}"
        )
    return os.path.abspath(folder)


def not_installed(name: str, package: str) -> DatasetUnavailableError:
    """The error of a data set that needs a package that is not there."""
    return DatasetUnavailableError(
        f"The data set {name} needs {package}, which is not installed: "
        f"`pip install {package}`."
    )


def _check_reachable(urls: Iterable[str]) -> None:
    """Fails at once where the download would retry for minutes."""
    import requests

    parts = [urllib.parse.urlsplit(url) for url in urls]
    for host in dict.fromkeys(
        f"{part.scheme}://{part.netloc}" for part in parts if "http" in part.scheme
    ):
        try:
            requests.head(host, timeout=10)
        except requests.exceptions.SSLError:
            pass  # Reachable; its certificate is the download's affair.
        except requests.exceptions.RequestException:
            raise ConnectionError(f"{host} cannot be reached") from None


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Keeps warnings of tfds about folders that it looks at off the terminal."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _unavailable(
    name: str, problem: str, folder: str, error: Exception
) -> DatasetUnavailableError:
    # TensorFlow puts the names of graph nodes in front and behind.
    text = str(error).split("}} ")[-1].split(" [Op:")[0].strip()
    reason = text.partition("\n")[0][:160]
    return DatasetUnavailableError(
        f"The data set {name} {problem}. Looked at: {folder}. "
        f"Reason: {type(error).__name__}: {reason}. "
        "What helps: (1) give the folder in which it is prepared as data_dir "
        "(--data_dir, or the environment variable TFDS_DATA_DIR); (2) run "
        f"`python -c \"import tensorflow_datasets as tfds; tfds.load('{name}')\"` "
        f"once on a machine with a network, and copy ~/tensorflow_datasets/{name} "
        "from there into the data_dir here, in place of what may be left of an "
        "earlier attempt; (3) use the data set digits, which needs no download."
    )
