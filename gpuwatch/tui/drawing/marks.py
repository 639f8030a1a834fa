"""How each GPU is, in one word: its state, else the worst that its readings or a finding say of it."""

from gpuwatch.render.facts import Fact, facts_of, worst
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu


def marked(frame: Frame) -> list[tuple[Gpu, list[Fact], str]]:
    """Every GPU with what is worth saying of it and its mark; a finding counts as much as a reading."""
    found: dict[int, str] = {}
    for finding in frame.findings:
        for index in finding.gpus:
            found[index] = worst([found.get(index, ""), finding.severity])
    marks: list[tuple[Gpu, list[Fact], str]] = []
    for gpu in frame.gpus:
        facts = facts_of(gpu, frame.gpus)
        seen = worst(fact.severity for fact in facts)
        mark = gpu.state if gpu.state != "ok" else worst([seen, found.get(gpu.index, "")])
        marks.append((gpu, facts, mark))
    return marks
