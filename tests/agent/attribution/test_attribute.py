from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from gpuwatch_agent.attribution.attribute import COMMAND_CHARACTERS, attribute
from gpuwatch_agent.hardware.base import GpuProcess, ProcessFacts
from gpuwatch_agent.model.process import Process

MIB = 1 << 20


def test_joins_the_drivers_list_with_the_hosts_facts() -> None:
    """A row has the driver's figures and the host's names, container, pod and job."""
    container = "ab" * 32
    facts = {
        7: ProcessFacts(
            pid=7,
            user="ada",
            command=("python", "train.py"),
            cgroup=f"0::/system.slice/docker-{container}.scope",
            environ={"SLURM_JOB_ID": "12"},
            started_at=5.0,
        )
    }
    rows = attribute({3: [GpuProcess(pid=7, kind="compute", memory_bytes=9, sm_pct=1.5, gpu_instance=2)]}, facts)
    assert rows == {
        3: [
            Process(
                pid=7,
                user="ada",
                name="train.py",
                command="python train.py",
                memory_bytes=9,
                sm_pct=1.5,
                container=container,
                slurm_job="12",
                kind="compute",
                started_at=5.0,
                gpu_instance=2,
            )
        ]
    }


def test_what_cannot_be_seen_is_a_row_with_its_pid() -> None:
    """A PID of another namespace stays in the table with the driver's figures, and says that it is not visible."""
    rows = attribute({0: [GpuProcess(pid=7, kind="compute", memory_bytes=9)]}, {})
    assert rows == {0: [Process(pid=7, memory_bytes=9, kind="compute", visible=False)]}


def test_a_pid_listed_twice_is_one_row() -> None:
    """Compute and graphics lists of the driver overlap: one row, the larger figure, not the sum."""
    twice = [
        GpuProcess(pid=7, kind="graphics", memory_bytes=5, sm_pct=None),
        GpuProcess(pid=7, kind="compute", memory_bytes=None, sm_pct=3.0),
        GpuProcess(pid=8, kind="graphics"),
    ]
    rows = attribute({0: twice}, {})[0]
    assert [(row.pid, row.kind, row.memory_bytes, row.sm_pct) for row in rows] == [
        (7, "compute+graphics", 5, 3.0),
        (8, "graphics", None, None),
    ]


def test_mig_instances_are_rows_of_their_own() -> None:
    """One process in two instances of a board is two rows."""
    rows = attribute({0: [GpuProcess(pid=7, kind="compute", gpu_instance=one) for one in (1, 2)]}, {})[0]
    assert [row.gpu_instance for row in rows] == [1, 2]


def test_a_display_server_is_no_layer_split() -> None:
    """Xorg draws on every board and the MPS server serves every board; neither runs a model."""
    facts = {
        7: ProcessFacts(pid=7, command=("/usr/lib/xorg/Xorg", ":0")),
        8: ProcessFacts(pid=8, name="nvidia-cuda-mps-server", command=("nvidia-cuda-mps-server",)),
    }
    both = [GpuProcess(pid=7, kind="graphics"), GpuProcess(pid=8, kind="compute")]
    rows = attribute({0: both, 1: both}, facts)
    assert {row.split for one in rows.values() for row in one} == {None}


def test_a_model_spread_over_boards_is_a_layer_split() -> None:
    """One computing process on two boards is a layer split on both rows."""
    facts = {7: ProcessFacts(pid=7, command=("ollama", "runner"))}
    one = [GpuProcess(pid=7, kind="compute", memory_bytes=8000 * MIB)]
    rows = attribute({0: one, 1: one}, facts)
    assert [(row.split, row.tp_group) for [row] in rows.values()] == [("layer", None)] * 2


def test_a_stray_context_is_not_the_rank() -> None:
    """Rank 1 left 400 MiB on GPU 0: there it is just a process, on GPU 1 it is the rank."""
    facts = {
        7: ProcessFacts(pid=7, ppid=5, command=("VLLM::Worker_TP0",)),
        8: ProcessFacts(pid=8, ppid=5, command=("VLLM::Worker_TP1",)),
    }
    stray = GpuProcess(pid=8, kind="compute", memory_bytes=400 * MIB)
    large = [GpuProcess(pid=pid, kind="compute", memory_bytes=70_000 * MIB) for pid in (7, 8)]
    rows = attribute({0: [large[0], stray], 1: [large[1]]}, facts)
    assert [(row.pid, row.tp_rank) for row in rows[0]] == [(7, 0), (8, None)]
    assert [(row.pid, row.tp_rank) for row in rows[1]] == [(8, 1)]


def test_a_slurm_job_is_found_in_an_ancestors_environment() -> None:
    """A worker whose title wiped its environment still belongs to its parent's job."""
    facts = {
        5: ProcessFacts(pid=5, environ={"SLURM_JOB_ID": "99"}),
        7: ProcessFacts(pid=7, ppid=5, command=("VLLM::Worker_TP0",), environ={}),
    }
    assert attribute({0: [GpuProcess(pid=7, kind="compute")]}, facts)[0][0].slurm_job == "99"


def test_long_and_hostile_command_lines() -> None:
    """A command line is cut, and what would move a terminal's cursor is spelled out."""
    facts = {7: ProcessFacts(pid=7, command=("a\x1b[2J\n", "x" * 9000))}
    command = attribute({0: [GpuProcess(pid=7, kind="compute")]}, facts)[0][0].command
    assert command is not None
    assert command.startswith("a\\x1b[2J\\n xxx")
    assert len(command) == COMMAND_CHARACTERS


def test_a_process_without_arguments_is_called_by_its_short_name() -> None:
    """Where there is no command line the name stands alone."""
    facts = {7: ProcessFacts(pid=7, name="[python]", command=()), 8: ProcessFacts(pid=8, user="ada")}
    rows = attribute({0: [GpuProcess(pid=7, kind="compute"), GpuProcess(pid=8, kind="compute")]}, facts)[0]
    assert [(row.name, row.command, row.visible) for row in rows] == [("[python]", None, True), (None, None, True)]


@given(
    st.dictionaries(
        st.integers(0, 3),
        st.lists(
            st.builds(
                GpuProcess,
                pid=st.integers(0, 6),
                kind=st.sampled_from(["compute", "graphics", "mps"]),
                memory_bytes=st.none() | st.integers(0, 1 << 40),
                gpu_instance=st.none() | st.integers(0, 2),
            ),
            max_size=6,
        ),
    ),
    st.dictionaries(
        st.integers(0, 6),
        st.tuples(st.none() | st.lists(st.text(max_size=9), max_size=4).map(tuple), st.none() | st.text()),
    ),
)
def test_every_listed_process_has_a_row(
    listed: dict[int, list[GpuProcess]], seen: dict[int, tuple[tuple[str, ...] | None, str | None]]
) -> None:
    """Whatever the driver lists and the host knows, each PID of each GPU has its row, and JSON carries it."""
    facts = {pid: ProcessFacts(pid=pid, command=command, cgroup=cgroup) for pid, (command, cgroup) in seen.items()}
    rows = attribute(listed, facts)
    assert {gpu: {row.pid for row in one} for gpu, one in rows.items()} == {
        gpu: {one.pid for one in processes} for gpu, processes in listed.items()
    }
    json.encode({str(gpu): one for gpu, one in rows.items()})


def test_what_a_process_may_see_is_its_own_word_or_its_ancestors() -> None:
    """An engine that wrote its title over its environment inherits what its server was given; odd bytes are spelled out."""
    facts = {
        7: ProcessFacts(pid=7, ppid=6, command=("VLLM::Worker_TP0",), environ={}),
        6: ProcessFacts(pid=6, ppid=5, command=("VLLM::EngineCore",)),
        5: ProcessFacts(pid=5, ppid=1, command=("vllm", "serve"), environ={"CUDA_VISIBLE_DEVICES": "0,1"}),
        9: ProcessFacts(pid=9, ppid=5, command=("python",), environ={"CUDA_VISIBLE_DEVICES": "2\x1b"}),
    }
    rows = attribute({0: [GpuProcess(pid=7, kind="compute"), GpuProcess(pid=9, kind="compute")]}, facts)[0]
    assert [row.visible_gpus for row in rows] == ["0,1", "2\\x1b"]
