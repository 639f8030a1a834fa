"""Which key does what, told by the bindings themselves."""

from collections.abc import Iterable, Sequence

from textual.binding import Binding, BindingType

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.text import SIGNS, wrap
from gpuwatch.tui.dialogs.base import Page

_KEY_WORDS = {
    "question_mark": "?",
    "slash": "/",
    "plus": "+",
    "minus": "-",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "space": "Space",
    "enter": "Enter",
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
}


def help_page(here: str, of_view: Sequence[BindingType], of_app: Sequence[BindingType], keys: dict[str, str]) -> Page:
    """The keys of the view that is open, then those that work everywhere; `keys` are the user's own."""

    def draw(width: int) -> list[Line]:
        lines: list[Line] = [[Span(f"On {here}", "title")], *_told(of_view, keys, width), []]
        lines += [[Span("Everywhere", "title")], *_told(of_app, keys, width), []]
        signs = "   ".join(f"{SIGNS[kind]} {kind}" for kind in ("ok", "info", "warning", "critical", "stale", "lost"))
        lines += [[Span("Signs", "title")], [Span(f"  {signs}")]]
        lines += [[Span(f"  {text}", "dim")] for text in wrap(_ABOUT_MOUSE, max(width - 4, 20))]
        return lines

    return Page("keys", draw)


_ABOUT_MOUSE = (
    "With the mouse: tabs, rows, column titles, charts and marks do what they show when they are clicked; a dash says "
    "why there is no value where the pointer rests on it. Ctrl+P opens the list of all commands."
)


def key_words(keys: str) -> str:
    """What is printed on the key: shift+left → Shift+←."""
    return " ".join(_one_key(key.strip()) for key in keys.split(","))


def _one_key(key: str) -> str:
    *modifiers, name = key.split("+") if key != "+" else [key]
    shown = _KEY_WORDS.get(name, name if len(name) == 1 else name.upper() if name[:1] == "f" else name.capitalize())
    if modifiers and len(shown) == 1:
        shown = shown.upper()  # as everybody writes Ctrl+Z; the key itself is without Shift
    return "+".join([*(modifier.capitalize() for modifier in modifiers), shown])


def _told(bindings: Iterable[BindingType], keys: dict[str, str], width: int) -> list[Line]:
    lines: list[Line] = []
    for binding in bindings:
        if not isinstance(binding, Binding) or not binding.description:
            continue
        pressed = keys.get(binding.id or "", binding.key)
        lines.append([Span(f"  {key_words(pressed):<16}", "key"), Span(binding.description[: max(width - 20, 10)])])
    return lines or [[Span("  no keys of its own", "dim")]]
