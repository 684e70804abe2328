"""What all tests share: two fixtures for data that is not in the repository.

`shared` is the folder beside the repository with golden values and CIFAR's
images; `cifar_dir` the folder where tfds keeps the prepared data sets. A test
that asks for one is skipped where it is missing, or fails with
`--require-shared`.
"""

import os
import pathlib

import pytest

from mm_tf.experiments.machine import environment

# Before anything imports TensorFlow, as every command does.
for _name, _value in environment.variables_for_tensorflow().items():
    os.environ.setdefault(_name, _value)

PROJECT = pathlib.Path(__file__).resolve().parent.parent
CIFAR = ("cifar10/3.0.2", "cifar100/3.0.2")


# These train, or start processes. First, so that no worker ends with a long file when
# the other has none.
LONGEST = ("experiments/searches", "experiments/runs", "experiments/machine")


def pytest_collection_modifyitems(items):
    longest = [PROJECT / "tests" / folder for folder in LONGEST]
    items.sort(key=lambda item: not any(map(item.path.is_relative_to, longest)))


def pytest_addoption(parser):
    parser.addoption(
        "--require-shared",
        action="store_true",
        help="fail, rather than skip, tests whose data is missing (../shared, CIFAR)",
    )


def _missing(config, what):
    if config.getoption("--require-shared"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def shared(pytestconfig):
    """The folder `../shared`, seen from the repository."""
    folder = PROJECT.parent / "shared"
    if not folder.is_dir():
        _missing(pytestconfig, f"there is no {folder}")
    return folder


@pytest.fixture(scope="session")
def cifar_dir(pytestconfig):
    """The data_dir of tfds, with CIFAR-10 and CIFAR-100 prepared in it."""
    default = pathlib.Path.home() / "tensorflow_datasets"
    folder = pathlib.Path(os.environ.get("TFDS_DATA_DIR") or default).expanduser()
    for name in CIFAR:
        if not (folder / name / "dataset_info.json").is_file():
            _missing(pytestconfig, f"{name} is not prepared in {folder}")
    return folder


@pytest.fixture
def registered():
    """The registered methods, which are as before when the test has ended."""
    from mm_tf.experiments.paper.methods import METHODS

    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)
