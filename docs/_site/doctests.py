"""Docstrings as Markdown: examples of a docstring become blocks of code."""

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


class DoctestFences(griffe.Extension):
    """Puts the doctests of all docstrings in fences."""

    def on_instance(self, *, obj, **kwargs):
        """Is called by griffe for each module, class, function and attribute."""
        if obj.docstring:
            text = fence_doctests(obj.docstring.value)
            # "Example:" is a section where its text is indented; here it is not.
            obj.docstring.value = re.sub(r"^Example:$", "**Example**", text, flags=re.M)
