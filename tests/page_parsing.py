"""A page in HTML, as a browser would take it apart."""

import html.parser


class Page(html.parser.HTMLParser):
    """What a page loads, its images and its text."""

    def __init__(self, path):
        super().__init__()
        self.loaded, self.images, self.tags, self.words = [], [], set(), []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.loaded += [values[k] for k in ("src", "srcset", "href") if k in values]
        if tag == "img":
            self.images.append(values)

    def handle_data(self, data):
        self.words.append(data)
