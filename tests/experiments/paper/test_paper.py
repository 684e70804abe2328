import csv

import pytest

from mm_tf.experiments import paper
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.paper.methods import METHODS


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def key_of(title):
    return title.lower().replace("-", "_").replace("+", "_")


def test_table1_is_the_papers(shared):
    published = {
        key_of(row["method"]): row for row in rows(shared / "paper/table1.csv")
    }
    assert set(published) == set(paper.TABLE1)
    for method, row in published.items():
        for setting in paper.SETTINGS:
            expected = float(row[setting]) if row[setting] else None
            assert paper.published_error(setting, method) == expected


def test_best_beta_and_delta_are_the_papers(shared):
    best = {}
    for row in rows(shared / "paper/tables2and3.csv"):
        error = float(row["top1_error"])
        if row["setting"] not in best or error < best[row["setting"]][0]:
            pair = (float(row["beta"]), float(row["delta_neg"]))
            best[row["setting"]] = (error, pair)
    assert {setting: pair for setting, (_, pair) in best.items()} == dict(
        paper.BEST_BETA_DELTA
    )


@pytest.mark.parametrize(("table", "dataset"), [("table2", "10"), ("table3", "100")])
def test_tables_2_and_3_are_the_papers(shared, table, dataset):
    published = {
        (row["setting"], float(row["beta"]), float(row["delta_neg"])): float(
            row["top1_error"]
        )
        for row in rows(shared / "paper/tables2and3.csv")
        if row["setting"].startswith(f"cifar{dataset}_")
    }
    assert list(published.items()) == list(paper.ABLATIONS[table].items())


def test_a_cell_of_the_ablation_is_compared_with_its_own_number():
    comparison = paper.compare_ablation(papers_run(beta=1.6))
    assert comparison == paper.Comparison(22.43, ())
    # In Table 1 it is another run.
    assert paper.compare(papers_run(beta=1.6)).differences == ("beta 1.6 (paper: 1.5)",)
    short = paper.compare_ablation(papers_run(beta=1.6, epochs=10))
    assert short.differences == ("epochs 10 (paper: 200)",)
    assert paper.compare_ablation(papers_run(beta=1.7)).published is None


def test_every_row_of_table1_is_a_method_with_its_title_in_its_order():
    rows = list(METHODS)[: len(paper.TABLE1)]
    assert rows == list(paper.TABLE1)
    assert [key_of(METHODS[name].title) for name in rows] == rows


def papers_run(**arguments):
    return RunConfig(**{"dataset": "cifar10", "method": "mm_drw", **arguments})


def test_papers_own_protocol_has_no_differences():
    comparison = paper.compare(papers_run())
    assert comparison.published == 21.98
    assert comparison.is_comparable


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        (dict(epochs=10), "epochs 10 (paper: 200)"),
        (dict(beta=2.0), "beta 2 (paper: 1.5)"),
        (dict(scale=30.0), "scale 30 (paper: 10)"),
        (dict(model="resnet20"), "model resnet20 (paper: resnet32)"),
        (dict(reweight_epoch=100), "balancing from epoch 100 (paper: 160)"),
        (
            dict(first_drop_epoch=100),
            "drops at epochs 100 and 180 (paper: 160 and 180)",
        ),
        (dict(augment=False), "augment False (paper: True)"),
        (dict(mixup=1.0), "mixup 1 (paper: 0)"),
    ],
)
def test_other_protocols_are_reported(arguments, difference):
    comparison = paper.compare(papers_run(**arguments))
    assert comparison.differences == (difference,)
    assert not comparison.is_comparable


def test_errors_on_a_hold_out_do_not_compare():
    comparison = paper.compare(papers_run(holdout=0.2))
    assert comparison.published == 21.98
    assert not comparison.is_comparable
    (difference,) = comparison.differences
    assert difference.startswith("errors on a hold-out, 0.2 of each class's training")


def test_flags_that_a_method_does_not_take_make_no_difference():
    config = papers_run(method="erm", beta=9.0, scale=1.0, reweight_epoch=3)
    assert paper.compare(config).is_comparable
    # A setting outside the paper has no number.
    comparison = paper.compare(RunConfig(dataset="digits"))
    assert comparison.published is None and not comparison.is_comparable
