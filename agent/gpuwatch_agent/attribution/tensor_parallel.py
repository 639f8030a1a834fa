"""Which processes work in lockstep as one group, and as which rank: inferred, with the evidence named.

The evidence in order, the first that speaks of a process decides:
0. NCCL's own word, where the configuration lets it be asked (`ras`): communicators with their ranks;
1. process titles (`VLLM::Worker_TP0`), grouped by parent and by the other indices in the title;
2. an engine's command line, the process's own or an ancestor's (`--tensor-parallel-size 4`), with ranks from the
   environment where launchers put them;
3. the environment alone (RANK and WORLD_SIZE of torchrun, MPI, Slurm);
4. a launcher as parent whose children's environment can't be read: a group without ranks;
5. one process on several GPUs: a layer split, unless llama.cpp was told to split rows or tensors.
Declared groups stand before these.

`group` and `rank` are given to processes that wait for each other in every step, whatever `split` is: a data-parallel
training job is as slow as its slowest rank too. Layer and pipeline splits and replicas have a `split` and no group.
A rank is the evidence's own, from 0 to size - 1; where evidence is missing it is `None`, never a guess.

A group is called ENGINE:MODEL@PID, PID being the parent the ranks have in common, with `/dp0`, `/pp1`, `/pcp0` for the
other indices in a title and `/g2` where a world holds several tensor-parallel groups: `vllm:Qwen/Qwen3-32B@41200/dp1`.
The name is the same after the agent restarts.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, structs

from gpuwatch_agent.attribution.command_line import (
    EngineCommand,
    engine_command,
    launcher_command,
    script_name,
    split_mode_of,
)
from gpuwatch_agent.attribution.environment import EnvironmentRank, rank_in
from gpuwatch_agent.attribution.program import printable
from gpuwatch_agent.attribution.titles import TitleRanks, ranks_in_title
from gpuwatch_agent.hardware.base import ProcessFacts

if TYPE_CHECKING:
    from gpuwatch_agent.attribution.ras import Communicator

ANCESTOR_LEVELS = 16


class Membership(Struct, frozen=True, kw_only=True, gc=False):
    """A process's place in a group that shares a model or a job."""

    group: str | None = None
    rank: int | None = None
    size: int | None = None
    split: str | None = None
    source: str | None = None


NO_GROUP = Membership()
"""Decided, and not a member: later evidence is not asked any more."""


class _Launched(NamedTuple):
    evidence: EnvironmentRank
    top: int
    """The first process that carries the rank: helpers and wrappers share its environment."""
    lead: int
    """Who launched all the ranks."""


class _Scene:
    """The GPU processes with their ancestors, and what the evidence asks of them again and again."""

    def __init__(
        self,
        processes: Mapping[int, ProcessFacts],
        gpus_of: Mapping[int, Sequence[int]],
        communicators: Sequence["Communicator"] = (),
    ) -> None:
        self.processes = processes
        self.gpus_of = gpus_of
        self.communicators = communicators

    def argv(self, pid: int | None) -> tuple[str, ...]:
        one = self.processes.get(pid) if pid is not None else None
        return (one.command or ()) if one else ()

    def line(self, pid: int) -> Iterator[int]:
        """The process, its parent, its parent's parent, and so on."""
        current: int | None = pid
        for _ in range(ANCESTOR_LEVELS + 1):
            if current is None or current not in self.processes:
                return
            yield current
            current = self.processes[current].ppid

    def lead(self, pid: int) -> int:
        """The process that stands for all that were started together: the parent, or the session if init adopted them."""
        one = self.processes[pid]
        if one.ppid is not None and one.ppid > 1:
            return one.ppid
        return one.session or pid

    def engine(self, pid: int) -> tuple[int, EngineCommand] | None:
        """The nearest command line of an engine, going up from the process itself."""
        for ancestor in self.line(pid):
            command = engine_command(self.argv(ancestor))
            # A launcher's arguments are its ranks' arguments: torchrun itself is no engine.
            if command and not launcher_command(self.argv(ancestor)):
                return ancestor, command
        return None

    def launched(self, pid: int) -> _Launched | None:
        """The rank in the environment, and who launched it."""
        evidence = rank_in(self.processes[pid].environ)
        if evidence is None:
            return None
        top = pid
        for ancestor in self.line(pid):
            if rank_in(self.processes[ancestor].environ) != evidence:
                break
            top = ancestor
        return _Launched(evidence, top, self.lead(top))


Evidence = Callable[[_Scene, Sequence[int], Mapping[int, Membership]], dict[int, Membership]]


def infer(
    processes: Mapping[int, ProcessFacts],
    gpus_of: Mapping[int, Sequence[int]],
    communicators: Sequence["Communicator"] = (),
) -> dict[int, Membership]:
    """The membership of every GPU process of which the evidence speaks.

    `processes` holds the GPU processes and their ancestors, `gpus_of` the GPUs on which each one computes,
    `communicators` what NCCL says where it was asked.
    """
    decided = _decide(_Scene(processes, gpus_of, communicators), EVIDENCE)
    return {pid: membership for pid, membership in decided.items() if membership is not NO_GROUP}


def _decide(scene: _Scene, kinds: Sequence[Evidence]) -> dict[int, Membership]:
    decided: dict[int, Membership] = {}
    for evidence in kinds:
        open_pids = [pid for pid in sorted(scene.gpus_of) if pid not in decided and pid in scene.processes]
        decided.update(evidence(scene, open_pids, decided))
    _settle_double_ranks(scene, decided)
    return decided


def _by_ras(scene: _Scene, pids: Sequence[int], _: Mapping[int, Membership]) -> dict[int, Membership]:
    """Communicators keep the name that the other evidence gives the same processes: the group stays the same group."""
    if not scene.communicators:
        return {}
    seats = {one.id: seated for one in scene.communicators if len(seated := _seats(scene, one, pids)) > 1}
    others = _decide(scene, EVIDENCE[1:])
    found = {}
    for pid in pids:
        mine = [one for one in scene.communicators if pid in seats.get(one.id, {})]
        chosen = _communicator_of(scene, pid, mine, others.get(pid))
        if chosen is None:
            continue
        ranks = seats[chosen.id][pid]
        found[pid] = Membership(
            group=_communicator_name(scene, chosen, seats[chosen.id], others),
            # One process may be several ranks, one for each of its GPUs.
            rank=ranks[0] if len(ranks) == 1 else None,
            size=chosen.size,
            split=_split_of(scene, pid, others.get(pid)),
            source="NCCL RAS",
        )
    return found


def _seats(scene: _Scene, communicator: "Communicator", pids: Sequence[int]) -> dict[int, list[int]]:
    """Which process is which rank: by PID and GPU together, as a PID may be that of another namespace."""
    seated: dict[int, list[int]] = defaultdict(list)
    for rank in communicator.ranks:
        there = [pid for pid in pids if rank.gpu in scene.gpus_of[pid]]
        named = [pid for pid in there if pid == rank.pid]
        named = named or [pid for pid in there if scene.processes[pid].namespace_pid == rank.pid]
        if len(named) == 1:
            seated[named[0]].append(rank.rank)
    return dict(seated)


def _communicator_of(
    scene: _Scene, pid: int, mine: Sequence["Communicator"], other: Membership | None
) -> "Communicator | None":
    """Of the world, its data-parallel and its tensor-parallel parts, the one where a slow rank is felt most.

    That is the one of the engine's tensor-parallel size; else the busiest, and of equally busy ones the largest.
    """
    nearest = scene.engine(pid)
    tensor_size = nearest[1].tensor_size if nearest else None
    if tensor_size is None and other is not None and other.split == "tensor":
        tensor_size = other.size
    if tensor_size is not None and tensor_size > 1:
        mine = [one for one in mine if one.size == tensor_size]
    return max(mine, key=lambda one: (one.collectives, one.size, one.id), default=None)


def _split_of(scene: _Scene, pid: int, other: Membership | None) -> str:
    nearest = scene.engine(pid)
    if nearest and (nearest[1].tensor_size or 1) > 1:
        return "tensor"
    return "tensor" if other is not None and other.split == "tensor" else "data"


def _communicator_name(
    scene: _Scene, communicator: "Communicator", seated: Mapping[int, object], others: Mapping[int, Membership]
) -> str:
    names = {others[pid].group if pid in others else None for pid in seated}
    name = names.pop() if len(names) == 1 else None
    if name is not None and all(pid in seated for pid, one in others.items() if one.group == name):
        return name
    first = min(seated)
    return _group_name("nccl", script_name(scene.argv(first)), scene.lead(first), f"/{communicator.id[2:10]}")


def _by_title(scene: _Scene, pids: Sequence[int], _: Mapping[int, Membership]) -> dict[int, Membership]:
    titles = {pid: title for pid in pids if (title := ranks_in_title(" ".join(scene.argv(pid)[:1])))}
    untold = Counter(scene.lead(pid) for pid, title in titles.items() if title.role == "Worker" and not title.indices)
    found = {}
    for pid, title in titles.items():
        several = title.role == "Worker" and not title.indices and untold[scene.lead(pid)] > 1
        found[pid] = _titled(scene, pid, title, several)
    return found


def _titled(scene: _Scene, pid: int, title: TitleRanks, several: bool) -> Membership:
    nearest = scene.engine(pid)
    command = nearest[1] if nearest and nearest[1].engine in {title.engine, "distributed"} else None
    source = f'process title "{printable(scene.argv(pid)[0].split()[0])}"'
    rank, size = title.indices.get("TP"), command.tensor_size if command else None
    if (rank is None and not several) or (size == 1 and rank == 0):
        if "PP" in title.indices:
            return Membership(split="pipeline", source=source)
        return Membership(split="data", source=source) if "DP" in title.indices else NO_GROUP
    if several and ((command and command.pipeline_size) or 1) > 1:
        return Membership(split="pipeline" if size == 1 else "tensor", size=size, source=source)
    if size is not None and rank is not None and rank >= size:
        size = None
    apart = ["DP", "PP", "PCP"]
    if command and command.dp_attention:
        # SGLang numbers tensor ranks through all of these replicas: their feed-forward layers are shared.
        apart.remove("DP")
    suffix = "".join(f"/{kind.lower()}{title.indices[kind]}" for kind in apart if kind in title.indices)
    name = _group_name(title.engine, command.model if command else None, scene.lead(pid), suffix)
    return Membership(group=name, rank=rank, size=size, split="tensor", source=source)


def _by_command_line(scene: _Scene, pids: Sequence[int], decided: Mapping[int, Membership]) -> dict[int, Membership]:
    parents_of_ranks = {
        ancestor for pid, one in decided.items() if one.rank is not None for ancestor in scene.line(pid)
    }
    engines = {pid: nearest for pid in pids if pid not in parents_of_ranks and (nearest := scene.engine(pid))}
    roots_of_others = {root for pid, (root, _) in engines.items() if root != pid}
    found: dict[int, Membership] = {pid: NO_GROUP for pid in pids if pid in parents_of_ranks}
    unnumbered: dict[str, list[int]] = defaultdict(list)
    for pid, (root, command) in engines.items():
        launched = scene.launched(pid)
        tensor_size = command.tensor_size
        if tensor_size is None and command.engine == "tgi" and launched:
            # The launcher shards over all GPUs unless told otherwise; its shards know how many they are.
            tensor_size = launched.evidence.world_size
        if tensor_size is None or tensor_size == 1:
            if (command.pipeline_size or 1) > 1 and not launched:
                found[pid] = Membership(split="pipeline", source=f"command line of PID {root}")
            continue
        said = (
            f"command line of PID {root}: {command.tensor_flag}" if command.tensor_flag else f"{command.engine} shard"
        )
        own = root == pid and pid not in roots_of_others
        if launched and launched.evidence.world_size % tensor_size == 0:
            lead = launched.lead if own else root
            one = _numbered(command, lead, tensor_size, launched.evidence, said)
        else:
            lead = scene.lead(pid) if own and _has_twin(scene, pid, engines) else root
            one = Membership(
                group=_group_name(command.engine, command.model, lead), size=tensor_size, split="tensor", source=said
            )
            unnumbered[one.group or ""].append(pid)
        found[pid] = one
    for members in unnumbered.values():
        # More processes than one group holds, and nothing says who belongs with whom.
        if len(members) > (found[members[0]].size or 0):
            found.update({pid: structs.replace(found[pid], group=None) for pid in members})
    return found


def _has_twin(scene: _Scene, pid: int, engines: Mapping[int, tuple[int, EngineCommand]]) -> bool:
    """Whether the same parent started the same command more than once, as launchers do."""
    lead, argv = scene.lead(pid), scene.argv(pid)
    return any(other != pid and scene.lead(other) == lead and scene.argv(other) == argv for other in engines)


def _numbered(command: EngineCommand, lead: int, tensor_size: int, launched: EnvironmentRank, said: str) -> Membership:
    """Launchers number tensor ranks innermost: Megatron-LM, TensorRT-LLM and vLLM agree on that."""
    group, rank = divmod(launched.rank, tensor_size)
    suffix = f"/g{group}" if launched.world_size > tensor_size else ""
    return Membership(
        group=_group_name(command.engine, command.model, lead, suffix),
        rank=rank,
        size=tensor_size,
        split="tensor",
        source=f"{said}, environment: {launched.variables}",
    )


def _by_environment(scene: _Scene, pids: Sequence[int], _: Mapping[int, Membership]) -> dict[int, Membership]:
    launched = {pid: one for pid in pids if (one := scene.launched(pid))}
    ranks_seen: dict[tuple[int, str], set[int]] = defaultdict(set)
    for one in launched.values():
        ranks_seen[one.lead, one.evidence.master].add(one.evidence.rank)
    found = {}
    for pid, one in launched.items():
        evidence = one.evidence
        # A batch script carries its job's numbers too, so one Slurm rank alone proves nothing.
        if evidence.launcher == "slurm" and len(ranks_seen[one.lead, evidence.master]) < 2:
            continue
        starter = launcher_command(scene.argv(one.lead))
        meeting = evidence.master.rpartition(":")[2] if ":" in evidence.master and not starter else ""
        found[pid] = Membership(
            group=_group_name(
                starter.launcher if starter else evidence.launcher,
                script_name(scene.argv(one.top)),
                one.lead,
                f":{printable(meeting)[:16]}" if meeting else "",
            ),
            rank=evidence.rank,
            size=evidence.world_size,
            split="data",
            source=f"environment: {evidence.variables}",
        )
    return found


def _by_launcher(scene: _Scene, pids: Sequence[int], _: Mapping[int, Membership]) -> dict[int, Membership]:
    children = Counter(scene.processes[pid].ppid for pid in pids)
    found = {}
    for pid in pids:
        parent = scene.processes[pid].ppid
        starter = launcher_command(scene.argv(parent))
        if parent is None or starter is None or (starter.world_size or children[parent]) < 2:
            continue
        found[pid] = Membership(
            group=_group_name(starter.launcher, script_name(scene.argv(pid)), parent),
            size=starter.world_size,
            split="data",
            source=f"started by {starter.launcher}, PID {parent}",
        )
    return found


def _by_gpus(scene: _Scene, pids: Sequence[int], _: Mapping[int, Membership]) -> dict[int, Membership]:
    found = {}
    for pid in pids:
        gpu_count = len(set(scene.gpus_of[pid]))
        if gpu_count < 2:
            continue
        source = f"one process on {gpu_count} GPUs"
        command = engine_command(scene.argv(pid))
        mode = split_mode_of(command, scene.processes[pid].environ) if command else None
        if command and mode in {"row", "tensor"}:
            name = _group_name(command.engine, command.model, pid)
            source += f", --split-mode {mode}"
            found[pid] = Membership(group=name, size=gpu_count, split="tensor", source=source)
        elif mode != "none":
            found[pid] = Membership(split="layer", source=source)
    return found


EVIDENCE: tuple[Evidence, ...] = (
    _by_ras,
    _by_title,
    _by_command_line,
    _by_environment,
    _by_launcher,
    _by_gpus,
)


def _group_name(engine: str, model: str | None, lead: int, suffix: str = "") -> str:
    return f"{engine}:{model}@{lead}{suffix}" if model else f"{engine}@{lead}{suffix}"


def _settle_double_ranks(scene: _Scene, decided: dict[int, Membership]) -> None:
    """One rank, one process: a child that inherited its rank's environment is a helper; among equals nobody can tell."""
    claims: dict[tuple[str, int], list[int]] = defaultdict(list)
    for pid, one in decided.items():
        if one.group is not None and one.rank is not None:
            claims[one.group, one.rank].append(pid)
    for claimants in claims.values():
        if len(claimants) < 2:
            continue
        helpers = [pid for pid in claimants if any(other != pid and other in claimants for other in scene.line(pid))]
        equals = [pid for pid in claimants if pid not in helpers]
        decided.update(dict.fromkeys(helpers, NO_GROUP))
        if len(equals) > 1:
            for pid in equals:
                said = f"{decided[pid].source}, which several processes claim"
                decided[pid] = structs.replace(decided[pid], rank=None, source=said)
