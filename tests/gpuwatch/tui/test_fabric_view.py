import asyncio
from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any

import pytest
from msgspec import structs

from gpuwatch.render.ansi import Line, line_cells
from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.drawing.fabric_links import draw_links
from gpuwatch.tui.drawing.fabric_map import draw_map
from gpuwatch.tui.drawing.fabric_wiring import mark_of, summary_line, wiring_of
from gpuwatch.tui.views.fabric import FabricView
from support.dashboard_story import Story, story

H100 = "dgx-h100-8"
BROKEN = "dgx-h100-8+nvlink-down@2+lost@5+pcie-narrow@6"
MACHINES = (H100, BROKEN, "dgx2-v100-16", "dgx-v100-8", "4x3090-bridged", "2x4090", "l4", "h100-mig", "none")
SIZES = ((60, 11), (80, 20), (120, 36), (200, 56), (300, 76), (40, 6))


def text(lines: list[Line]) -> list[str]:
    return ["".join(span.text for span in line).rstrip() for line in lines]


def drawn(told: Story, width: int = 118, *, roomy: bool = True, chosen: str | None = None) -> Drawing:
    frame = told.frames[-1]
    return draw_map(frame, told.topology, wiring_of(frame, told.topology), width, chosen=chosen, roomy=roomy)


def row(lines: list[str], label: str) -> str:
    return next(line for line in lines if line.strip().startswith(label))


def with_fabric(
    spec: str, size: tuple[int, int], check: Callable[[FabricView, Any, GpuwatchApp], Awaitable[None]]
) -> None:
    async def run() -> None:
        app = story(spec, 30).app()
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.show_now()
            await pilot.press("3")
            await pilot.pause()
            view = app.view
            assert isinstance(view, FabricView)
            await check(view, pilot, app)

    asyncio.run(run())


def test_a_switched_machine_is_drawn() -> None:
    """NUMA nodes over their GPUs, links up and rates under each, and the switches all meet at."""
    lines = text(drawn(story(H100, 30)).lines)
    assert "NUMA 0 · CPUs 0-55,112-167" in lines[0]
    assert " SYS " in lines[0]
    assert lines[1].split() == [f"GPU{index}" for index in range(8)]
    assert row(lines, "PCIe").split()[1:] == ["5×16"] * 8
    assert row(lines, "NVLink").split()[1:] == ["18/18"] * 8
    assert lines[-1].startswith(" 4 switches")
    assert lines[-1].count("╩") == 8


def test_direct_links_name_their_peers() -> None:
    """Where GPUs are joined without a switch, each says to whom and by how many links."""
    lines = text(drawn(story("dgx-v100-8", 30)).lines)
    first = next(place for place, line in enumerate(lines) if line.strip().startswith("to GPU"))
    columns = [line[11:23].strip() for line in lines[first : first + 4]]
    assert columns == ["1 ×1", "2 ×1", "3 ×2", "4 ×2"]


def test_the_odd_ones_out_are_lit_with_their_sign() -> None:
    """A link that is down, a lost GPU and a narrow slot each have a sign and a colour; the others have none."""
    told = story(BROKEN, 30)
    frame = told.frames[-1]
    assert [mark_of(gpu, frame) for gpu in frame.gpus] == ["", "", "warning", "", "", "lost", "warning", ""]
    drawing = drawn(told)
    lit = {(span.text.strip(), span.style) for line in drawing.lines for span in line if span.text.strip()}
    assert {("▲ GPU2", "warning"), ("▲17/18", "warning"), ("⊘ GPU5", "lost"), ("▲5×4", "warning")} <= lit
    assert ("GPU0", "title") in lit
    summary = text([summary_line(frame, wiring_of(frame, told.topology), 118)])[0]
    assert "GPU 2, 5, 6 are not as the others" in summary


def test_absent_rates_are_dashes_with_their_reason() -> None:
    """A board that does not tell its PCIe traffic shows a dash, and the pointer is told why."""
    drawing = drawn(story("dgx-v100-8", 30))
    lines = text(drawing.lines)
    place = lines.index(row(lines, "GB/s out"))
    assert lines[place].split()[2:] == ["–"] * 8
    assert {hit.tip for hit in drawing.hits if hit.y == place} == {"Not supported here."}


def test_links_are_listed_one_by_one() -> None:
    """Each with its state, peer and errors; where room is short those that are down come first."""
    told = story(BROKEN, 30)
    frame = told.frames[-1]
    lines = text(draw_links(frame.gpus[2], frame, told.topology, 60, 30))
    assert lines[0] == " NVLinks of GPU2 · version 4.0"
    assert len(lines) == 19
    assert [line for line in lines if "▲ down" in line] == ["  11 ▲ down"]
    assert "   3 ● up   switch 07:00.0" in lines[4]
    short = text(draw_links(frame.gpus[2], frame, told.topology, 60, 4))
    assert short[1].startswith("  11 ▲ down")
    assert "more" in short[-1]


def test_peers_that_are_gpus_have_their_names() -> None:
    """A bridge leads to a GPU by its index, not by a bus address."""
    told = story("4x3090-bridged", 30)
    lines = text(draw_links(told.frames[-1].gpus[0], told.frames[-1], told.topology, 60, 10))
    assert all(" GPU1" in line for line in lines[1:])


@pytest.mark.parametrize("spec", MACHINES)
def test_every_machine_fits_every_size(spec: str) -> None:
    """No line is wider than the screen, none is below it, and every place to click lies on a line."""

    async def check(view: FabricView, pilot: Any, app: GpuwatchApp) -> None:
        for (width, height), _turn in product(SIZES, range(3)):
            drawing = view.draw(width, height)
            assert len(drawing.lines) <= height
            assert all(line_cells(line) <= width for line in drawing.lines), (width, height)
            assert all(0 <= hit.y < len(drawing.lines) for hit in drawing.hits)
            view.action_turn()

    with_fabric(spec, (120, 40), check)


def test_the_cursor_goes_through_the_gpus() -> None:
    """Down and up choose a GPU, its links are listed, Enter opens it; `l` turns to the matrix and back."""

    async def check(view: FabricView, pilot: Any, app: GpuwatchApp) -> None:
        await pilot.press("down", "down", "down", "up")
        assert view.chosen_key == story(H100, 30).frames[-1].gpus[2].uuid
        assert "NVLinks of GPU2" in view.as_text()
        await pilot.press("enter")
        await pilot.pause()
        assert app.here == "gpu"
        assert app.chosen_gpu == view.chosen_key

    with_fabric(H100, (120, 40), check)


def test_what_has_no_room_takes_its_turn() -> None:
    """On a small screen the first line names the key that shows the links, and it does."""

    async def check(view: FabricView, pilot: Any, app: GpuwatchApp) -> None:
        assert view.as_text().splitlines()[0].endswith("l links")
        assert "NVLinks of GPU0" not in view.as_text()
        await pilot.press("l")
        assert "NVLinks of GPU0" in view.as_text()
        await pilot.press("l")
        assert "NV18" in view.as_text()

    with_fabric(H100, (80, 24), check)


def test_a_click_chooses_a_gpu() -> None:
    """A click on a column puts the cursor there."""

    async def check(view: FabricView, pilot: Any, app: GpuwatchApp) -> None:
        hit = next(hit for hit in view.draw(120, 36).hits if story(H100, 30).frames[-1].gpus[3].uuid in hit.action)
        await pilot.click(view, offset=(hit.x + 1, hit.y))
        assert view.chosen_key == story(H100, 30).frames[-1].gpus[3].uuid

    with_fabric(H100, (120, 40), check)


def test_moments_without_single_links_use_the_wiring() -> None:
    """A frame rebuilt from history holds no ports: they are taken from when the wiring was read."""
    told = story(H100, 30)
    past = structs.replace(
        told.frames[-1],
        gpus=[
            structs.replace(gpu, nvlink=structs.replace(gpu.nvlink, links=None) if gpu.nvlink else None)
            for gpu in told.frames[-1].gpus
        ],
    )
    assert wiring_of(past, told.topology).switched
    assert not wiring_of(past, None).switched
