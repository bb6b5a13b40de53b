"""The one environment of Jinja templates: what is escaped, what is an error, and the filters for numbers and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from driftline.charts.svg import coordinate
from driftline.text import moments, numbers

if TYPE_CHECKING:
    import jinja2

_UNESCAPED = ("md", "yml")
"""Extensions of templates that are no HTML; their own filters quote what comes in."""


def all_digits(value: float | None) -> str:
    """Write a number so that it reads back as the same number; nothing for None.

    >>> all_digits(0.1), all_digits(3), all_digits(None)
    ('0.1', '3.0', '')
    """
    return "" if value is None else repr(float(value))


def url_segment(text: str) -> str:
    """Quote a text as one segment of the path of an address.

    >>> url_segment("a/b c")
    'a%2Fb%20c'
    """
    return quote(text, safe="")


def figure_or_nothing(value: float | None) -> str:
    """Write a value of a table, or a dash for None.

    >>> figure_or_nothing(0.25), figure_or_nothing(None)
    ('0.250', '–')
    """
    return numbers.NOTHING if value is None else numbers.figure(value)


FILTERS: Mapping[str, Callable[..., str]] = {
    "all_digits": all_digits,
    "coordinate": coordinate,
    "count": numbers.count,
    "effect": numbers.effect,
    "event_time": moments.day_or_moment,
    "exact": numbers.exact,
    "figure": figure_or_nothing,
    "iso": datetime.isoformat,
    "level": numbers.level,
    "moment": moments.moment,
    "number": numbers.number_or_nothing,
    "p_value": numbers.p_in_table,
    "p_words": numbers.p_words,
    "page_moment": moments.page_moment,
    "percent": numbers.percent_or_nothing,
    "signed": numbers.signed,
    "span": moments.span,
    "url_segment": url_segment,
}
"""The filters that every template has, by name."""


def environment(package: str, folder: str = "templates", **options: Any) -> jinja2.Environment:
    """Make the environment of the templates in a folder of a package, with Jinja's ``options`` for what differs there.

    What is put into a template is escaped for HTML. Templates of Markdown and YAML (``.md``, ``.yml``) are not: they
    quote it with a filter of their own. A name that is not there raises `jinja2.UndefinedError`.

    >>> page = environment("driftline.reports").from_string("{{ share | percent }} of {{ name }}")
    >>> page.render(share=0.25, name="<b>")
    '25 % of &lt;b&gt;'
    """
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        autoescape=jinja2.select_autoescape(disabled_extensions=_UNESCAPED, default=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        **options,
    )
    made.filters |= FILTERS
    return made
