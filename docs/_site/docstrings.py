"""Docstrings as Markdown: what Markdown would take for something else."""

import re

import griffe

# A prompt and all that follows it, until an empty line that no prompt follows.
_DOCTEST = re.compile(
    r"^(?P<indent> *)>>> .*(?:\n(?P=indent)(?! *$).+|\n *(?=\n(?P=indent)>>> ))*",
    re.MULTILINE,
)


def fence_doctests(text):
    """Returns a docstring's text with its doctests in fences.

    Markdown would take the prompts of a doctest for quotations.

    Args:
        text: The docstring, indented as `inspect.cleandoc` leaves it.
    """
    return _DOCTEST.sub(
        lambda match: "{0}```pycon\n{1}\n{0}```".format(match["indent"], match[0]), text
    )


def escape_comparisons(text):
    """Returns a docstring's text in which no line of prose begins with a `>`.

    Where a line breaks before ">= 0" Markdown would take the rest for a quotation.
    """
    return re.sub(r"^( *)>(?!>> )", r"\1\\>", text, flags=re.MULTILINE)


class MarkdownDocstrings(griffe.Extension):
    """Makes Markdown of all docstrings."""

    def on_instance(self, *, obj, **kwargs):
        """Is called by griffe for each module, class, function and attribute."""
        if obj.docstring:
            text = fence_doctests(escape_comparisons(obj.docstring.value))
            # "Example:" is a section where its text is indented; here it is not.
            obj.docstring.value = re.sub(r"^Example:$", "**Example**", text, flags=re.M)
