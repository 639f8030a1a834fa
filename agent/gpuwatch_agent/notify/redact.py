"""Addresses hold secrets, tokens in paths above all: what may be shown of them."""

import re
from urllib.parse import unquote, urlsplit

_SHORTEST_SECRET = 4
_BORDERS = re.compile(r"[/:@?&=#,;!|\s]+")


def shown_address(url: str, *, host: bool) -> str:
    """The scheme, and the host where it is one and no token."""
    scheme = url.partition("://")[0] if "://" in url else "?"
    try:
        name = urlsplit(url).hostname if host else None
    except ValueError:
        name = None
    return f"{scheme}://{name}/…" if name else f"{scheme}://…"


def scrub(text: str, url: str, *, host: bool) -> str:
    """The text without any part of the address but scheme and, where it may be shown, host."""
    scheme, _, rest = url.partition("://")
    open_words = {scheme.lower()}
    if host:
        open_words.add((urlsplit(url).hostname or "").lower())
    parts = {part for form in (rest, unquote(rest)) for part in _BORDERS.split(form)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET and part.lower() not in open_words:
            text = re.sub(re.escape(part), "…", text, flags=re.IGNORECASE)
    return text
