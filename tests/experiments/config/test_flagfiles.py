"""The flagfiles are the paper's settings, with the paper's hyper-parameters."""

import pathlib

import pytest
from flag_parsing import parse

from mm_tf.experiments import paper

FOLDER = pathlib.Path(__file__).parents[3] / "experiments"


def config_of(path):
    return parse(f"--flagfile={path}")


@pytest.mark.parametrize("setting", paper.SETTINGS)
def test_flagfile_of_each_setting_is_the_papers_protocol(setting):
    config = config_of(FOLDER / f"{setting}.flags")
    assert config.setting == setting
    assert config.method == "mm_ldam_drw"
    assert config.scale == 10
    assert (config.beta, config.delta) == paper.BEST_BETA_DELTA[setting]
    assert paper.compare(config).is_comparable


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.flags")), ids=lambda p: p.stem)
def test_header_states_the_command_and_the_images(path):
    text, config = path.read_text(), config_of(path)
    assert f"--flagfile=experiments/{path.name}\n" in text
    if path.stem in paper.SETTINGS:
        counts = config.class_counts
        assert f"{counts.sum():,} training images" in text
        assert f"{counts.max():,} to {counts.min():,} a class" in text
        published = paper.published_error(config.setting, config.method)
        assert f"{published:.2f} %" in text
