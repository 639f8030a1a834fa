"""Where frames come from: this machine's hardware, a simulated one, or a remote agent."""

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from gpuwatch_agent.config import Config, load_config
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology


class Source(Protocol):
    """Something that knows one node."""

    def frame(self, *, rates: bool) -> Frame:
        """One moment; with `rates` those values too that need two readings."""

    def frames(self, interval_s: float) -> Iterator[Frame]:
        """One moment after the other, for as long as somebody asks."""

    def topology(self) -> Topology:
        """How the GPUs are wired."""


def open_source(options: argparse.Namespace, overrides: Mapping[str, object] | None = None) -> Source:
    """The source that the global flags ask for."""
    if options.connect and options.sim:
        raise UsageError(
            "--connect and --sim exclude each other.", "A remote agent simulates if it is started with --sim."
        )
    config = command_config(options, overrides)
    urls = asked_agents(options)
    if len(urls) > 1:
        raise UsageError(
            "This command asks one agent, and several are named.",
            "Give --connect once; `gpuwatch` alone shows several.",
        )
    if urls:
        from gpuwatch.remote_source import RemoteSource

        return RemoteSource(urls[0], token_file=config.agent.token_file)
    return LocalSource(config)


def asked_agents(options: argparse.Namespace) -> list[str]:
    """The URLs of the agents that --connect and --hosts name, each once."""
    written = options.connect or []
    hosts_file = getattr(options, "hosts", None)
    if not written and hosts_file is None:
        return []
    from gpuwatch.agent_address import agent_url, read_hosts

    urls = [agent_url(one) for one in ([written] if isinstance(written, str) else written)]
    if hosts_file is not None:
        urls += read_hosts(hosts_file)
    return list(dict.fromkeys(urls))


def command_config(options: argparse.Namespace, overrides: Mapping[str, object] | None = None) -> Config:
    """The configuration under the global flags and a command's own."""
    flags = dict(overrides or {})
    if options.sim is not None:
        flags["hardware.simulate"] = options.sim
    if options.token_file is not None:
        flags["agent.token_file"] = options.token_file
    return load_config(None if options.config is None else Path(options.config), os.environ, flags)


class LocalSource:
    """The hardware of this machine, read in this process."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def frame(self, *, rates: bool) -> Frame:
        """One moment, read now."""
        from gpuwatch_agent.hardware.choose import make_hardware
        from gpuwatch_agent.oneshot import read_frame

        return read_frame(make_hardware(self._config), self._config, rates=rates)

    def frames(self, interval_s: float) -> Iterator[Frame]:
        """A moment at every tick of that interval."""
        from gpuwatch_agent.hardware.choose import make_hardware
        from gpuwatch_agent.oneshot import Watcher

        sampling = self._config.sampling
        sampling = msgspec.structs.replace(sampling, interval_s=min(interval_s, sampling.interval_s))
        config = msgspec.structs.replace(self._config, sampling=sampling)
        watcher = Watcher(make_hardware(config), config)
        try:
            yield from watcher.frames(interval_s)
        finally:
            watcher.close()

    def topology(self) -> Topology:
        """The wiring, read now."""
        from gpuwatch_agent.hardware.choose import make_hardware
        from gpuwatch_agent.oneshot import read_topology

        return read_topology(make_hardware(self._config), self._config)
