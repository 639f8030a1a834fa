"""The lines around every view: who speaks, what is wrong, where in time, and which keys lead where."""

import time
from collections.abc import Sequence

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.facts import RANK
from gpuwatch.render.header import header_line, own_cost_in_words
from gpuwatch.render.text import SIGNS, clean, cut, wrap
from gpuwatch.render.units import index_list, span_of_time
from gpuwatch.tui.canvas import Drawing, Hit
from gpuwatch.tui.drawing.marks import marked
from gpuwatch.tui.moment import Moment
from gpuwatch_agent.model.finding import Finding

# From here on the header has room for the pace, and the footer for what gpuwatch itself costs.
_LEAST_WIDTH_FOR_PACE = 100
_LEAST_WIDTH_FOR_COST, _LEAST_WIDTH_FOR_LONG_COST = 118, 160
# Words on the tabs are worth less than the way to the help and out.
_HELP_AND_QUIT = len("? help  q quit  ")
_ORDER = {"critical": 0, "warning": 1, "info": 2}


def draw_header(moment: Moment, width: int) -> Line:
    """Badges that nobody can overlook, then the node in one line."""
    badges = list(_badges(moment))
    tail = _freshness(moment, words=width >= _LEAST_WIDTH_FOR_PACE)
    room = width - line_cells(badges) - line_cells(tail)
    frame = moment.frame
    marks = [mark for _, _, mark in marked(frame)]
    node = fit_line(header_line(frame, marks, max(room, 0)), max(room, 0))
    if tail and node and not node[-1].text.endswith(" "):
        node = [*fit_line(header_line(frame, marks, max(room - 1, 0)), max(room - 1, 0)), Span(" ")]
    return fit_line([*badges, *node, *tail], width)


def stale_after_s(moment: Moment) -> float:
    """From what age on the newest frame is late: three turns, and never for a moment's jitter."""
    return max(3 * moment.interval_s, 3.0)


def _freshness(moment: Moment, *, words: bool) -> Line:
    """Live and how often, or how old what is shown is; how far back one went is said below, on the timeline."""
    age = moment.now - moment.newest_at
    if age > stale_after_s(moment):
        return [Span(SIGNS["stale"], "stale"), Span(f" {span_of_time(age)} old ", "stale text")]
    if moment.paused or not words:
        return []
    return [Span(SIGNS["ok"], "ok"), Span(f" live · {moment.interval_s:g} s ", "dim")]


def _badges(moment: Moment) -> Line:
    line: Line = []
    if moment.feed.kind == "remote":
        line.append(Span(f" REMOTE {cut(clean(moment.feed.where), 28)} ", "badge remote"))
    if moment.feed.kind == "recording":
        line.append(Span(" RECORDING ", "badge remote"))
    if moment.paused:
        line.append(Span(" PAUSED ", "badge paused"))
    return line


def draw_headline(moment: Moment, width: int, most_lines: int) -> list[Line]:
    """The worst that is known, in plain words, or that all is well; never nothing."""
    frame = moment.frame
    if moment.feed.problem is not None:
        since = (
            ""
            if moment.feed.lost_at is None
            else f" Shown is what was heard {span_of_time(moment.now - moment.feed.lost_at)} ago."
        )
        return _sentence("critical", moment.feed.problem + since, width, most_lines)
    if frame.trouble is not None:
        return _sentence("critical", f"{frame.trouble.message} {frame.trouble.action}", width, most_lines)
    grave = [finding for finding in frame.findings if finding.severity != "info"]
    if grave:
        first, *others = sorted(grave, key=lambda finding: _ORDER[finding.severity])
        return _with_more(
            _sentence(first.severity, in_words(first, frame.taken_at), width, most_lines),
            len(others),
            width,
            most_lines,
        )
    return [_all_well(moment, width)]


def in_words(finding: Finding, now: float) -> str:
    """Which GPU, what, and since when."""
    where = f"GPU {index_list(finding.gpus)}: " if finding.gpus and "GPU" not in finding.summary else ""
    begun = time.strftime("%H:%M:%S", time.localtime(finding.since))
    return f"{where}{finding.summary} Since {begun} ({span_of_time(now - finding.since)})."


def _sentence(mark: str, words: str, width: int, most_lines: int) -> list[Line]:
    texts = wrap(clean(words), max(width - 4, 20))
    shown = texts[: max(most_lines, 1)]
    if len(texts) > len(shown):
        shown[-1] = cut(f"{shown[-1]} {texts[len(shown)]}", max(width - 4, 20))
    return [
        [Span(" "), Span(SIGNS[mark] if position == 0 else " ", mark), Span(f" {text}", f"{mark} text")]
        for position, text in enumerate(shown)
    ]


def _with_more(lines: list[Line], more: int, width: int, most_lines: int) -> list[Line]:
    """How many others there are, behind the sentence where there is room, else below it."""
    if not more:
        return lines
    told = f"   +{more} more, key 6"
    if line_cells(lines[-1]) + len(told) > width and len(lines) < most_lines:
        return [*lines, [Span(told, "dim")]]
    last = fit_line(lines[-1], max(width - len(told), 10))
    return [*lines[:-1], [*last, Span(told, "dim")]]


def _all_well(moment: Moment, width: int) -> Line:
    frame = moment.frame
    silent = [gpu.index for gpu in frame.gpus if gpu.state != "ok"]
    if not frame.gpus:
        return [Span(" "), Span(SIGNS["info"], "info"), Span(" This node has no GPUs.", "")]
    if silent:
        words = f" GPU {index_list(silent)} does not answer; nothing else was found."
        return fit_line([Span(" "), Span(SIGNS["stale"], "stale"), Span(words, "stale text")], width)
    noted = [(gpu, facts[0]) for gpu, facts, mark in marked(frame) if facts and mark in {"warning", "critical"}]
    if noted:
        gpu, fact = max(noted, key=lambda one: RANK[one[1].severity])
        others = f" and {len(noted) - 1} other GPU{'s' if len(noted) > 2 else ''}" if len(noted) > 1 else ""
        words = f" GPU {gpu.index}{others}: {fact.words}. Nothing that lasts was found so far."
        severity = fact.severity if fact.severity in SIGNS else "info"
        return fit_line([Span(" "), Span(SIGNS[severity], severity), Span(words, f"{severity} text")], width)
    notes = len(frame.findings)
    told = f" {notes} note{'s' if notes > 1 else ''} (key 6)." if notes else ""
    words = " All is well." if len(frame.gpus) == 1 else f" All {len(frame.gpus)} GPUs are well."
    return fit_line([Span(" "), Span(SIGNS["ok"], "ok"), Span(f"{words}{told}", "dim")], width)


def cost_in_footer(width: int) -> bool:
    """Whether the footer tells gpuwatch's own cost, so that the host line need not."""
    return width >= _LEAST_WIDTH_FOR_COST


def draw_footer(tabs: Sequence[tuple[str, str, str]], here: str, moment: Moment | None, width: int) -> Drawing:
    """Number keys with the views' names, shorter where it gets tight, then the keys that everybody needs."""
    counts = _counts(moment)
    for form in range(4):
        line, hits = _tabs(tabs, here, form, counts)
        if line_cells(line) + (_HELP_AND_QUIT if form < 2 else 0) <= width:
            break
    cost = _cost(moment, width)
    keys: list[tuple[str, str, str]] = [
        ("F2", "settings", "app.settings"),
        ("p", "pause", "app.toggle_pause"),
        ("/", "filter", "app.filter"),
        ("?", "help", "app.help"),
        ("q", "quit", "app.quit"),
    ]
    room = width - line_cells(line) - len(cost)
    while keys and sum(len(key) + len(word) + 3 for key, word, _ in keys) > room:
        keys.pop(0)
    used = sum(len(key) + len(word) + 3 for key, word, _ in keys)
    line.append(Span(" " * max(room - used, 0)))
    for key, word, action in keys:
        hits.append(Hit(0, line_cells(line), len(key) + len(word) + 1, action))
        line += [Span(key, "key"), Span(f" {word}", "dim"), Span("  ")]
    if line_cells(line) + len(cost) <= width:
        hits.append(Hit(0, line_cells(line), len(cost), "", "what gpuwatch itself takes: share of one core, memory"))
        line.append(Span(cost, "dim"))
    return Drawing(lines=[line], hits=hits)


def _cost(moment: Moment | None, width: int) -> str:
    words = own_cost_in_words(moment.frame) if moment is not None and cost_in_footer(width) else None
    if words is None:
        return ""
    return f"{'gpuwatch' if width >= _LEAST_WIDTH_FOR_LONG_COST else 'self'} {words} "


def _counts(moment: Moment | None) -> dict[str, Line]:
    """How many of the worst kind of finding there are, for the tab that lists them."""
    findings = moment.frame.findings if moment is not None else []
    for severity in ("critical", "warning"):
        count = sum(finding.severity == severity for finding in findings)
        if count:
            return {"findings": [Span(SIGNS[severity], severity), Span(f"{count} ", f"{severity} text")]}
    return {}


def _tabs(
    tabs: Sequence[tuple[str, str, str]], here: str, form: int, counts: dict[str, Line]
) -> tuple[Line, list[Hit]]:
    """Long words, short words, the word of the view that is open, or figures alone."""
    line: Line = []
    hits: list[Hit] = []
    for number, (name, title, short) in enumerate(tabs, start=1):
        word = (title, short, short if name == here else "", "")[form]
        text = f" {number} {word} " if word else f" {number} "
        count = counts.get(name, []) if form < 3 else []
        hits.append(Hit(0, line_cells(line), len(text) + line_cells(count), f"app.show_view({name!r})"))
        line += [Span(text, "tab here" if name == here else "tab"), *count]
    return line, hits


def draw_timeline(moment: Moment, width: int) -> list[Line]:
    """Where in the hour the moment lies, with marks where findings were raised, and the keys to move."""
    span_s = max(moment.newest_at - moment.oldest_at, 1.0)
    room = max(width - 2, 10)

    def place(at: float) -> int:
        return min(max(round((at - moment.oldest_at) / span_s * (room - 1)), 0), room - 1)

    cells: list[Span] = [Span("─", "rule")] * room
    for event in moment.events:
        if event.event == "raised" and event.at >= moment.oldest_at:
            severity = event.finding.severity
            cells[place(event.at)] = Span(SIGNS[severity], severity)
    cells[place(moment.frame.taken_at)] = Span("◆", "mark")
    at = time.strftime("%H:%M:%S", time.localtime(moment.frame.taken_at))
    words = f" {at}  {span_of_time(moment.behind_s)} ago   ← → 1 s   shift 10 s   [ ] findings   home oldest   end live"
    return [fit_line([Span(" "), *cells], width), fit_line([Span(words, "stale text")], width)]
