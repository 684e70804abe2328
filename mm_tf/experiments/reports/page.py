"""The page of a report, as HTML."""

import jinja2

from mm_tf.data import DATASETS
from mm_tf.experiments.reports import gallery, tables
from mm_tf.experiments.reports import pictures as report_pictures
from mm_tf.experiments.reports import runs as report_runs


def write(path, runs, images, without_images):
    """Writes a page, and its pictures beside it."""
    labels = report_runs.labels(runs)
    result = runs[0].result
    pictures = report_pictures.Pictures(path.parent)
    page = {
        "files": pictures.files,
        "result": result,
        "dataset": _description(result),
        "imbalance": _imbalance(result),
        "labels": labels,
        "runs": runs,
        "summary": tables.summary(runs),
        "published": tables.published(runs, labels),
        "counts": report_pictures.draw_counts(pictures, result),
        "errors": report_pictures.draw_errors(pictures, runs, labels),
        "shots": report_pictures.draw_shots(pictures, runs, labels),
        "curves": report_pictures.draw_curves(pictures, runs, labels),
        "confusions": report_pictures.draw_confusions(pictures, runs, labels),
        "pairs": [
            gallery.confused_pairs(pictures, number, run, images)
            for number, run in enumerate(runs, start=1)
        ],
        "without_images": without_images,
        "classes": tables.classes(runs, labels),
        "flags": tables.flags(runs),
        "environment": tables.environment(runs),
    }
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("mm_tf.experiments.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html")
    path.write_text(template.render(page), encoding="utf-8")


def _description(result):
    info = DATASETS.get(result.dataset)
    return info.description if info else ""


def _imbalance(result):
    # Its ratio plays no part where classes are of one size, whatever the flag says.
    if result.imbalance == "none":
        return "balanced"
    return f"imbalance ratio {result.imbalance_ratio:g}"
