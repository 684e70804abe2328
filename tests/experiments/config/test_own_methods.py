"""Methods that are registered from outside: by a call, or from a file that is named."""

import dataclasses
import pickle
import sys

import keras
import made_up
import numpy as np
import pytest
from absl import flags
from flag_parsing import parse
from helpers import TINY, check_refuses, python
from keras import ops

from mm_tf import losses
from mm_tf.data import DATASETS
from mm_tf.experiments import Hyperparameter, register_method
from mm_tf.experiments.config import RunConfig, method_files
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.config.flags import from_lines, to_flagfile
from mm_tf.experiments.grids import grid, worker
from mm_tf.experiments.machine import command
from mm_tf.experiments.paper.methods import check_method, for_other_process, is_used
from mm_tf.experiments.runs import finished, training
from mm_tf.experiments.runs.data import with_digests
from mm_tf.experiments.runs.folder import RunFolder
from mm_tf.experiments.runs.probabilities import output_prior, output_scale
from mm_tf.experiments.runs.result import RunResult
from mm_tf.experiments.searches import space

FILE = """
from keras import ops
from mm_tf.experiments import Hyperparameter, register_method
from mm_tf.losses import PerExampleLoss

print("imported")

@register_method("mine", title="Mine", weighting="deferred",
                 hyperparameters={"tau": Hyperparameter(1.0, "how much", {"low": 0.0})})
class Mine(PerExampleLoss):
    expects_cosines = True
    def __init__(self, class_counts, tau=1.0, scale=5.0, power=2, is_hard=False,
                 name="mine", **kwargs):
        super().__init__(name=name, **kwargs)
        self.values = class_counts, tau, scale, power, is_hard
    def call(self, y_true, y_pred):
        return ops.sum(y_pred, axis=-1) * self.values[1]

def PlainLoss(labels, logits):
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
"""
SECOND = """
def second(labels, outputs, other=1.0):
    return other * ops.sum(outputs, axis=-1)
"""


@pytest.fixture
def file(tmp_path, registered):
    path = tmp_path / "my_methods.py"
    path.write_text(FILE)
    return path


def test_a_class_of_a_file_is_a_method_with_its_flags(file):
    row = method_files.load(f"{file}:Mine")
    assert (row.name, row.title, row.head) == ("mine", "Mine", "normalized")
    assert row.file == f"{file}:mine" and len(row.digest) == 32
    config = parse(
        "--method=mine", "--mine_tau=1.5", "--mine_power=3", "--mine_is_hard"
    )
    assert dict(config.method_arguments) == {
        **{"mine_tau": 1.5, "mine_scale": 5.0, "mine_power": 3},
        "mine_is_hard": True,
    }
    assert config.run_folder.parts[-2:] == ("mine", "seed0")
    loss = training.build_model(config, DATASETS["digits"]).loss.loss
    assert loss.values[1:] == (1.5, 5.0, 3, True)
    np.testing.assert_array_equal(loss.values[0], config.class_counts)
    assert config.output_scale == 5.0
    for text in ("--mine_tau=-1", "--mine_power=1.5"):
        with pytest.raises((ValueError, flags.Error), match="mine_"):
            parse("--method=mine", text)


def test_its_flag_file_repeats_it_and_its_worker_gets_the_file(file):
    method_files.load(f"{file}:mine")
    config = parse("--method=mine", "--mine_tau=0.25", "--model=resnet8")
    lines = to_flagfile(config).splitlines()
    assert "--mine_tau=0.25" in lines and "--method=mine" in lines
    assert from_lines(lines) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(parse(*lines))
    assert for_other_process("mine") == f"{file}:mine"
    assert "--mine_tau=0.25" in list(worker._arguments(config, "mine"))


def test_a_function_that_is_not_registered_gets_its_own_name(file):
    row = method_files.load(f"{file}:PlainLoss")
    assert (row.name, row.head, dict(row.hyperparameters)) == (
        *("plain_loss", "linear"),
        {},
    )
    config = RunConfig(**TINY, method="plain_loss")
    loss = training.build_model(config, DATASETS["digits"]).loss
    labels, logits = np.array([0, 2]), np.array([[1.0, 2.0, 0.5], [0.1, 0.2, 0.3]])
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(loss(labels, logits)) == pytest.approx(float(expected(labels, logits)))
    # As every loss of mm_tf it says what is wrong with labels.
    with pytest.raises(ValueError, match="y_true"):
        loss(np.array([0.5, 1]), logits)


def test_what_is_no_method_in_a_file(file, tmp_path):
    for text, reason in {
        f"{file}:Other": "must name one of mine, Mine, PlainLoss in that file",
        f"{tmp_path}/none.py:Mine": "must name a file .py that is there",
        f"{tmp_path}:Mine": "must name a file .py that is there",
    }.items():
        with pytest.raises(ValueError, match=f"`method` {reason}.*Received: method="):
            method_files.load(text)
    file.write_text("x = 1\ny = x / 0\n")
    with pytest.raises(ValueError, match=r"ZeroDivisionError in line 2: .*my_methods"):
        method_files.load(f"{file}:Mine")
    assert "mm_tf_methods_my_methods" not in sys.modules


def test_a_loss_that_takes_counts_has_no_prior_unless_it_says_so(file):
    method_files.load(f"{file}:Mine")
    method_files.load(f"{file}:PlainLoss")
    config = RunConfig(method="mine")
    counts = config.class_counts
    assert output_prior(config, counts, losses.Focal()) is None
    assert output_prior(config, counts, losses.LogitAdjusted(counts)) is not None
    plain = output_prior(RunConfig(method="plain_loss"), counts, losses.Focal())
    np.testing.assert_allclose(plain, counts / counts.sum())


def test_a_file_with_two_methods_gives_either_of_them(file, registered):
    file.write_text(f"{FILE}\n@register_method('second')\n{SECOND}")
    method_files.load(f"{file}:Mine")
    values = flags.FlagValues()
    config_flags.define_flags(values)
    # Another one of the file is registered, but not among the flags of this line.
    method_files.load(f"{file}:second")
    values(["table", "--mine_tau=2"])
    assert config_flags.given(values)["method_arguments"] == {"mine_tau": 2.0}
    for name in ("mine", "second"):
        assert for_other_process(name) == f"{file}:{name}"


def test_soft_labels_of_a_function_are_the_mixture_of_hard_ones():
    def function(labels, outputs, a):
        return a * outputs[:, 0] * ops.cast(labels, outputs.dtype)

    loss = losses.base.FunctionLoss(function, {"a": 2.0})
    outputs = np.array([[1.0, 5.0, 0.0], [3.0, 0.0, 0.0]], "float32")
    shares = np.array([[0.25, 0.5, 0.25], [0.0, 0.0, 1.0]], "float32")
    found = keras.ops.convert_to_numpy(loss.call(shares, outputs))
    np.testing.assert_allclose(found, [2 * (0.5 + 0.25 * 2), 2 * 3 * 2])


def test_a_changed_file_is_another_run(file):
    before = parse("--method=erm").identity()["method_digest"]
    method_files.load(f"{file}:Mine")
    lines = to_flagfile(parse("--method=mine")).splitlines()
    file.write_text(FILE + "\n# changed")
    method_files.load(f"{file}:Mine")
    saved = from_lines(lines)
    assert saved.identity() != parse("--method=mine").identity()
    with pytest.raises(ValueError, match="`method_digest`: the file of the method is"):
        with_digests(saved)
    assert before is None


def test_arguments_of_other_methods_have_no_effect(file):
    method_files.load(f"{file}:Mine")
    configs = grid.grid(
        *(["erm", "mine"], ["digits_lt20"], [0]),
        method_arguments={"mine_tau": 2.0},
    )
    assert configs[0].method_arguments == {}
    assert configs[1].hyperparameters["mine_tau"] == 2.0
    with pytest.raises(ValueError, match="`method_arguments` must.*Received: 'tua'"):
        RunConfig(method_arguments={"tua": 1.0})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mine_tau", "mine_tau=0.5..2"),
        ("mine_power", "mine_power=1..4"),
        ("mine_tau=0/1", "mine_tau=0/1"),
    ],
)
def test_its_numbers_can_be_searched(text, expected, file):
    method_files.load(f"{file}:Mine")
    config = RunConfig(method="mine")
    (dimension,) = space.parse([text], config)
    assert str(dimension) == expected
    assert dimension.is_whole == ("power" in text)
    assert config.with_values({"mine_tau": 3.0}).method_arguments["mine_tau"] == 3.0
    with pytest.raises(ValueError, match="there is no 'mine_is_hard'"):
        space.parse(["mine_is_hard"], config)
    with pytest.raises(ValueError, match="`search`: mine_tau=-1/1 is not possible"):
        space.parse(["mine_tau=-1/1"], config)


def test_wrong_registrations(registered):
    def register(name="mine", loss=losses.Focal, **others):
        register_method(name, loss, **others)

    check_refuses(register, "name", "Mine", "a-b", "", 3, "erm", "x.py:y")
    check_refuses(register, "weighting", "later")
    check_refuses(register, "head", "cosine")
    check_refuses(register, "loss", 3, lambda labels, outputs, tau: outputs)
    assert "mine" not in registered


def test_a_method_of_this_process_only_is_refused_where_others_train(registered):
    @register_method("here", hyperparameters={"a": Hyperparameter(2.0)})
    def here(labels, outputs, a=1.0):
        return a * ops.sum(outputs, axis=-1)

    configs = grid.grid(["here"], ["digits_lt20"], [0])
    assert configs[0].hyperparameters == {"here_a": 2.0}
    with pytest.raises(ValueError, match="registered in this process only.*'here'$"):
        grid.run_grid(configs)


def test_code_that_is_not_named_on_the_command_line_is_refused(file, capsys):
    words = f"(type|give) --method={file}:Mine there"
    (file.parent / "a.flags").write_text(f"--method={file}:Mine\n")
    # Also where the line itself names another.
    line = ["run", f"--flagfile={file.parent}/a.flags", "--method=erm"]
    calls = [
        lambda: command.flagfiles_first(line),
        lambda: parse(f"--method={file}:Mine"),
        lambda: from_lines([f"--method={file}:Mine"]),
        lambda: RunConfig(method=f"{file}:Mine"),
        lambda: check_method(f"{file}:Mine"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=words):
            call()
    assert capsys.readouterr().out == ""


def test_a_run_of_it_is_read_where_it_is_not_registered(file, registered):
    method_files.load(f"{file}:Mine")
    config = RunConfig(**TINY, method="mine", output_dir=str(file.parent / "run"))
    result = dataclasses.replace(
        made_up.RESULT,
        **{"method": "mine", "title": "Mine", "head": "normalized", "scale": 5.0},
        hyperparameters=config.hyperparameters,
        weighting="deferred",
    )
    folder = RunFolder(config)
    with folder.locked():
        folder.prepare()
        unfinished = from_lines((folder.path / "flags.txt").read_text().splitlines())
        folder.finish(result)
    del registered["mine"]
    there = finished.read_config(config.run_folder)
    assert there.row.title == "Mine" and there.row.is_deferred
    assert there.hyperparameters == result.hyperparameters
    assert (
        unfinished.identity()
        == config.identity()
        == there.identity() | {"backend": None}
    )
    read = RunResult.read(config.run_folder)
    assert output_scale(read) == 5.0 and read.row.title == "Mine"
    assert is_used("mine_tau", there.row) and not is_used("beta", there.row)
    other = dataclasses.replace(config, method="erm", method_arguments={})
    with pytest.raises(ValueError, match="holds another run .*--method=mine .* there"):
        RunFolder(other).finished_result()
    with pytest.raises(ValueError, match="`method` names code.*type --method=a.py:B"):
        (config.run_folder / "result.json").write_text(
            dataclasses.replace(result, method="a.py:B").to_json()
        )
        RunResult.read(config.run_folder)


def test_commands_take_it_from_the_line_only(file):
    flagfile = file.parent / "a.flags"
    flagfile.write_text("--method=my_methods.py:Mine\n--model=resnet8\n")

    def call(*words):
        done = python("-m", "mm_tf.experiments.run", *words, cwd=file.parent)
        return done.stdout + done.stderr

    assert "mm_tf: `method` names code" in call("--flagfile=a.flags")
    flagfile.write_text("--method=mine\n--mine_tau=3\n")
    said = call("--flagfile=a.flags")
    assert "FILE:NAME on the command line for a method of your own" in said
    assert "imported" not in said
    help = call("--method", "my_methods.py:Mine", "--backend=numpy", "--helpshort")
    assert "imported" not in help and "backend" in help
    help = call("--method", "my_methods.py:Mine", "--helpshort")
    assert "--mine_tau: Mine: how much" in help and "imported" in help
