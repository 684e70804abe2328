"""Pictures of a report: written beside the page, and put into it."""

import base64
import collections

from matplotlib.image import imsave

from mm_tf.experiments.reports import figures

_DOTS_PER_INCH = 150


class Pictures:
    """Writes pictures into the report's folder, and gives their data URIs.

    `files` has the names of what was written.
    """

    def __init__(self, folder):
        self._folder = folder
        self.files = []

    def draw(self, name, draw, *arguments):
        """Draws a figure, for light and for dark."""
        uris = {}
        for theme in figures.THEMES:
            file = f"{name}.png" if theme == "light" else f"{name}_{theme}.png"
            with figures.theme(theme):
                figure = draw(*arguments)
                figure.savefig(self._folder / file, dpi=_DOTS_PER_INCH)
            uris[theme] = self._uri(file)
        return uris

    def save(self, name, pixels):
        """Saves a picture of pixels, the same for light and for dark."""
        imsave(self._folder / f"{name}.png", pixels)
        return dict.fromkeys(figures.THEMES, self._uri(f"{name}.png"))

    def _uri(self, file):
        self.files.append(file)
        content = base64.b64encode((self._folder / file).read_bytes()).decode()
        return f"data:image/png;base64,{content}"


def draw_curves(pictures, runs, labels):
    """Draws the training curves: the picture and its marks in words, or None."""
    if all(run.history is None for run in runs):
        return None
    marks = _marks(runs, labels)
    histories = [run.history for run in runs]
    picture = pictures.draw(
        "training_curves", figures.training_curves_figure, histories, labels, marks
    )
    return picture, "; ".join(label for _, label, _ in marks)


def _marks(runs, labels):
    """Triples (epoch, label, whether it is deferred) of all that changes in runs."""
    labels_of_change = collections.defaultdict(list)
    for run, label in zip(runs, labels, strict=True):
        for change in _changes(run):
            labels_of_change[change].append(label)
    marks = []
    for (epoch, what, is_deferred), labels in sorted(labels_of_change.items()):
        # The names of several runs would not fit into the legend.
        whose = f" ({labels[0] if len(labels) == 1 else f'{len(labels)} runs'})"
        if len(labels) == len(runs):
            whose = ""
        marks.append((epoch, f"{what} from epoch {epoch}{whose}", is_deferred))
    return marks


def _changes(run):
    """Triples (epoch, what begins, whether it is deferred) of a run."""
    if run.config is None:
        return
    for epoch, factor in run.config.drops:
        if epoch < run.config.epochs:
            yield epoch, f"learning rate × {factor:g}", False
    method, start = run.config.row, run.config.first_reweighted_epoch
    if start < run.config.epochs:
        if method.weighting == "deferred":
            yield start, "re-weighted", True
        if method.sampling == "deferred":
            yield start, "re-sampled", True
