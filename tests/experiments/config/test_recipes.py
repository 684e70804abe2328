"""What a recipe sets, and what can be set beside it."""

import pathlib

import pytest
from flag_parsing import parse

from mm_tf.experiments import paper
from mm_tf.experiments.config import RunConfig, recipes
from mm_tf.experiments.config.flags import from_lines, to_flagfile

FAST = ("--dataset=cifar10", "--recipe=fast")


@pytest.fixture
def cpuinfo(monkeypatch):
    """Says which flags the processor lists."""

    def lists(words):
        def read(path):
            assert str(path) == "/proc/cpuinfo"
            return f"flags : fpu {words} avx\n"

        monkeypatch.setattr(pathlib.Path, "read_text", read)

    lists("")
    return lists


def test_a_recipe_sets_flags_and_each_can_be_overridden(cpuinfo):
    config = parse(*FAST)
    for name, value in recipes.FAST.items():
        assert getattr(config, name) == value, name
    assert config.first_reweighted_epoch == 24
    other = parse(*FAST, "--epochs=7", "--model=resnet20", "--nonesterov", "--views=1")
    assert (other.epochs, other.model, other.views) == (7, "resnet20", 1)
    assert not other.nesterov and other.schedule == "one_cycle"
    assert RunConfig(dataset="cifar10", recipe="fast") == config


def test_the_paper_is_the_default():
    config = parse("--dataset=cifar10")
    assert config == parse("--dataset=cifar10", "--recipe=paper")
    assert paper.compare(parse("--dataset=cifar10", "--method=erm")).differences == ()


def test_another_recipe_is_refused_in_python_too():
    with pytest.raises(ValueError, match="`recipe` must be one of .*'slow'$"):
        RunConfig(recipe="slow")


def test_runs_of_recipes_never_meet(cpuinfo):
    config = parse(*FAST)
    assert config.setting == "cifar10_lt100_fast"
    assert config.run_folder.parts[-3] == "cifar10_lt100_fast"
    assert paper.compare(config).published is None


def test_flags_txt_repeats_it_on_another_processor(cpuinfo):
    cpuinfo("amx_bf16")
    config = parse(*FAST)
    assert config.precision == "bfloat16"
    text = to_flagfile(config)
    assert "--learning_rate=0.5\n" in text and "--recipe=fast\n" in text
    cpuinfo("avx512")
    assert parse(*FAST).precision is None
    assert from_lines(text.splitlines()) == config
    assert parse("--dataset=cifar10").precision is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--views=4"], "`views` must be 1, 2, 3 or 6. Received: views=4"),
        (["--warmup_epochs=31"], "`warmup_epochs` must be at most `epochs`"),
        (["--dataset=digits"], "images of at least 9 pixels"),
        (["--dataset=digits", "--model=resnet8"], "`views` must be 1 or 3"),
        (["--recipe=slow"], "recipe"),
    ],
)
def test_what_does_not_fit_is_refused(flags, message):
    with pytest.raises(Exception, match=message):
        parse(*FAST, *flags)
