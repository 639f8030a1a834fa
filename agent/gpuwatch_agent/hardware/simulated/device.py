"""One simulated GPU, answering as its driver would: also with what it refuses to tell."""

from collections.abc import Sequence

from gpuwatch_agent.hardware.base import (
    Activity,
    Bar1,
    Clocks,
    Codecs,
    Device,
    Fans,
    GpuProcess,
    Identity,
    Limits,
    Memory,
    MemoryHealth,
    MigState,
    Modes,
    NvLinks,
    NvLinkTraffic,
    PcieHealth,
    PcieLink,
    PcieTraffic,
    Placement,
    Power,
    Processes,
    Profile,
    RawReading,
    Thermals,
    Throttle,
    Tier,
)
from gpuwatch_agent.hardware.simulated import health
from gpuwatch_agent.hardware.simulated.boards import MIB
from gpuwatch_agent.hardware.simulated.node import Node
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.gpu import Mig, MigInstance

_HELD_BY_DRIVER = 5 * MIB
_BAR1_USED = 2 * MIB
# Counters of bytes are 64 bits wide where boards have them.
_WRAPS_AT = 1 << 64


def _percent(part: float) -> float:
    return round(100.0 * min(1.0, max(0.0, part)), 1)


def _lacking(reading: RawReading, reason: Absence, *names: str) -> None:
    for name in names:
        reading.absent[name] = reason


class SimulatedDevice:
    """One GPU of a simulated machine, from its coming to its going; its identity is told even when nothing else is."""

    def __init__(self, node: Node, index: int, generation: int) -> None:
        self.index = index
        self.generation = generation
        self._node = node
        self._board = node.machine.board
        self._birth = node.birthmarks[index]
        self._gpu = node.running.gpus[index]
        self._demand = node.running.demands[index]

    def begin(self, tier: Tier) -> None:  # noqa: ARG002  # all tiers meet the same driver
        self._node.answer(self.index, self.generation)

    def identity(self) -> Identity:
        board, machine = self._board, self._node.machine
        reading = Identity(
            index=self.index,
            uuid=self._birth.uuid,
            name=board.name,
            pci_bus_id=self.pci_bus_id,
            numa_node=machine.numa[self.index],
            architecture=board.architecture,
            vbios_version=board.vbios_version,
            serial=self._birth.serial if board.has_serial else None,
            sm_clock_max_mhz=board.sm_clock_max_mhz,
            memory_clock_max_mhz=board.memory_clock_max_mhz,
        )
        if not board.has_serial:
            _lacking(reading, Absence.NOT_SUPPORTED, "serial")
        return reading

    @property
    def pci_bus_id(self) -> str:
        return f"00000000:{self._node.machine.bus[self.index]}:00.0"

    def activity(self) -> Activity:
        with self._node.answer(self.index, self.generation):
            if self._node.machine.slices:
                reading = Activity()
                _lacking(reading, Absence.NOT_SUPPORTED, "utilization_pct", "memory_utilization_pct")
                return reading
            demand = self._demand
            return Activity(
                utilization_pct=float(round(_percent(demand.utilization))),
                memory_utilization_pct=float(round(_percent(demand.memory_utilization))),
            )

    def codecs(self) -> Codecs:
        with self._node.answer(self.index, self.generation):
            reading = Codecs()
            if self._node.machine.slices:
                _lacking(reading, Absence.NOT_SUPPORTED, "encoder_pct", "decoder_pct")
            else:
                reading.encoder_pct = reading.decoder_pct = 0.0
            return reading

    def memory(self) -> Memory:
        with self._node.answer(self.index, self.generation):
            used = sum(self._held().values())
            return Memory(
                memory_used_bytes=_HELD_BY_DRIVER + used,
                memory_total_bytes=self._board.memory_bytes,
                memory_reserved_bytes=self._board.reserved_bytes,
            )

    def _held(self) -> dict[int, int]:
        """Bytes by PID; a fault's extra goes to the largest, as far as there is room."""
        gpu = self.index
        held = {process.pid: process.memory[gpu] for process in self._node.on_gpu(gpu)}
        extra = self._node.running.conditions[gpu].extra_memory_bytes
        if extra and held:
            room = self._board.memory_bytes - self._board.reserved_bytes - 2 * _HELD_BY_DRIVER - sum(held.values())
            held[max(held, key=lambda pid: held[pid])] += max(0, min(extra, room))
        return held

    def bar1(self) -> Bar1:
        with self._node.answer(self.index, self.generation):
            return Bar1(bar1_used_bytes=_BAR1_USED, bar1_total_bytes=self._board.bar1_bytes)

    def power(self) -> Power:
        with self._node.answer(self.index, self.generation):
            gpu = self._gpu
            reading = Power(energy_j=self._birth.energy_j + gpu.energy_j + gpu.power_w * self._node.running.into_step_s)
            if self._board.has_average_power:
                reading.power_w = round((gpu.power_before_w + gpu.power_w) / 2.0, 3)
                reading.power_instant_w = round(gpu.power_w, 3)
            else:
                reading.power_w = round(gpu.power_w, 3)
                _lacking(reading, Absence.NOT_SUPPORTED, "power_instant_w")
            return reading

    def thermals(self) -> Thermals:
        with self._node.answer(self.index, self.generation):
            board, celsius = self._board, self._gpu.temperature_c
            reading = Thermals(temperature_c=float(round(celsius)))
            if board.has_memory_temperature:
                reading.memory_temperature_c = float(round(celsius + board.memory_warmer_c))
            else:
                _lacking(reading, Absence.NOT_SUPPORTED, "memory_temperature_c")
            if board.speaks_margin:
                reading.temperature_margin_c = float(board.temperature_throttle_c - round(celsius))
            else:
                _lacking(reading, Absence.NOT_SUPPORTED, "temperature_margin_c")
            return reading

    def limits(self) -> Limits:
        with self._node.answer(self.index, self.generation):
            board = self._board
            lowered = self._node.running.conditions[self.index].power_limit_w
            return Limits(
                power_limit_w=float(board.power_limit_w if lowered is None else lowered),
                power_limit_default_w=float(board.power_limit_w),
                power_limit_min_w=float(board.power_limit_min_w),
                power_limit_max_w=float(board.power_limit_max_w),
                temperature_slowdown_c=float(board.temperature_slowdown_c),
                temperature_shutdown_c=float(board.temperature_shutdown_c),
            )

    def fans(self) -> Fans:
        with self._node.answer(self.index, self.generation):
            if not self._board.fans:
                return Fans(absent={"fans_pct": Absence.NOT_SUPPORTED})
            dead = self._node.running.conditions[self.index].dead_fans
            speed = float(round(_percent(self._gpu.fan)))
            return Fans(fans_pct=[0.0 if fan < dead else speed for fan in range(self._board.fans)])

    def clocks(self) -> Clocks:
        with self._node.answer(self.index, self.generation):
            board, gpu = self._board, self._gpu
            if not gpu.active:
                return Clocks(
                    sm_clock_mhz=board.sm_clock_idle_mhz,
                    memory_clock_mhz=board.memory_clock_idle_mhz,
                    pstate=board.pstate_idle,
                )
            steps = round(gpu.clock * board.sm_clock_boost_mhz / board.clock_step_mhz)
            return Clocks(
                sm_clock_mhz=min(board.sm_clock_boost_mhz, steps * board.clock_step_mhz),
                memory_clock_mhz=board.memory_clock_busy_mhz,
                pstate=board.pstate_busy,
            )

    def throttle(self) -> Throttle:
        with self._node.answer(self.index, self.generation):
            gpu, into_step_s = self._gpu, self._node.running.into_step_s
            return Throttle(
                throttle_reasons=list(gpu.reasons),
                throttle_seconds={
                    reason: self._birth.throttle_s[reason] + seconds + (into_step_s if reason in gpu.reasons else 0.0)
                    for reason, seconds in gpu.throttle_s.items()
                },
            )

    def profile(self) -> Profile:
        with self._node.answer(self.index, self.generation):
            activities = {
                "engine_activity_pct": self._demand.utilization,
                "sm_activity_pct": self._demand.sm,
                "sm_occupancy_pct": self._demand.occupancy,
                "tensor_activity_pct": self._demand.tensor,
                "dram_activity_pct": self._demand.dram,
            }
            traffic = ("pcie_tx_bytes_per_s", "pcie_rx_bytes_per_s")
            reading = Profile()
            if not self._board.has_gpm:
                _lacking(reading, Absence.NOT_SUPPORTED, *activities, *traffic)
            elif self._node.running.conditions[self.index].denied:
                _lacking(reading, Absence.NO_PERMISSION, *activities, *traffic)
            elif not self._gpu.active:
                _lacking(reading, Absence.GPU_IDLE, *activities, *traffic)
            else:
                for name, part in activities.items():
                    setattr(reading, name, _percent(part))
                for name in traffic:
                    setattr(reading, name, self._demand.pcie)
            return reading

    def pcie_traffic(self) -> PcieTraffic:
        with self._node.answer(self.index, self.generation):
            reading = PcieTraffic(wraps_at=_WRAPS_AT)
            if not self._board.has_pcie_counters:
                reading.wraps_at = None
                _lacking(reading, Absence.NOT_SUPPORTED, "tx_bytes", "rx_bytes")
                return reading
            moved = int(self._gpu.pcie_bytes + self._demand.pcie * self._node.running.into_step_s)
            reading.tx_bytes = self._birth.pcie_tx_bytes + moved
            reading.rx_bytes = self._birth.pcie_rx_bytes + moved
            return reading

    def pcie_link(self) -> PcieLink:
        with self._node.answer(self.index, self.generation):
            board, machine = self._board, self._node.machine
            now = self._node.running.conditions[self.index]
            generation = min(board.pcie_gen, now.pcie_gen or board.pcie_gen)
            if not self._gpu.active and board.pcie_gen_idle is not None:
                generation = min(generation, board.pcie_gen_idle)
            return PcieLink(
                gen=generation,
                gen_max=board.pcie_gen,
                width=min(machine.pcie_width, now.pcie_width or machine.pcie_width),
                width_max=16,
            )

    def pcie_health(self) -> PcieHealth:
        with self._node.answer(self.index, self.generation):
            errors = self._gpu.pcie_errors
            now = self._node.running.conditions[self.index]
            errors += now.pcie_errors_per_s * self._node.running.into_step_s
            return health.pcie(self._board, self._birth, errors)

    def nvlink_traffic(self) -> NvLinkTraffic:
        with self._node.answer(self.index, self.generation):
            if not self._board.nvlinks:
                return NvLinkTraffic(absent={"tx_bytes": Absence.NOT_SUPPORTED, "rx_bytes": Absence.NOT_SUPPORTED})
            moved = int(self._gpu.nvlink_bytes + self._demand.nvlink * self._node.running.into_step_s)
            return NvLinkTraffic(tx_bytes=self._birth.link_bytes + moved, rx_bytes=self._birth.link_bytes + moved)

    def nvlinks(self) -> NvLinks:
        with self._node.answer(self.index, self.generation):
            running = self._node.running
            errors = self._gpu.link_errors + running.conditions[self.index].link_errors_per_s * running.into_step_s
            return health.nvlinks(self._node.machine, self.index, self._birth, running.links_down[self.index], errors)

    def memory_health(self) -> MemoryHealth:
        with self._node.answer(self.index, self.generation):
            now = self._node.running.conditions[self.index]
            corrected = self._gpu.correctable + now.correctable_per_s * self._node.running.into_step_s
            return health.memory(self._board, self._birth, now, int(corrected), self._gpu.uncorrectable)

    def modes(self) -> Modes:
        with self._node.answer(self.index, self.generation):
            return health.modes(self._node.machine, self.index, self._node.running.conditions[self.index])

    def mig(self) -> MigState:
        with self._node.answer(self.index, self.generation):
            if not self._board.has_mig:
                return MigState(absent={"mig": Absence.NOT_SUPPORTED})
            slices = self._node.machine.slices
            held = self._held()
            work = {running.job.name: running for running in self._node.running.jobs}
            instances = []
            for slot, slice_ in enumerate(slices):
                running = work.get(slice_.job or "")
                own = [
                    process for process in self._node.on_gpu(self.index) if process.gpu_instance == slice_.gpu_instance
                ]
                busy = running.utilization[0] / slice_.part * running.job.sm_activity if running is not None else 0.0
                instances.append(
                    MigInstance(
                        index=slot,
                        uuid=self._birth.mig_uuids[slot],
                        name=f"{self._board.name} MIG {slice_.name}",
                        gpu_instance=slice_.gpu_instance,
                        compute_instance=0,
                        sm_count=slice_.sm_count,
                        memory_used_bytes=_HELD_BY_DRIVER + sum(held[process.pid] for process in own),
                        memory_total_bytes=slice_.memory_bytes,
                        sm_activity_pct=_percent(busy),
                    )
                )
            return MigState(mig=Mig(enabled=bool(slices), pending=bool(slices), instances=instances))

    def processes(self) -> Processes:
        with self._node.answer(self.index, self.generation):
            held = self._held()
            return Processes(
                processes=[
                    GpuProcess(
                        pid=process.pid,
                        kind=process.kind,
                        memory_bytes=held[process.pid],
                        sm_pct=None if self._node.machine.slices else self._share(process.job),
                        gpu_instance=process.gpu_instance,
                    )
                    for process in self._node.on_gpu(self.index)
                ]
            )

    def _share(self, job: str | None) -> float:
        """The SM share of a process, by the job it works for."""
        foreign = self._node.running.conditions[self.index].foreign
        if job == "intruder":
            return float(round(_percent(foreign)))
        for running in self._node.running.jobs:
            if running.job.process == job and self.index in running.job.gpus:
                busy = running.utilization[running.job.gpus.index(self.index)]
                return float(round(_percent(busy * (1.0 - foreign))))
        return 0.0

    def placement(self, others: Sequence[Device]) -> Placement:
        with self._node.answer(self.index, self.generation):
            machine = self._node.machine
            peers = [other.identity().index for other in others]
            access = {
                peer: "ok" if machine.joined(self.index, peer) else machine.p2p for peer in peers if peer != self.index
            }
            return Placement(
                cpu_affinity=machine.cpus[machine.numa[self.index]],
                ancestors={peer: machine.ancestor(self.index, peer) for peer in access},
                p2p_read=access,
                p2p_write=dict(access),
            )
