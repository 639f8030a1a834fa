"""Colours by role: what a piece of text means decides how it looks, in every theme. Severity also has its sign, always."""

from functools import lru_cache

from msgspec import Struct
from rich.style import Style
from textual.theme import Theme


class Palette(Struct, frozen=True, kw_only=True):
    """One theme; `styles` maps the roles that drawings use to colours and weights."""

    name: str
    dark: bool
    background: str
    surface: str
    text: str
    accent: str
    styles: dict[str, str]

    def textual_theme(self) -> Theme:
        """The same for the widgets that Textual brings (inputs, lists, dialogs)."""
        return Theme(
            name=self.name,
            primary=self.accent,
            accent=self.accent,
            foreground=self.text,
            background=self.background,
            surface=self.surface,
            panel=self.surface,
            success=self.styles["ok"].split()[-1],
            warning=self.styles["warning text"].split()[-1],
            error=self.styles["critical text"].split()[-1],
            dark=self.dark,
        )


def _roles(
    *,
    dim: str,
    ok: str,
    accent: str,
    warning: str,
    critical: str,
    stale: str,
    bar: str,
    chart: str,
    wait: str,
    cursor: str,
    rule: str,
    title: str,
    on_badge: str,
) -> dict[str, str]:
    return {
        "": "",
        "dim": dim,
        "bold": "bold",
        "title": f"bold {title}",
        "rule": rule,
        "ok": ok,
        "accent": accent,
        "info": accent,
        "info text": "",
        "warning": f"bold {warning}",
        "warning text": warning,
        "critical": f"bold {critical}",
        "critical text": critical,
        "lost": f"bold {critical}",
        "lost text": critical,
        "stale": stale,
        "stale text": stale,
        "bar": bar,
        "chart": chart,
        "chart warning": warning,
        "chart critical": critical,
        "limit": stale,
        "mark": f"bold {warning}",
        "wait": wait,
        "late": f"bold {warning}",
        "cursor": f"on {cursor}",
        "row": f"on {cursor}",
        "tagged": f"bold {accent}",
        "key": f"bold {accent}",
        "tab": dim,
        "tab here": f"bold {on_badge} on {accent}",
        "badge": f"bold {on_badge} on {warning}",
        "badge remote": f"bold {on_badge} on {accent}",
        "badge paused": f"bold {on_badge} on {stale}",
        "nvlink": ok,
        "pcie": accent,
    }


DARK = Palette(
    name="gpuwatch-dark",
    dark=True,
    background="#11151a",
    surface="#1a2027",
    text="#d5dbe1",
    accent="#5fb3d9",
    styles=_roles(
        dim="#8e99a4",
        ok="#7fbf7f",
        accent="#5fb3d9",
        warning="#f0b429",
        critical="#ff6b61",
        stale="#b59a57",
        bar="#5499bb",
        chart="#68a9cb",
        wait="#a3adb8",
        cursor="#232d37",
        rule="#3b4651",
        title="#e8edf2",
        on_badge="#11151a",
    ),
)
LIGHT = Palette(
    name="gpuwatch-light",
    dark=False,
    background="#fbfaf7",
    surface="#efede7",
    text="#24292e",
    accent="#0a5f8a",
    styles=_roles(
        dim="#566068",
        ok="#176b2a",
        accent="#0a5f8a",
        warning="#854e00",
        critical="#a81910",
        stale="#6b5719",
        bar="#3f86aa",
        chart="#33789c",
        wait="#555e66",
        cursor="#d3dee5",
        rule="#c4c8cb",
        title="#101418",
        on_badge="#fbfaf7",
    ),
)
CONTRAST = Palette(
    name="gpuwatch-contrast",
    dark=True,
    background="#000000",
    surface="#101010",
    text="#ffffff",
    accent="#00e5ff",
    styles=_roles(
        dim="#c0c0c0",
        ok="#00ff66",
        accent="#00e5ff",
        warning="#ffd800",
        critical="#ff7070",
        stale="#ffb86b",
        bar="#00b8d4",
        chart="#00e5ff",
        wait="#d0d0d0",
        cursor="#2c2c2c",
        rule="#909090",
        title="#ffffff",
        on_badge="#000000",
    ),
)
COLOUR_BLIND = Palette(
    name="gpuwatch-colour-blind",
    dark=True,
    background="#12151a",
    surface="#1b2028",
    text="#dde2e7",
    accent="#56b4e9",
    # Okabe and Ito's colours: blue, orange and yellow stay apart for every common kind of colour blindness.
    styles=_roles(
        dim="#98a2ac",
        ok="#56b4e9",
        accent="#56b4e9",
        warning="#f0e442",
        critical="#e69f00",
        stale="#d48fb4",
        bar="#2f8fc9",
        chart="#56b4e9",
        wait="#99a2ab",
        cursor="#28313b",
        rule="#45505b",
        title="#ffffff",
        on_badge="#12151a",
    ),
)
PALETTES = {palette.name: palette for palette in (DARK, LIGHT, CONTRAST, COLOUR_BLIND)}


def theme_name(chosen: str) -> str:
    """Textual's name of the theme that the setting calls `dark`, `light` and so on."""
    return f"gpuwatch-{chosen}"


# What is told by its background alone, and so is lost where there are no colours, or so few that it looks like the rest.
_BY_BACKGROUND = frozenset({"cursor", "row", "tab here", "badge", "badge remote", "badge paused"})


class _Means:
    """What the terminal at hand can show; set once at start."""

    few_colours = False


def use_few_colours(few: bool) -> None:
    """With sixteen colours or none, backgrounds are told apart by turning them around."""
    _Means.few_colours = few
    style_of.cache_clear()


@lru_cache(maxsize=512)
def style_of(palette_name: str, role: str, under_cursor: bool = False) -> Style:
    """How a role looks on this palette's background; roles may be combined as "warning+cursor"."""
    palette = PALETTES[palette_name]
    style = Style.parse(f"{palette.text} on {palette.background}")
    for part in [*role.split("+"), *(["cursor"] if under_cursor else [])]:
        if _Means.few_colours and part in _BY_BACKGROUND:
            style += Style(reverse=True)
        elif words := palette.styles.get(part, ""):
            style += Style.parse(words)
    return style
