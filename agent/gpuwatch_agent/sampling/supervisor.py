"""Keeps one sampler running: starts it again when it crashes, replaces it when it hangs, and never blames the rest.

A replacement is started beside the old one and takes over with its first sample: a GPU that hangs again in the new
process costs the others nothing. From the second crash on the same GPU on, what was being read there is left out for a
while.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine

from gpuwatch_agent.config import Config
from gpuwatch_agent.model.frame import Trouble
from gpuwatch_agent.sampling.breadcrumbs import Blame
from gpuwatch_agent.sampling.child import SamplerChild
from gpuwatch_agent.sampling.wire import Message, Refused, Sampled, XidWatched

_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
_HEALTHY_AFTER_S = 60.0
_CRASHES_TO_QUARANTINE = 2
_QUARANTINE_S = 600.0
# A GPU that has not answered for so long is tried from a fresh process; each further try waits twice as long.
_STUCK_S = 30.0
_LONGEST_BETWEEN_REPLACEMENTS_S = 600.0
# A candidate opens the driver first, and that may take long without persistence mode.
_CANDIDATE_S = 30.0
_MOST_ABANDONED = 4
# The agent's own end is waited for: whoever stops it gives it two seconds in all.
_LEAVE_S = 0.7
_LEAVE_HARDER_S = 0.2


class Supervisor:
    """`on_message` gets what the sampler in charge says; `trouble` is why nobody is, if so."""

    def __init__(self, config: Config, on_message: Callable[[Message], None], clock: Callable[[], float]) -> None:
        self._config = config
        self._on_message = on_message
        self._clock = clock
        self._in_charge: SamplerChild | None = None
        self._candidate: SamplerChild | None = None
        self._decided = asyncio.Event()
        self._children: set[SamplerChild] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashes: Counter[int] = Counter()
        self._quarantined_until: dict[Blame, float] = {}
        self._failures = 0
        self._next_replacement = _STUCK_S
        self._replace_not_before = 0.0
        self._heard_at = self._in_charge_since = clock()
        self._hired_before = False
        self._abandoned = 0
        self._sampling = False
        self._stop = asyncio.Event()
        self._vacant = asyncio.Event()
        self._vacant.set()
        self._stopping = False
        self.restarts = 0
        self.trouble: Trouble | None = None

    @property
    def heard_at(self) -> float:
        """When the sampler in charge last gave a sign of life."""
        return self._heard_at

    @property
    def pid(self) -> int | None:
        return self._in_charge.pid if self._in_charge is not None else None

    async def run(self) -> None:
        """Keep a sampler in charge until `stop`."""
        self._spawn(self._watch())
        while not self._stopping:
            # A candidate may have taken the post while we held back.
            if self._in_charge is None:
                await self._hire()
            await self._vacant.wait()
            if self._stopping:
                return
            if self._clock() - self._in_charge_since > _HEALTHY_AFTER_S:
                self._failures = 0
            wait_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
            self._failures += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait_s)

    def change(self, config: Config) -> None:
        """Sample by another configuration from now on: a second sampler is started with it and takes over."""
        self._config = config
        if self._in_charge is not None and self._candidate is None:
            self._spawn(self._replace())

    async def _hire(self) -> None:
        """Start a sampler and put it in charge, unless a candidate was quicker."""
        self._heard_at = self._in_charge_since = self._clock()
        child = await self._start()
        if child is None:
            return
        if self._in_charge is not None or self._stopping:
            self._spawn(self._send_away(child))
            return
        self.restarts += self._hired_before
        self._hired_before = True
        self._in_charge = child
        self._vacant.clear()
        self._spawn(self._listen(child))

    async def _start(self) -> SamplerChild | None:
        """A new process; `None`, with the trouble noted, where the machine has no room for one."""
        try:
            child = await SamplerChild.start(self._config, self._quarantine())
        except OSError as error:
            if self._in_charge is None:
                self.trouble = _no_sampler(error)
            return None
        self._children.add(child)
        return child

    async def _listen(self, child: SamplerChild) -> None:
        """Pass on what the sampler in charge says; a candidate takes charge with its first sample."""
        early: list[Message] = []
        async for message in child.messages():
            if child is self._candidate:
                if isinstance(message, XidWatched):
                    early.append(message)  # it holds from the moment this one is in charge
                if isinstance(message, Sampled):
                    self._promote(child)
                    for one in early:
                        self._heard(one)
            if child is self._in_charge:
                self._heard(message)
        if child is self._candidate:
            self._decided.set()
        elif child is self._in_charge and not self._stopping:
            await self._bury(child)
            self._in_charge = None
            self._vacant.set()

    def _heard(self, message: Message) -> None:
        self._heard_at = self._clock()
        if isinstance(message, Refused):
            self.trouble = message.trouble
            self._sampling = False
        elif isinstance(message, Sampled):
            self.trouble = None
            self._sampling = True
            if message.stuck_s >= self._next_replacement:
                self._want_replacement()
            elif message.stuck_s == 0:
                self._next_replacement = _STUCK_S
        self._on_message(message)

    async def _watch(self) -> None:
        """A sampler that says nothing at all is replaced; opening the driver has a deadline of its own, inside it."""
        while True:
            limit = max(5.0, 5 * self._config.sampling.interval_s)
            await asyncio.sleep(limit / 2)
            silent = self._clock() - self._heard_at
            if self._in_charge is not None and silent > limit and (self._sampling or silent > _CANDIDATE_S):
                self.trouble = _silent_sampler(silent)
                self._want_replacement()

    def _want_replacement(self) -> None:
        now = self._clock()
        if self._candidate is not None or now < self._replace_not_before or self._abandoned >= _MOST_ABANDONED:
            return
        self._replace_not_before = now + self._next_replacement
        self._next_replacement = min(2 * self._next_replacement, _LONGEST_BETWEEN_REPLACEMENTS_S)
        self._spawn(self._replace())

    async def _replace(self) -> None:
        """Start a second sampler; one that gives no sample in time is sent away, and the old one keeps its post."""
        candidate = await self._start()
        if candidate is None:
            return
        decided = self._decided = asyncio.Event()
        self._candidate = candidate
        self._spawn(self._listen(candidate))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(decided.wait(), _CANDIDATE_S)
        if self._candidate is candidate:
            self._candidate = None
        if candidate is not self._in_charge:
            await self._send_away(candidate)

    def _promote(self, candidate: SamplerChild) -> None:
        old, self._in_charge = self._in_charge, candidate
        self._in_charge_since = self._clock()
        self._candidate = None
        self.restarts += 1
        self._vacant.clear()
        self._decided.set()
        if old is not None:
            self._spawn(self._send_away(old))

    async def _send_away(self, child: SamplerChild) -> None:
        if not await child.retire():
            self._abandoned += 1
            await child.end()  # the kernel may let go of it after all
            self._abandoned -= 1
        self._children.discard(child)

    async def _bury(self, child: SamplerChild) -> None:
        """Learn from the end of the sampler in charge."""
        self._sampling = False
        try:
            crash = await asyncio.wait_for(child.end(), 2.0)
        except TimeoutError:
            self.trouble = self.trouble or _ended_sampler("it closed its end of the line and stayed")
            self._spawn(self._send_away(child))
            return
        self._children.discard(child)
        blames = child.blames()
        if crash is not None:
            self.trouble = _crashed_sampler(crash, blames)
            for blame in blames:
                self._crashes[blame.gpu_slot] += 1
                if self._crashes[blame.gpu_slot] >= _CRASHES_TO_QUARANTINE:
                    self._quarantined_until[blame] = self._clock() + _QUARANTINE_S
        elif self.trouble is None:
            words = child.last_words.decode("utf-8", "replace").strip().splitlines()
            self.trouble = _ended_sampler(words[-1] if words else "it left no message")

    def _quarantine(self) -> list[Blame]:
        now = self._clock()
        return [blame for blame, until in self._quarantined_until.items() if now < until]

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Ask all samplers to leave, and end those that do not."""
        self._stopping = True
        self._stop.set()
        self._vacant.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(child.retire(_LEAVE_S, _LEAVE_HARDER_S) for child in self._children))


def _no_sampler(error: OSError) -> Trouble:
    return Trouble(
        kind="sampler_not_started",
        message=f"The sampler process can't be started: {error.strerror or error}.",
        action="It is tried again; look for a limit on processes, open files or memory (`ulimit -a`, the unit's TasksMax).",
    )


def _crashed_sampler(crash: str, blames: list[Blame]) -> Trouble:
    where = ", ".join(f"{blame.collector} of GPU {blame.gpu_slot}" for blame in blames)
    return Trouble(
        kind="sampler_crashed",
        message=f"The NVIDIA driver took the sampler down ({crash}){' while reading ' + where if where else ''}.",
        action="It has been started again; a reading that does it twice is left out for ten minutes. "
        "A driver update may cure it.",
    )


def _ended_sampler(last_words: str) -> Trouble:
    return Trouble(
        kind="sampler_ended",
        message=f"The sampler ended unexpectedly: {last_words}.",
        action="It is started again; if this repeats, please report it with the agent's log.",
    )


def _silent_sampler(silent_s: float) -> Trouble:
    return Trouble(
        kind="sampler_silent",
        message=f"The sampler has said nothing for {silent_s:.0f} s: it hangs in the driver.",
        action="A second one is started beside it; `dmesg | grep -i xid` may name the GPU that hangs.",
    )
