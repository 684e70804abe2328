"""The page of a report, as HTML."""

import jinja2

from mm_tf.data import DATASETS
from mm_tf.experiments.reports import figures, gallery, tables
from mm_tf.experiments.reports import pictures as report_pictures
from mm_tf.experiments.reports import runs as report_runs


def write(path, runs, images, without_images):
    """Writes a page, and its pictures beside it."""
    labels = report_runs.labels(runs)
    runs = [report_runs.run_by_count(run) for run in runs]
    results = [run.result for run in runs]
    result = results[0]
    info = DATASETS.get(result.dataset)
    pictures = report_pictures.Pictures(path.parent)
    page = {
        "files": pictures.files,
        "result": result,
        "dataset": info.description if info else "",
        "labels": labels,
        "runs": runs,
        "summary": tables.summary(runs),
        "published": tables.published(runs, labels),
        "errors": pictures.draw(
            "per_class_error", figures.per_class_error_figure, results, labels
        ),
        "shots": pictures.draw(
            "shot_error", figures.shot_error_figure, results, labels
        ),
        "curves": report_pictures.draw_curves(pictures, runs, labels),
        "confusions": [
            (
                label,
                pictures.draw(
                    f"confusion_{number}",
                    figures.confusion_figure,
                    run.confusion_matrix(),
                    result.class_names,
                    result.evaluated_words,
                ),
            )
            for number, (run, label) in enumerate(zip(runs, labels, strict=True), 1)
            if run.labels is not None
        ],
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
