"""HTML by construction: text is escaped unless its type says that it is HTML already.

Samples, file names and configurations are hostile text. A plain `str` that reaches `element` is
escaped, so forgetting to escape is impossible; only `Html` passes as it is.
"""

from collections.abc import Iterable
from html import escape

from openk2.core.terminal import printable

__all__ = ["Html", "element", "join"]


class Html(str):
    """A string that is HTML already."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: object) -> Html:
    """`<name ...>children</name>`: `class_` is class, `data_x` is data-x, None is left out."""
    rendered = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{rendered}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Html:
    """The parts one after the other, those that are not Html escaped."""
    return Html("".join(part if isinstance(part, Html) else _escaped(part) for part in parts))


def _escaped(text: str) -> str:
    # HTML has no control characters; their pictures show what a model wrote.
    return escape(printable(text))
