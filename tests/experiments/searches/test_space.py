"""The space of a search: what its texts name, and what numbers in it stand for."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.searches import space


def parse(*texts, method="mm_ldam_drw", grid=False, **arguments):
    return space.parse(list(texts), RunConfig(method=method, **arguments), grid)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("beta", "beta=1..2"),
        ("scale", "scale=5..30"),
        (" delta = 0.6/1.2 ", "delta=0.6/1.2"),
        ("beta=1.25", "beta=1.25"),
        ("learning_rate=1e-3..1e-1", "learning_rate=0.001..0.1"),
        ("epochs", "epochs=100/200/400"),
        ("batch_size=16/64", "batch_size=16/64"),
        ("epochs=10..40", "epochs=10..40"),
        ("l2=0..1e-3", "l2=0..0.001"),
    ],
)
def test_what_a_text_names(text, expected):
    assert str(parse(text)[0]) == expected


@pytest.mark.parametrize("method", METHODS)
def test_the_usual_three_as_far_as_a_method_takes_them(method):
    row = METHODS[method]
    taken = [name for name in space.USUAL if name in row.uses]
    taken = taken or list(row.hyperparameters)
    if taken:
        assert [each.name for each in parse(method=method)] == taken
    else:
        with pytest.raises(ValueError, match=f"the method {method} takes none of"):
            parse(method=method)


def test_the_usual_grid_is_as_many_cells_as_there_are_trials():
    from mm_tf.experiments.tune import TRIALS

    assert space.cells(parse(grid=True)) == TRIALS


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["bata"], "there is no 'bata' to search. Received: search='bata'$"),
        (["seed"], "there is no 'seed' to search"),
        (["focal_gamma"], "method mm_ldam_drw does not take focal_gamma"),
        (["beta", "beta=1..2"], "names beta twice. Received: search='beta=1..2'$"),
        (["beta=one"], "must be a range, as beta=1..2, or values.*'beta=one'$"),
        (["beta=1/"], "must be a range"),
        (["beta=2..1"], "must be a range"),
        (["beta=1..1"], "must be a range"),
        (["beta=-1..2"], "beta=-1..2 is not possible. `beta` must be"),
        (["beta=1..inf"], "beta=1..inf is not possible. `beta` must be"),
        (["beta=nan"], "is not possible. `beta` must be"),
        (["scale=0/10"], "`scale` must be a finite number > 0"),
        (["epochs=10.5"], "must have whole numbers for epochs"),
        (["epochs=0/5"], "`epochs` must be an integer >= 1"),
    ],
)
def test_texts_that_name_nothing(texts, message):
    with pytest.raises(ValueError, match=message):
        parse(*texts)


def test_a_range_is_no_grid():
    with pytest.raises(ValueError, match="must have values for a grid, as beta=1/1.5"):
        parse("beta=1..2", grid=True)


def test_epochs_before_a_given_drop_are_refused():
    with pytest.raises(ValueError, match="`second_drop_epoch` must not come before"):
        parse("epochs=100/200", first_drop_epoch=150)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.sampled_from(["beta", "scale", "l2", "learning_rate"]), st.floats(0, 1))
def test_numbers_of_a_range_stay_in_it_and_have_three_digits(name, share):
    (dimension,) = parse(name)
    low, high = dimension.low, dimension.high
    value = dimension.value(low + share * (high - low))
    assert low <= value <= high
    assert float(f"{value:.3g}") == value or value in (low, high)


def test_kerastuner_draws_from_the_same_space():
    import keras_tuner

    dimensions = parse("beta", "scale", "epochs", "batch_size=8..16", "l2=0..1e-3")
    hp = keras_tuner.HyperParameters()
    for dimension in dimensions:
        space.declare(hp, dimension)
    for seed, dimension in itertools.product(range(20), dimensions):
        (drawn,) = (each for each in hp.space if each.name == dimension.name)
        value = dimension.value(drawn.random_sample(seed))
        values = dimension.values or (dimension.low, dimension.high)
        assert min(values) <= value <= max(values)
        assert isinstance(value, int if dimension.is_whole else float)
        RunConfig(**{dimension.name: value})
