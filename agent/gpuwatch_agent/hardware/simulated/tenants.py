"""Who runs on each simulated machine."""

import random

from gpuwatch_agent.hardware.simulated import processes
from gpuwatch_agent.hardware.simulated.processes import SimulatedProcess

_ROW = tuple(range(8))


def on_h100(chance: random.Random) -> list[SimulatedProcess]:
    """A chat model over all GPUs, and two small models beside it on each."""
    chat, embed, rerank = (processes.pod(chance) for _ in range(3))
    found = [
        processes.init(),
        *processes.vllm(
            chat,
            pid=40826,
            job="chat",
            gpus=_ROW,
            model="meta-llama/Llama-3.1-70B-Instruct",
            memory_gib=66.2,
        ),
        processes.shim(52110),
        processes.shim(52740),
    ]
    for gpu in _ROW:
        # Small neighbours, alike on all GPUs: a healthy node has them, and they are no reason to worry.
        for base, job, place, model, size in (
            (52131, "embed", embed, "BAAI/bge-m3", 2.4),
            (52763, "rerank", rerank, "BAAI/bge-reranker-v2-m3", 3.0),
        ):
            found.append(
                processes.server(
                    place,
                    pid=base + 11 * gpu,
                    parent=52110 if job == "embed" else 52740,
                    job=job,
                    command=("/usr/local/bin/text-embeddings-router", "--model-id", model, "--port", str(8080 + gpu)),
                    memory_gib={gpu: size},
                    user="serve",
                    environ={"CUDA_VISIBLE_DEVICES": str(gpu)},
                    cpus=0.05,
                )
            )
    return found


def on_slurm(chance: random.Random, *, gpus: tuple[int, ...], memory_gib: float) -> list[SimulatedProcess]:
    """One training job of one user."""
    del chance  # a Slurm job's place holds nothing of chance
    job = "417733"
    return [
        processes.init(),
        *processes.torchrun(
            processes.slurm(int(job)),
            pid=218_401,
            job="pretrain",
            gpus=gpus,
            script=("train.py", "--config", "configs/7b.yaml"),
            memory_gib=memory_gib,
            user="ada",
            slurm_job=job,
        ),
    ]


def on_bridged(chance: random.Random) -> list[SimulatedProcess]:
    """A fine-tuning run from a login shell."""
    del chance  # run from a login, not from a container
    return [
        processes.init(),
        *processes.torchrun(
            processes.login(),
            pid=91_200,
            job="finetune",
            gpus=(0, 1, 2, 3),
            script=("finetune_lora.py", "--model", "Qwen/Qwen2.5-14B"),
            memory_gib=19.6,
            user="lin",
        ),
    ]


def on_llama_cpp(chance: random.Random) -> list[SimulatedProcess]:
    """One server over both GPUs, and the desktop."""
    return [
        processes.init(),
        processes.server(
            processes.docker(chance),
            pid=31_844,
            job="llama",
            command=("/app/llama-server", "-m", "/models/llama-3.3-70b-q4_k_m.gguf", "-ngl", "99", "-ts", "0.55,0.45"),
            memory_gib={0: 21.3, 1: 18.9},
            user="root",
            cpus=0.9,
        ),
        SimulatedProcess(
            pid=2_412,
            ppid=1,
            user="root",
            name="Xorg",
            command=("/usr/lib/xorg/Xorg", "vt1"),
            environ={},
            cgroup="0::/system.slice/gdm.service",
            started_s=900_000.0,
            cpus=0.01,
            memory={0: 96 << 20},
            kind="graphics",
        ),
    ]


def on_l4(chance: random.Random) -> list[SimulatedProcess]:
    """One small service."""
    return [
        processes.init(),
        processes.shim(8_300),
        processes.server(
            processes.pod(chance, "besteffort"),
            pid=8_342,
            parent=8_300,
            job="whisper",
            command=("/usr/bin/python3", "-m", "whisper_service", "--model", "large-v3"),
            memory_gib={0: 9.7},
            user="nobody",
        ),
    ]


def on_mig(chance: random.Random) -> list[SimulatedProcess]:
    """Two tenants, each in an instance of its own."""
    found = [processes.init()]
    for pid, job, instance, memory in ((60_510, "notebook", 2, 21.0), (61_770, "extract", 5, 12.4)):
        found.append(processes.shim(pid - 21))
        found.append(
            processes.server(
                processes.pod(chance),
                pid=pid,
                parent=pid - 21,
                job=job,
                command=("python3", "-m", "vllm.entrypoints.openai.api_server", "--model", f"acme/{job}-8b"),
                memory_gib={0: memory},
                user="tenant",
                gpu_instance=instance,
            )
        )
    return found


def nobody(chance: random.Random) -> list[SimulatedProcess]:
    """Nothing that uses a GPU."""
    del chance  # there is nothing to choose
    return [processes.init()]


def on_dgx2(chance: random.Random) -> list[SimulatedProcess]:
    """The training job over all sixteen."""
    return on_slurm(chance, gpus=tuple(range(16)), memory_gib=27.5)
