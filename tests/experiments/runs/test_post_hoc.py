"""Post-hoc logit adjustment and other priors, from the outputs that a run saved."""

import dataclasses

import made_up
import numpy as np
import pandas as pd
import pytest
from made_up_runs import Page, make_run

from mm_tf.data import long_tailed_counts
from mm_tf.experiments import report
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.runs import post_hoc, probabilities
from mm_tf.experiments.runs.result import RunResult

COUNTS = [200, 60, 20]


def make_adjustable(folder, seed=0, **changes):
    """A made-up run with outputs that favour the first class; returns its result."""
    labels = np.repeat(np.arange(3), 10)
    outputs = np.random.default_rng(seed).normal(0, 1, (30, 3)) + np.log(COUNTS)
    outputs = (outputs + 2 * np.eye(3)[labels]).astype("float16")
    predictions = outputs.argmax(1)
    error = 100 * float(np.mean(labels != predictions))
    result = make_run(folder, counts=COUNTS, seed=seed, top1_error=error, **changes)
    arrays = dict(labels=labels, predictions=predictions, outputs=outputs)
    np.savez(folder / "predictions.npz", **arrays)
    return result, arrays


def oracle(outputs, labels, tau, scale=1.0):
    """Top-1 and balanced error of z - tau log pi, in %."""
    adjusted = scale * outputs.astype("float64")
    for j, count in enumerate(COUNTS):
        adjusted[:, j] -= tau * np.log(count / sum(COUNTS))
    wrong = adjusted.argmax(1) != labels
    by_class = [wrong[labels == j].mean() for j in range(3)]
    return 100 * wrong.mean(), 100 * np.mean(by_class)


@pytest.mark.parametrize("tau", [0, 0.5, 1, 2])
@pytest.mark.parametrize(("method", "scale"), [("erm", 1.0), ("mm_drw", 10.0)])
def test_it_is_what_the_formula_says(tau, method, scale, tmp_path):
    result, arrays = make_adjustable(tmp_path / "run", method=method)
    found = post_hoc.adjusted(tmp_path / "run", result, tau)
    labels, outputs = arrays["labels"], arrays["outputs"]
    assert found.tau == tau and not found.is_chosen
    before = oracle(outputs, labels, 0)
    assert (found.before, found.balanced_before) == pytest.approx(before)
    after = oracle(outputs, labels, tau, scale)
    assert (found.after, found.balanced_after) == pytest.approx(after)
    assert tau or found.after == found.before


def test_tau_0_changes_no_prediction_whatever_the_outputs_are_rounded_to(tmp_path):
    result, arrays = make_adjustable(tmp_path / "run")
    tied = np.zeros_like(arrays["outputs"])
    np.savez(tmp_path / "run" / "predictions.npz", **{**arrays, "outputs": tied})
    found = post_hoc.adjusted(tmp_path / "run", result, 0.0)
    assert found.after == found.before == pytest.approx(result.top1_error)


def test_tau_is_chosen_on_a_holdout_and_never_on_test_images(tmp_path):
    result, arrays = make_adjustable(tmp_path / "run", evaluated_on="holdout")
    found = post_hoc.adjusted(tmp_path / "run", result)
    labels, outputs = arrays["labels"], arrays["outputs"]
    errors = [oracle(outputs, labels, tau)[1] for tau in np.arange(21) / 10]
    assert found.is_chosen and found.balanced_after == pytest.approx(min(errors))
    assert found.tau == pytest.approx(np.argmin(errors) / 10) and found.tau > 0
    assert "chosen on these images: error on the hold-out images" in str(found)
    test = dataclasses.replace(result, evaluated_on="test")
    found = post_hoc.adjusted(tmp_path / "run", test)
    assert found.tau == 1 and not found.is_chosen


def test_what_was_measured_on_cifar_10(shared, tmp_path):
    measured = shared / "measured/cifar10_lt100/mm_ldam_drw/seed0_bfloat16/outputs.npz"
    if not measured.exists():
        pytest.skip(f"there is no {measured}")
    arrays = dict(np.load(measured))
    counts = long_tailed_counts(5000, 10, ratio=100).tolist()
    names = [str(number) for number in range(10)]
    result = make_run(tmp_path / "run", "mm_ldam_drw", names=names, counts=counts)
    result = dataclasses.replace(result, evaluated_counts=[1000] * 10)
    assert result.hyperparameters["scale"] == 10
    arrays["predictions"] = arrays["outputs"].argmax(1)
    arrays["labels"] = arrays["labels"].astype("int64")
    np.savez(tmp_path / "run" / "predictions.npz", **arrays)
    found = post_hoc.adjusted(tmp_path / "run", result)
    assert f"{found.before:.2f} {found.after:.2f}" == "24.17 21.92"
    assert str(found) == (
        "post-hoc logit adjustment, tau 1: error on the test images 24.17 % before, "
        "21.92 % after"
    )


BAD = [
    ({}, "older than 0.2.0"),
    (dict(outputs=np.zeros((30, 2))), "not numbers for each image and class"),
    (dict(outputs=np.zeros((30, 3), int)), "not numbers for each image and class"),
    (dict(outputs=np.full((30, 3), np.nan)), "outputs are not finite"),
]


@pytest.mark.parametrize(("outputs", "reason"), BAD)
def test_a_run_without_good_outputs_says_so(outputs, reason, tmp_path):
    result, arrays = make_adjustable(tmp_path / "run")
    del arrays["outputs"]
    np.savez(tmp_path / "run" / "predictions.npz", **arrays, **outputs)
    with pytest.raises(ValueError, match=reason):
        post_hoc.adjusted(tmp_path / "run", result)
    page = report.write_report([tmp_path / "run"], gallery=False, post_hoc="la")
    assert "after post-hoc logit adjustment (nothing trained) - (" in Page(page).text


def test_a_report_shows_errors_before_and_after(tmp_path):
    result, _ = make_adjustable(tmp_path / "run")
    found = post_hoc.adjusted(tmp_path / "run", result, 0.5)
    arguments = dict(gallery=False, post_hoc="la", post_hoc_tau=0.5)
    text = Page(report.write_report([tmp_path / "run"], **arguments)).text
    after = "after post-hoc logit adjustment (nothing trained)"
    assert f"Top-1 {after} {found.after:.2f} (tau 0.5)" in text
    assert f"Top-1, last epoch {found.before:.2f}" in text
    text = Page(report.write_report([tmp_path / "run"], gallery=False)).text
    assert "post-hoc" not in text


def prior(method, **arguments):
    config = RunConfig(
        method=method, dataset="folder", data_dir="x", model="resnet8", **arguments
    )
    config = dataclasses.replace(config, counts_of_data=tuple(COUNTS))
    return probabilities.output_prior(config, COUNTS, config.row.loss.make(config))


def test_the_prior_that_outputs_have():
    counts = np.array(COUNTS) / 280
    np.testing.assert_allclose(prior("erm"), counts)
    weights = (1 - 0.9999) / (1 - 0.9999 ** np.array(COUNTS))
    balanced = counts * weights / (counts @ weights)
    for method in ("cb_rw", "cb_rs", "mm_drw", "ce_drw"):
        np.testing.assert_allclose(prior(method), balanced, rtol=1e-6)
    np.testing.assert_allclose(prior("mm_drw", reweight_epoch=200), counts)
    for tau in (0.0, 0.5, 1.0):
        expected = counts ** (1 - tau) / (counts ** (1 - tau)).sum()
        found = prior("la", method_arguments={"la_tau": tau})
        np.testing.assert_allclose(found, expected)
    # Classes are drawn equally often in the second stage.
    np.testing.assert_allclose(prior("crt"), 1 / 3)
    assert prior("vs") is prior("tau_norm") is None


def test_another_prior_starts_from_that_of_the_outputs(tmp_path):
    result = make_run(tmp_path / "run", counts=COUNTS)
    run, uniform = tmp_path / "run", np.ones(3)
    logits = np.random.default_rng(0).normal(0, 1, (5, 3))

    def adjusted(result, prior):
        offset = probabilities.prior_offset(run, result, np.asarray(prior) / sum(prior))
        return probabilities.probabilities(logits, offset=offset)

    joint = np.exp(logits) * [3, 1, 1] / COUNTS
    expected = joint / joint.sum(1, keepdims=True)
    # A result of 0.1.0 does not say its prior.
    said = dataclasses.replace(result, output_prior=(np.array(COUNTS) / 280).tolist())
    for each in (result, said):
        np.testing.assert_allclose(adjusted(each, [3, 1, 1]), expected)
    # Logit-adjusted with tau 1.
    even = dataclasses.replace(result, output_prior=[1 / 3] * 3)
    plain = probabilities.probabilities(logits)
    np.testing.assert_allclose(adjusted(even, uniform), plain)
    with pytest.raises(ValueError, match="`prior` needs outputs with a known"):
        adjusted(dataclasses.replace(result, output_prior="unknown"), uniform)


KEYS = {"zero": 3, "one": 1, "two": 1}


def test_a_prior_is_a_word_numbers_or_a_file(tmp_path):
    file = tmp_path / "prior.csv"
    file.write_text("two,2\nzero,6\none,2\n")
    for prior, expected in (
        ("uniform", [1, 1, 1]),
        ("train", [100, 30, 10]),
        ("3,1,1", [3, 1, 1]),
        ([3, 1, 1], [3, 1, 1]),
        ({2: 1, 0: 3, 1: 2}, [3, 2, 1]),
        (pd.Series({2: 1, 0: 3, 1: 2}), [3, 2, 1]),
        (file, [6, 2, 2]),
        (str(file), [6, 2, 2]),
    ):
        found = probabilities.check_prior(prior, made_up.RESULT)
        np.testing.assert_allclose(found, np.array(expected) / sum(expected))
    for text in ("zero,1\none,1\n", "zero,1\none,1\ntwo,1\ntwo,1\n", "zero,1\none,x\n"):
        file.write_text(text)
        with pytest.raises(ValueError, match="`prior` must be .*Received: prior="):
            probabilities.check_prior(file, made_up.RESULT)
    for prior in ("often", "1,2", "0,1,1", [1, 1, -1], tmp_path, 3, "1,1,nan", KEYS):
        with pytest.raises(
            ValueError, match="`prior` must be uniform.*Received: prior"
        ):
            probabilities.check_prior(prior, made_up.RESULT)


@pytest.mark.parametrize("prior", ["all", [0.5], [0.5, 0.5, 0.0], 1.0])
def test_a_result_of_another_prior_is_refused(prior, tmp_path):
    result = dataclasses.replace(made_up.RESULT, output_prior=prior)
    (tmp_path / "result.json").write_text(result.to_json())
    with pytest.raises(ValueError, match="output_prior"):
        RunResult.read(tmp_path)
