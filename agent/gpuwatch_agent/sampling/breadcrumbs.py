"""Marks that outlive a crash: which collector was at work on which GPU.

The marks lie in memory shared with the parent. When a driver call takes the sampler down with it, the parent reads from
them which reading did it, and after a second time leaves that one out.
"""

import mmap
import os

from msgspec import Struct

_SLOTS = 256  # one byte a GPU: the number of the collector at work, 0 for none


class Blame(Struct, frozen=True):
    """One reading that was under way when the sampler died."""

    gpu_slot: int
    collector: str


class Breadcrumbs:
    """One byte per GPU."""

    def __init__(self, fd: int, names: tuple[str, ...]) -> None:
        self._names = names
        self._number = {name: position + 1 for position, name in enumerate(names)}
        self._memory = mmap.mmap(fd, _SLOTS)

    @staticmethod
    def create() -> int:
        """A descriptor for shared memory that a child may inherit."""
        fd = os.memfd_create("gpuwatch-breadcrumbs")
        os.ftruncate(fd, _SLOTS)
        return fd

    def mark(self, gpu_slot: int, collector: str) -> None:
        if 0 <= gpu_slot < _SLOTS:
            self._memory[gpu_slot] = self._number.get(collector, 0)

    def clear(self, gpu_slot: int) -> None:
        if 0 <= gpu_slot < _SLOTS:
            self._memory[gpu_slot] = 0

    def blames(self) -> list[Blame]:
        """What was under way at the last sign of life."""
        return [
            Blame(slot, self._names[number - 1])
            for slot, number in enumerate(self._memory[:_SLOTS])
            if 0 < number <= len(self._names)
        ]

    def close(self) -> None:
        self._memory.close()
