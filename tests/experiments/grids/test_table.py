"""The table of results: means, spreads, marks, paired differences, its texts."""

import csv
import dataclasses
import io
import math

import pytest
from made_up import RESULT
from rich.console import Console
from scipy import stats

from mm_tf.experiments import paper
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.grids import grid
from mm_tf.experiments.grids.aggregate import COLUMNS, summarize
from mm_tf.experiments.grids.pairs import paired_difference

LT100, LT10 = "cifar10_lt100", "cifar10_lt10"


def result(
    method, setting, seed, error, best=None, differences=(), epochs=200, **arguments
):
    config = RunConfig(
        method=method, seed=seed, **grid.parse_settings([setting])[setting]
    )
    return dataclasses.replace(
        RESULT,
        method=method,
        setting=setting,
        seed=seed,
        top1_error=error,
        best_top1_error=error if best is None else best,
        published_top1_error=paper.published_error(setting, method),
        protocol_differences=list(differences),
        flags={**config.identity(), "backend": "tensorflow"},
        epochs=epochs,
        **arguments,
    )


RESULTS = [
    result("mm_drw", LT100, 0, 22.0, best=21.0),
    result("mm_drw", LT100, 1, 23.0, best=22.0),
    result("mm_drw", LT100, 2, 24.0, best=21.5),
    result("erm", LT100, 0, 30.0),
    result("erm", LT10, 0, 15.0, differences=["epochs 10 (paper: 200)"]),
    result("erm", LT10, 1, 17.0, differences=["epochs 10 (paper: 200)"]),
]


def row(table, setting, method):
    return table.frame.set_index(["setting", "method"]).loc[setting, method]


def test_mean_spread_and_difference():
    found = row(summarize(RESULTS), LT100, "mm_drw")
    assert (found["n"], found["seeds"]) == (3, "0 1 2")
    assert found["mean"] == pytest.approx(23.0)
    assert found["sd"] == pytest.approx(1.0)  # of a sample, not of a population
    assert found["best_mean"] == pytest.approx(21.5)
    assert found["best_sd"] == pytest.approx(0.5)
    assert found["published"] == 21.98
    assert found["difference"] == pytest.approx(1.02)
    assert found["comparable"]
    assert found["protocol_differences"] == ""


def test_one_seed_has_no_spread_and_none_is_a_dash():
    table = summarize(RESULTS)
    found = row(table, LT100, "erm")
    assert found["n"] == 1 and math.isnan(found["sd"])
    assert table.cells().loc["ERM", LT100] == "30.00 (n = 1) (29.64, +0.36)"
    table = summarize([], ["erm"], [LT100])
    assert "| ERM | -" in " ".join(table.to_markdown().split())


def test_missing_cells_are_a_dash_and_never_zero():
    results = [result("erm", "digits_lt20", 0, 1.0), *RESULTS[::-1]]
    table = summarize(results, methods=["mm_drw", "focal", "erm"])
    # In the paper's order.
    assert list(table.cells().index) == ["ERM", "Focal", "MM-DRW"]
    assert list(table.cells().columns) == [LT100, LT10, "digits_lt20"]
    assert set(table.cells().loc["Focal"]) == {"-"}
    assert table.cells().loc["MM-DRW", LT10] == "-"
    missing = row(table, LT10, "focal")
    assert missing["n"] == 0 and missing["seeds"] == ""
    assert math.isnan(missing["mean"]) and math.isnan(missing["difference"])
    assert missing["published"] == 13.34
    assert not missing["comparable"]


def test_what_is_not_the_papers_protocol_is_marked_once():
    more = [result("mm_drw", LT10, 0, 12.0, differences=["epochs 10 (paper: 200)"])]
    table = summarize(RESULTS + more)
    found = row(table, LT10, "erm")
    assert not found["comparable"]
    assert found["protocol_differences"] == "epochs 10 (paper: 200)"
    cells = table.cells()
    assert cells.loc["ERM", LT10] == "16.00 ± 1.41 [1] (n = 2) (13.61, +2.39)"
    assert " [1]" in cells.loc["MM-DRW", LT10]
    assert "[" not in cells.loc["MM-DRW", LT100]
    text = table.to_markdown()
    assert text.count("epochs 10 (paper: 200)") == 1
    assert "- [1] Not the paper's protocol: epochs 10 (paper: 200)." in text
    assert paper.ALWAYS_DIFFERENT in text


def test_seeds_of_different_protocols_are_not_comparable():
    changes = dict(differences=["epochs 10 (paper: 200)"], epochs=10)
    mixed = [RESULTS[3], result("erm", LT100, 1, 40.0, **changes)]
    found = row(summarize(mixed), LT100, "erm")
    assert not found["comparable"]
    assert found["protocol_differences"] == (
        "epochs 10 (paper: 200), seed 1 only; its seeds are runs of different epochs"
    )


def test_numbers_that_the_paper_has_not():
    methods = ["erm", "hg_drs", "ldam_hg_drs"]
    settings = ["cifar10_lt100", "cifar100_lt100", "cifar100_lt10", "digits_lt20"]
    table = summarize([result("erm", "digits_lt20", 0, 12.5)], methods, settings)
    assert table.cells().loc["ERM", "digits_lt20"] == "12.50"
    assert not row(table, "digits_lt20", "erm")["comparable"]
    lacking = "HG-DRS and LDAM-HG-DRS on cifar100_lt100, cifar100_lt10"
    assert f"Not in the paper: digits_lt20; {lacking}." in table.to_markdown()
    text = summarize([], methods, ["cifar10_lt100"]).to_markdown()
    assert "Not in the paper" not in text


def on_holdout(one):
    return dataclasses.replace(
        one, evaluated_on="holdout", protocol_differences=["errors on a hold-out"]
    )


def test_cells_on_a_hold_out_say_so_and_have_no_difference():
    ours, theirs = RESULTS[:3], [on_holdout(RESULTS[3])]
    table = summarize([*ours, *theirs], best_epoch=True, compare=[("mm_drw", "erm")])
    cells = table.cells()
    assert cells.loc["ERM", LT100] == "30.00 hold-out [1] (n = 1)"
    assert "hold-out" not in cells.loc["MM-DRW", LT100]
    found = row(table, LT100, "erm")
    assert found["evaluated_on"] == "holdout"
    assert found["published"] == 29.64 and math.isnan(found["difference"])
    assert "Cells that say so are on hold-out images" in table.to_markdown()
    assert r"30.00\ \mbox{hold-out}^{[1]}" in table.to_latex()
    assert table.pairs[0].seeds == ()  # Such errors make no pair.
    alone = summarize(theirs, best_epoch=True).to_markdown()
    assert "Top-1 error on the hold-out images in %" in alone
    assert "test images" not in alone.replace("on the test images, trained", "")


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([RESULTS[3]] * 2, "several for cifar10_lt100, erm, seed 0"),
        ([RESULTS[0], on_holdout(RESULTS[1])], "Received: both for .*100, mm_drw$"),
    ],
)
def test_results_that_are_not_averaged(results, message):
    with pytest.raises(ValueError, match=message):
        summarize(results)


def test_csv_has_a_row_a_cell():
    rows = list(csv.DictReader(io.StringIO(summarize(RESULTS).to_csv())))
    assert list(rows[0]) == list(COLUMNS)
    by_cell = {(each["setting"], each["method"]): each for each in rows}
    assert len(rows) == len(by_cell) == 4
    assert float(by_cell[LT100, "mm_drw"]["sd"]) == 1.0
    assert by_cell[LT100, "mm_drw"]["comparable"] == "True"
    assert by_cell[LT10, "mm_drw"]["mean"] == ""
    assert by_cell[LT10, "mm_drw"]["n"] == "0"
    assert by_cell[LT100, "erm"]["sd"] == ""


def test_best_epoch_only_on_request_and_labelled():
    assert "21.50 ± 0.50" not in summarize(RESULTS).to_markdown()
    table = summarize(RESULTS, best_epoch=True)
    assert table.cells(best=True).loc["MM-DRW", LT100] == "21.50 ± 0.50 (21.98, -0.48)"
    for text in (table.to_markdown(), table.to_latex()):
        assert "best epoch (chosen on test: flatters)" in text


def test_latex_is_escaped():
    odd = ["50 % of A&B #1 $x$ {y} ~ ^ \\ l2_reg (paper: 0)"]
    text = summarize(
        [result("erm", "digits_lt20", 0, 30.0, differences=odd)],
        best_epoch=True,
        compare=[("erm", "mm_drw")],
    ).to_latex()
    assert r"digits\_lt20" in text
    assert "digits_lt20" not in text
    for escaped in (r"50 \%", r"A\&B \#1 \$x\$ \{y\}", r"l2\_reg"):
        assert escaped in text
    assert "in \\%" in text and "in %" not in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert "$30.00^{[1]}$" in text
    number = r"$23.00 \pm 1.00\ (21.98,\ +1.02)$"
    assert number in summarize(RESULTS).to_latex()


def test_paired_difference_is_students_t():
    ours, theirs = [22.0, 23.5, 24.0, 21.0], [25.0, 25.5, 24.5, 26.0]
    results = [result("mm_drw", LT100, seed, error) for seed, error in enumerate(ours)]
    results += [result("erm", LT100, seed, error) for seed, error in enumerate(theirs)]
    # Without a partner, or of another setting: neither counts.
    results += [result("erm", LT100, 9, 99.0), result("erm", LT10, 0, 99.0)]
    pair = paired_difference(results, "mm_drw", "erm", LT100)
    assert pair.seeds == (0, 1, 2, 3)
    # Differences -3, -2, -0.5, -5: mean -2.625, squares about it 10.6875.
    assert pair.mean == pytest.approx(-2.625)
    assert pair.sd == pytest.approx(math.sqrt(10.6875 / 3))
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (pair.low, pair.high) == pytest.approx((expected.low, expected.high))
    half = 3.182446 * pair.sd / 2  # The 97.5 % point of t with 3 degrees.
    assert pair.high - pair.mean == pytest.approx(half, rel=1e-6)
    back = paired_difference(results, "erm", "mm_drw", LT100)
    assert (back.low, back.high) == pytest.approx((-pair.high, -pair.low))


def test_paired_difference_of_few_seeds_and_of_equal_ones():
    one = paired_difference(RESULTS, "mm_drw", "erm", LT100)
    assert (one.seeds, one.mean, one.sd, one.low) == ((0,), -8.0, None, None)
    none = paired_difference(RESULTS, "mm_drw", "erm", LT10)
    assert (none.seeds, none.mean) == ((), None)
    equal = [result(m, LT100, s, 5.0) for m in ("erm", "focal") for s in (0, 1)]
    pair = paired_difference(equal, "erm", "focal", LT100)
    assert (pair.mean, pair.low, pair.high) == (0.0, 0.0, 0.0)
    text = summarize(RESULTS, compare=[("mm_drw", "erm")]).to_markdown()
    assert "MM-DRW - ERM | 1   | -8.00  | -" in text


def runs(methods, seeds=(0, 1), **flags):
    for method in methods:
        for seed in seeds:
            of_run = result(method, LT100, seed, 20.0)
            of_run.flags.update(flags)
            yield of_run


def marked(results, method="mm_drw", other="erm"):
    return paired_difference(list(results), method, other, LT100).differences


@pytest.mark.parametrize(
    ("flag", "here", "there"),
    [
        ("epochs", 200, 10),
        ("batch_size", 128, 64),
        ("subset_seed", 0, 1),
        ("augment", True, False),
        ("backend", "tensorflow", "jax"),
        ("first_drop_epoch", "by default", 7),
    ],
)
def test_pairs_of_other_flags_are_marked(flag, here, there):
    results = [*runs(["mm_drw"]), *runs(["erm"], **{flag: there})]
    assert marked(results) == f"{flag} {here} and {there}"
    # Seeds of other flags are no better than methods of other flags.
    mixed = [*runs(["mm_drw", "erm"]), *runs(["mm_drw", "erm"], [2], **{flag: there})]
    assert marked(mixed) == f"{flag} {here} and {there}"
    # A run that is no part of a pair changes nothing.
    assert not marked([*runs(["mm_drw", "erm"]), *runs(["erm"], [7], **{flag: there})])


@pytest.mark.parametrize(
    ("flag", "other", "value", "is_marked"),
    [
        ("delta", "erm", 0.9, False),
        ("delta", "mm_ldam_drw", 0.9, True),
        ("focal_gamma", "erm", 2.0, False),
        ("ldam_scale", "ldam_drw", 10.0, False),
        ("reweight_epoch", "ldam", 5, False),
        ("reweight_epoch", "ldam_drw", 5, True),
        ("class_weighting", "ldam", "inverse_frequency", False),
        ("class_weighting", "ldam_drw", "inverse_frequency", True),
        ("pretraining_epochs", "ldam_drw_ssp", 5, False),
    ],
)
def test_flags_of_only_one_method_are_not_marked(flag, other, value, is_marked):
    results = [*runs(["mm_drw"]), *runs([other], **{flag: value})]
    assert bool(marked(results, "mm_drw", other)) == is_marked
    assert bool(marked(results, other, "mm_drw")) == is_marked


def test_one_methods_own_flag_must_be_the_same_for_all_seeds():
    results = [*runs(["mm_drw", "erm"]), *runs(["mm_drw", "erm"], [2], delta=0.9)]
    assert marked(results) == "delta 0.6 and 0.9"


def test_marks_of_pairs_are_explained_in_all_texts():
    results = [*runs(["mm_drw", "ldam"]), *runs(["erm"], epochs=10)]
    results.append(result("focal", LT100, 0, 1.0, differences=["l2 0 (paper: 0.0002)"]))
    pairs = [("mm_drw", "erm"), ("mm_drw", "ldam"), ("ldam", "erm")]
    table = summarize(results, compare=pairs)
    # The table's own mark is [1].
    means = [cell.partition(" ")[2] for cell in table.pair_cells()["mean"]]
    assert means == ["[2]", "", "[2]"]
    note = "Not only the methods differ, the runs do too: epochs 200 and 10."
    assert f"- [2] {note}" in table.to_markdown()
    assert rf"\par\raggedright [2] {note}" in table.to_latex()
    printed = io.StringIO()
    table.print(Console(file=printed, width=150))
    assert f"[2] {note}" in printed.getvalue()
