from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from gpuwatch_agent.attribution.ras import Communicator, Rank
from gpuwatch_agent.attribution.tensor_parallel import Membership, infer
from gpuwatch_agent.hardware.base import ProcessFacts

Row = tuple[int, int, str] | tuple[int, int, str, dict[str, str] | None]


def processes(*rows: Row) -> dict[int, ProcessFacts]:
    """Facts from (pid, ppid, command line, environment); a title with a space is written with an underscore here."""
    found = {}
    for pid, ppid, line, *environ in rows:
        found[pid] = ProcessFacts(
            pid=pid, ppid=ppid, command=tuple(line.split()), environ=environ[0] if environ else None, session=ppid
        )
    return found


def one_each(*pids: int) -> dict[int, list[int]]:
    return {pid: [gpu] for gpu, pid in enumerate(pids)}


def places(found: Mapping[int, Membership]) -> dict[int, tuple[str | None, int | None, int | None, str | None]]:
    return {pid: (one.group, one.rank, one.size, one.split) for pid, one in found.items()}


def ranks(count: int, **more: str) -> list[dict[str, str]]:
    return [{"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_PORT": "29500", **more} for rank in range(count)]


def test_vllm_workers_are_a_group_of_their_engine() -> None:
    """Titles give the ranks, the server's command line the size and the model, the parent the group."""
    facts = processes(
        (10, 1, "python /opt/bin/vllm serve meta-llama/Llama-3.1-70B --tensor-parallel-size 2"),
        (20, 10, "VLLM::EngineCore"),
        (31, 20, "VLLM::Worker_TP1"),
        (30, 20, "VLLM::Worker_TP0"),
    )
    found = infer(facts, one_each(31, 30))
    group = "vllm:meta-llama/Llama-3.1-70B@20"
    assert places(found) == {30: (group, 0, 2, "tensor"), 31: (group, 1, 2, "tensor")}
    assert found[30].source == 'process title "VLLM::Worker_TP0"'


def test_pipeline_stages_and_replicas_are_groups_apart() -> None:
    """Only ranks of the same replica and stage wait for each other in every layer."""
    facts = processes(
        (20, 1, "VLLM::EngineCore_DP0"),
        (21, 1, "VLLM::EngineCore_DP1"),
        (30, 20, "VLLM::Worker_DP0_PP0_TP0"),
        (31, 20, "VLLM::Worker_DP0_PP1_TP0"),
        (32, 21, "VLLM::Worker_DP1_PP0_TP0"),
    )
    groups = {one.group for one in infer(facts, one_each(30, 31, 32)).values()}
    assert groups == {"vllm@20/dp0/pp0", "vllm@20/dp0/pp1", "vllm@21/dp1/pp0"}


def test_stages_and_replicas_of_one_gpu_are_no_group() -> None:
    """A pipeline stage or a replica on one GPU has no rank to wait for; its kind of split is told."""
    facts = processes(
        (1, 0, "init"),
        (20, 1, "VLLM::EngineCore_DP0"),
        (21, 1, "VLLM::EngineCore_DP1"),
        (30, 9, "VLLM::Worker_PP0"),
        (31, 9, "VLLM::Worker_PP1"),
    )
    assert places(infer(facts, one_each(20, 21, 30, 31))) == {
        20: (None, None, None, "data"),
        21: (None, None, None, "data"),
        30: (None, None, None, "pipeline"),
        31: (None, None, None, "pipeline"),
    }


def test_a_worker_with_a_stray_context_keeps_its_title() -> None:
    """A rank that also shows on GPU 0 is no layer split: titles are trusted before GPUs."""
    facts = processes((20, 1, "VLLM::EngineCore"), (30, 20, "VLLM::Worker_TP0"), (31, 20, "VLLM::Worker_TP1"))
    found = infer(facts, {30: [0], 31: [0, 1]})
    assert places(found)[31] == ("vllm@20", 1, None, "tensor")


def test_a_title_beyond_the_size_leaves_the_size_open() -> None:
    """Where title and command line disagree the title is trusted and the size is not shown."""
    facts = processes((10, 1, "vllm serve Qwen/Q -tp 2"), (30, 10, "VLLM::Worker_TP3"))
    assert places(infer(facts, one_each(30))) == {30: ("vllm:Qwen/Q@10", 3, None, "tensor")}


def test_missing_ranks_are_not_filled_up() -> None:
    """Ranks 1 and 3 stay 1 and 3 when the others are dead or hidden."""
    facts = processes((30, 20, "VLLM::Worker_TP3"), (31, 20, "VLLM::Worker_TP1"))
    assert {pid: one.rank for pid, one in infer(facts, one_each(30, 31)).items()} == {30: 3, 31: 1}


def test_sglang_replicas_are_apart_unless_attention_is_what_is_replicated() -> None:
    """With --enable-dp-attention all schedulers share their feed-forward layers and are one group."""
    workers: list[Row] = [(30, 10, "sglang::scheduler_DP0_TP0"), (31, 10, "sglang::scheduler_DP1_TP1")]
    command = "python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp 2 --dp 2"
    apart = infer(processes((10, 1, command), *workers), one_each(30, 31))
    together = infer(processes((10, 1, f"{command} --enable-dp-attention"), *workers), one_each(30, 31))
    name = "sglang:deepseek-ai/DeepSeek-V3@10"
    assert [one.group for one in apart.values()] == [f"{name}/dp0", f"{name}/dp1"]
    assert places(together) == {30: (name, 0, 2, "tensor"), 31: (name, 1, 2, "tensor")}


def test_an_engine_on_one_gpu_is_no_group() -> None:
    """Older SGLang says TP0 though there is only one rank, and the command line tells so."""
    facts = processes((10, 1, "sglang serve --model-path Q/q --tp 1"), (30, 10, "sglang::scheduler_TP0"))
    assert infer(facts, one_each(30)) == {}
    assert infer(processes((10, 1, "vllm serve Qwen/Q")), one_each(10)) == {}


def test_old_vllm_workers_join_their_driver_without_ranks() -> None:
    """Workers of vLLM's older engine are not numbered: a group without ranks, the driver in the parent included."""
    facts = processes((10, 1, "vllm serve Qwen/Q -tp 3"), (30, 10, "VllmWorkerProcess"), (31, 10, "VllmWorkerProcess"))
    place = ("vllm:Qwen/Q@10", None, 3, "tensor")
    assert places(infer(facts, one_each(10, 30, 31))) == {10: place, 30: place, 31: place}


def test_untitled_workers_are_grouped_by_the_command_line() -> None:
    """Spawned children without a title share their engine's group; their ranks stay unknown."""
    spawned = "python -c spawn_main() --multiprocessing-fork"
    facts = processes((10, 1, "vllm serve Qwen/Q -tp 2"), (30, 10, spawned), (31, 10, spawned))
    found = infer(facts, one_each(30, 31))
    place = ("vllm:Qwen/Q@10", None, 2, "tensor")
    assert places(found) == {30: place, 31: place}
    assert found[30].source == "command line of PID 10: -tp 2"


def test_more_workers_than_ranks_are_not_guessed_into_groups() -> None:
    """Two by two workers without titles could pair in several ways: the split is told, the group is not."""
    facts = processes((10, 1, "vllm serve Qwen/Q -tp 2 -pp 2"), *[(pid, 10, "python -c x") for pid in range(30, 34)])
    assert set(places(infer(facts, one_each(30, 31, 32, 33))).values()) == {(None, None, 2, "tensor")}


def test_the_parent_of_ranks_is_no_rank() -> None:
    """An API server that holds a context on a GPU does not become a group of its own."""
    facts = processes((10, 1, "vllm serve Qwen/Q -tp 2"), (30, 10, "VLLM::Worker_TP0"), (31, 10, "VLLM::Worker_TP1"))
    assert set(infer(facts, {10: [0], 30: [0], 31: [1]})) == {30, 31}


def test_tgi_shards_take_their_rank_from_the_environment() -> None:
    """The launcher's --num-shard makes tensor ranks of what the environment numbers."""
    shard = "/opt/conda/bin/text-generation-server serve bigscience/bloom --sharded"
    facts = processes(
        (10, 1, "text-generation-launcher --model-id bigscience/bloom"),
        *[(30 + rank, 10, shard, environ) for rank, environ in enumerate(ranks(2))],
    )
    group = "tgi:bigscience/bloom@10"
    found = infer(facts, one_each(30, 31))
    assert places(found) == {30: (group, 0, 2, "tensor"), 31: (group, 1, 2, "tensor")}


def test_megatron_ranks_split_into_tensor_groups() -> None:
    """Of four ranks with tensor size two, 0 and 1 are a group and 2 and 3 another."""
    script = "python pretrain_gpt.py --tensor-model-parallel-size 2"
    facts = processes(
        (10, 1, "torchrun --nproc-per-node 4 pretrain_gpt.py --tensor-model-parallel-size 2"),
        *[(30 + rank, 10, script, environ) for rank, environ in enumerate(ranks(4))],
    )
    name = "distributed:pretrain_gpt.py@10"
    assert places(infer(facts, one_each(30, 31, 32, 33))) == {
        30: (f"{name}/g0", 0, 2, "tensor"),
        31: (f"{name}/g0", 1, 2, "tensor"),
        32: (f"{name}/g1", 0, 2, "tensor"),
        33: (f"{name}/g1", 1, 2, "tensor"),
    }


def test_tensorrt_llm_under_mpi() -> None:
    """MPI's numbers are the tensor ranks of trtllm-serve, through the wrapper that each rank has."""
    command = "/usr/local/bin/trtllm-serve nvidia/M --tp_size 2"
    rows: list[Row] = [(10, 1, "mpirun -n 2 run.sh")]
    for rank in range(2):
        environ = {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2"}
        rows += [(20 + rank, 10, "bash run.sh", environ), (30 + rank, 20 + rank, command, environ)]
    found = infer(processes(*rows), one_each(30, 31))
    group = "tensorrt-llm:nvidia/M@10"
    assert places(found) == {30: (group, 0, 2, "tensor"), 31: (group, 1, 2, "tensor")}


def test_torchrun_alone_is_data_parallel() -> None:
    """RANK and WORLD_SIZE make a group in lockstep, of kind data as long as nothing speaks of tensors."""
    facts = processes(
        (10, 1, "python -m torch.distributed.run --nproc-per-node 2 train.py"),
        *[(30 + rank, 10, "python -u train.py", environ) for rank, environ in enumerate(ranks(2))],
    )
    found = infer(facts, one_each(30, 31))
    group = "torchrun:train.py@10"
    assert places(found) == {30: (group, 0, 2, "data"), 31: (group, 1, 2, "data")}
    assert found[31].source == "environment: RANK=1 WORLD_SIZE=2"


def test_a_helper_does_not_take_its_ranks_place() -> None:
    """A child that inherited RANK from the rank above it is a helper; it gets no rank, its parent keeps it."""
    env = ranks(2)
    facts = processes(
        (10, 1, "torchrun train.py"),
        (30, 10, "python train.py", env[0]),
        (31, 10, "python train.py", env[1]),
        (40, 30, "python eval.py", env[0]),
    )
    assert {pid: one.rank for pid, one in infer(facts, one_each(30, 31, 40)).items()} == {30: 0, 31: 1}


def test_equals_with_one_rank_lose_it() -> None:
    """Two processes that claim the same rank, neither above the other: nobody can tell, so no rank is shown."""
    env = ranks(2)[0]
    facts = processes((30, 10, "python a.py", env), (31, 10, "python a.py", env))
    found = infer(facts, one_each(30, 31))
    assert {one.rank for one in found.values()} == {None}
    assert "several processes claim" in (found[30].source or "")


def test_jobs_side_by_side_stay_apart() -> None:
    """Two jobs that one shell started by hand differ in their port, two torchruns in their parent."""
    first, second = ranks(2), ranks(2, MASTER_PORT="29501")
    facts = processes(
        (10, 1, "bash"),
        *[(30 + rank, 10, "python train.py", environ) for rank, environ in enumerate([*first, *second])],
    )
    groups = [one.group for one in infer(facts, one_each(30, 31, 32, 33)).values()]
    expected = ["distributed:train.py@10:29500"] * 2 + ["distributed:train.py@10:29501"] * 2
    assert groups == expected


def test_ranks_whose_environment_is_hidden_are_a_group_without_ranks() -> None:
    """Another user's torchrun job: the parent tells group and size, nothing tells the ranks."""
    facts = processes(
        (10, 1, "torchrun --nproc-per-node 2 train.py"), (30, 10, "python train.py"), (31, 10, "python train.py")
    )
    place = ("torchrun:train.py@10", None, 2, "data")
    assert places(infer(facts, one_each(30, 31))) == {30: place, 31: place}


def test_a_batch_script_is_no_slurm_rank() -> None:
    """SLURM_PROCID=0 of many stands in every batch script; only several ranks of a step are a group."""
    task = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}
    rows: list[Row] = [(30 + rank, 10, "python t.py", {**task, "SLURM_PROCID": str(rank)}) for rank in range(2)]
    assert infer(processes(rows[0]), one_each(30)) == {}
    place = [(one.rank, one.size, one.split) for one in infer(processes(*rows), one_each(30, 31)).values()]
    assert place == [(0, 2, "data"), (1, 2, "data")]


def test_a_world_of_one_is_no_group() -> None:
    """A training script on one GPU has nobody to wait for."""
    assert infer(processes((30, 10, "python t.py", ranks(1)[0])), one_each(30)) == {}


def test_one_process_on_several_gpus_is_a_layer_split() -> None:
    """Ollama and friends spread layers: no group, no rank, no alarm later."""
    found = infer(processes((30, 1, "ollama runner --model /b/sha256-0a")), {30: [0, 1]})
    assert found == {30: Membership(split="layer", source="one process on 2 GPUs")}


def test_llama_cpp_may_split_tensors() -> None:
    """--split-mode tensor or row, in the command or in the environment, is tensor parallelism in one process."""
    flagged = infer(processes((30, 1, "llama-server -m /m/q.gguf --split-mode tensor")), {30: [0, 1]})
    by_variable = infer(
        processes((30, 1, "llama-server -m /m/q.gguf", {"LLAMA_ARG_SPLIT_MODE": "row"})), {30: [0, 1, 2]}
    )
    default = infer(processes((30, 1, "llama-server -m /m/q.gguf")), {30: [0, 1]})
    assert places(flagged) == {30: ("llama.cpp:q.gguf@30", None, 2, "tensor")}
    assert places(by_variable) == {30: ("llama.cpp:q.gguf@30", None, 3, "tensor")}
    assert places(default) == {30: (None, None, None, "layer")}


def test_tensor_parallel_in_one_process() -> None:
    """The engine of lmdeploy drives all its GPUs from one process: a group without ranks."""
    found = infer(processes((30, 1, "lmdeploy serve api_server internlm/i --tp 2")), {30: [0, 1]})
    assert places(found) == {30: ("lmdeploy:internlm/i@30", None, 2, "tensor")}


def test_hidden_processes_are_left_out() -> None:
    """A PID that can't be seen has no membership, and the others keep theirs."""
    facts = processes((30, 20, "VLLM::Worker_TP0"))
    assert set(infer(facts, one_each(30, 99))) == {30}


def test_a_loop_of_parents_ends() -> None:
    """Facts read at different moments may name each other as parents."""
    facts = processes((30, 31, "python a.py", ranks(2)[0]), (31, 30, "python a.py", ranks(2)[0]))
    assert set(infer(facts, one_each(30, 31))) <= {30, 31}


WORDS = st.sampled_from(
    [
        "python", "vllm", "serve", "Q/q", "-tp", "2", "4", "torchrun", "--nproc-per-node", "VLLM::Worker_TP0",
        "VLLM::Worker_DP1_TP1", "sglang::scheduler_TP0_PP1", "VllmWorkerProcess", "--tensor-parallel-size", "-pp", "-c",
        "llama-server", "-sm", "row", "VLLM::EngineCore", "text-generation-server", "mpirun", "\udcff", "",
    ]
)  # fmt: skip


@given(
    st.dictionaries(
        st.integers(0, 12),
        st.tuples(
            st.integers(-1, 12),
            st.none() | st.lists(WORDS, max_size=5),
            st.none()
            | st.dictionaries(
                st.sampled_from(["RANK", "WORLD_SIZE", "SLURM_PROCID"]), st.sampled_from(["0", "1", "2", "-1", "²"])
            ),
        ),
    ),
    st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 3), max_size=3)),
)
def test_ranks_are_unique_and_within_their_group(
    rows: Mapping[int, tuple[int, Sequence[str] | None, dict[str, str] | None]], gpus_of: Mapping[int, Sequence[int]]
) -> None:
    """Whatever runs, every rank is held once, is below its group's size, and belongs to a group."""
    facts = {
        pid: ProcessFacts(pid=pid, ppid=ppid, command=None if argv is None else tuple(argv), environ=environ)
        for pid, (ppid, argv, environ) in rows.items()
    }
    held = set()
    for one in infer(facts, gpus_of).values():
        assert one.source
        if one.rank is not None:
            assert one.group is not None
            assert one.size is None or one.rank < one.size
            assert (one.group, one.rank) not in held
            held.add((one.group, one.rank))


def spoken(size: int, *ranks: tuple[int, int, int], name: str = "0xabcdef0123", collectives: int = 9) -> Communicator:
    """A communicator from (rank, PID, GPU)."""
    seats = tuple(Rank(rank=rank, pid=pid, gpu=gpu) for rank, pid, gpu in ranks)
    return Communicator(id=name, size=size, ranks=seats, collectives=collectives)


def test_nccls_own_word_comes_first_and_keeps_the_group_s_name() -> None:
    """Ranks as NCCL numbers them, under the name that the group had before NCCL was heard, and has when it is not."""
    facts = processes(
        (20, 1, "python /opt/bin/vllm serve Qwen/Qwen3-32B -tp 2"), (30, 20, "python -c x"), (31, 20, "python -c x")
    )
    before = infer(facts, one_each(30, 31))
    found = infer(facts, one_each(30, 31), [spoken(2, (1, 30, 0), (0, 31, 1))])
    assert before[30].group == found[30].group == "vllm:Qwen/Qwen3-32B@20"
    assert (before[30].rank, found[30].rank, found[31].rank) == (None, 1, 0)
    assert (found[30].source, found[30].split, found[30].size) == ("NCCL RAS", "tensor", 2)


def test_of_several_communicators_the_one_of_the_tensor_parallel_size() -> None:
    """The world is larger and may be as busy: the engine's own flag says which one splits the tensors."""
    facts = processes(
        (20, 1, "python pretrain.py"),
        *((30 + rank, 20, "python pretrain.py --tensor-model-parallel-size 2") for rank in range(4)),
    )
    world = spoken(4, *((rank, 30 + rank, rank) for rank in range(4)), name="0x1111", collectives=99)
    halves = [spoken(2, (0, 30, 0), (1, 31, 1), name="0x2222"), spoken(2, (0, 32, 2), (1, 33, 3), name="0x3333")]
    found = infer(facts, one_each(30, 31, 32, 33), [world, *halves])
    assert places(found) == {
        30: ("nccl:pretrain.py@20/2222", 0, 2, "tensor"),
        31: ("nccl:pretrain.py@20/2222", 1, 2, "tensor"),
        32: ("nccl:pretrain.py@20/3333", 0, 2, "tensor"),
        33: ("nccl:pretrain.py@20/3333", 1, 2, "tensor"),
    }
    assert {one.source for one in infer(facts, one_each(30, 31, 32, 33), [world]).values()} != {"NCCL RAS"}


def test_without_a_size_the_busiest_communicator_counts() -> None:
    """Where it is felt most that one is late; of equally busy ones the largest."""
    facts = processes(*((30 + rank, 20, "python job.py") for rank in range(3)))
    world = spoken(3, *((rank, 30 + rank, rank) for rank in range(3)), name="0x1111", collectives=5)
    pair = spoken(2, (0, 30, 0), (1, 31, 1), name="0x2222", collectives=800)
    found = infer(facts, one_each(30, 31, 32), [world, pair])
    assert [found[pid].size for pid in (30, 31, 32)] == [2, 2, 3]
    quiet = spoken(2, (0, 30, 0), (1, 31, 1), name="0x2222", collectives=5)
    assert infer(facts, one_each(30, 31, 32), [quiet, world])[30].size == 3


def test_a_pid_of_another_namespace_is_found_by_its_gpu() -> None:
    """Two containers may both have a PID 7: the GPU tells which is meant, and neither is taken where it does not."""
    facts = {
        pid: ProcessFacts(pid=pid, ppid=1, command=("python", "job.py"), namespace_pid=7 + (pid == 902))
        for pid in (900, 901, 902)
    }
    said = [spoken(2, (0, 7, 0), (1, 8, 2))]
    found = infer(facts, {900: [0], 901: [1], 902: [2]}, said)
    assert {pid: one.rank for pid, one in found.items()} == {900: 0, 902: 1}
    assert infer(facts, {900: [0], 901: [0], 902: [2]}, said) == {}


def test_a_pid_on_another_gpu_is_somebody_else() -> None:
    """The PID alone proves nothing: NCCL's rank is on a GPU on which the driver does not list that process."""
    facts = processes((30, 20, "python job.py"), (31, 20, "python job.py"))
    assert infer(facts, one_each(30, 31), [spoken(2, (0, 30, 5), (1, 31, 1))]) == {}


def test_one_process_that_is_several_ranks() -> None:
    """It has a place on each of its GPUs, so that no single number is its rank."""
    facts = processes((30, 20, "python job.py"), (31, 20, "python job.py"))
    found = infer(facts, {30: [0, 1], 31: [2]}, [spoken(3, (0, 30, 0), (1, 30, 1), (2, 31, 2))])
    assert [(found[pid].rank, found[pid].size) for pid in (30, 31)] == [(None, 3), (2, 3)]
