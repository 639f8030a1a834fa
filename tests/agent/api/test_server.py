"""Listening: taken addresses, socket files, refusals, and an end that comes in time."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from msgspec import structs

from gpuwatch_agent.api.address import Address
from gpuwatch_agent.api.app import Application
from gpuwatch_agent.api.server import Server
from gpuwatch_agent.api.settings import ApiSettings
from gpuwatch_agent.model.errors import AddressInUseError, UsageError
from support.running_api import LOCAL, RunningApi, with_api


def listening(address: Address) -> Server:
    settings = ApiSettings(address=address)
    return Server(Application([], settings), settings)


def test_a_taken_port_is_named_with_who_has_it() -> None:
    """The sentence says which address, which program, and what to do."""
    first = listening(Address(host="127.0.0.1"))
    address = first.bind()
    with pytest.raises(AddressInUseError) as refused:
        listening(address).bind()
    assert f"127.0.0.1:{address.port} is in use by" in str(refused.value)
    assert f"(PID {os.getpid()})" in str(refused.value)
    assert "--listen" in refused.value.action
    first.close()
    again = listening(address)
    again.bind()
    again.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_a_mistake(host: str) -> None:
    """What can't be listened on is the caller's mistake, in a sentence."""
    settings = ApiSettings(address=Address(host=host, port=0), insecure=True)
    with pytest.raises(UsageError, match=r"listen on"):
        Server(Application([], settings), settings).bind()


def test_without_a_token_only_loopback() -> None:
    """The refusal comes before anything listens."""
    with pytest.raises(UsageError, match="token"):
        listening(Address(host="0.0.0.0")).bind()


def test_responses_carry_the_security_headers() -> None:
    """Also on errors; and the server does not tell its make."""

    async def check(api: RunningApi) -> None:
        for path in ("/v1/snapshot", "/nope"):
            headers = (await api.client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "server" not in headers

    with_api(check)


def test_replies_are_not_held_back() -> None:
    """Head and body leave as two packets: with Nagle's algorithm on, every reply would take 40 ms."""

    async def check(api: RunningApi) -> None:
        await api.client.get("/healthz")
        (connection,) = api.server.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with_api(check)


def test_ipv6_loopback() -> None:
    """`[::1]:0` is served where the machine has it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    server = listening(Address(host="::1"))

    async def run() -> int:
        server.bind()
        stop = asyncio.Event()
        serving = asyncio.create_task(server.serve(stop))
        async with httpx.AsyncClient(trust_env=False) as client:
            status = (await client.get(f"{server.url}/")).status_code
        stop.set()
        await serving
        return status

    assert asyncio.run(run()) == 404


def test_a_socket_file(tmp_path: Path) -> None:
    """Served over a socket file, taken over from a killed agent, refused while another answers, removed at the end."""
    path = tmp_path / "api.sock"
    abandoned = socket.socket(socket.AF_UNIX)
    abandoned.bind(str(path))
    abandoned.close()
    server = listening(Address(path=str(path)))

    async def run() -> int:
        server.bind()
        with pytest.raises(AddressInUseError):
            listening(Address(path=str(path))).bind()
        stop = asyncio.Event()
        serving = asyncio.create_task(server.serve(stop))
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
            status = (await client.get("http://localhost/")).status_code
        stop.set()
        await serving
        return status

    assert asyncio.run(run()) == 404
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(UsageError, match="no socket"):
        listening(Address(path=str(path))).bind()
    assert path.read_text() == "precious"


def test_idle_connections_do_not_hold_up_the_end() -> None:
    """Clients that keep their connection open are let go at once."""

    async def check(api: RunningApi) -> None:
        await api.client.get("/healthz")
        _, writer = await api.connect()
        api.stop.set()
        async with asyncio.timeout(2):
            await api.serving
        writer.close()

    with_api(check, structs.replace(LOCAL, keep_alive_s=60))


AGENT = """
import asyncio, signal, sys
from support.running_api import LOCAL, running_api

async def main():
    async with running_api() as api:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, api.stop.set)
        print(api.port, flush=True)
        await api.serving

asyncio.run(main())
print("ended well", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_stream_open(number: signal.Signals) -> None:
    """Signals belong to whoever runs the loop; a stream in the middle ends, and the process goes with status 0."""
    tests = str(Path(__file__).parents[2])
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": tests}
    )
    with agent:
        assert agent.stdout is not None
        port = int(agent.stdout.readline())
        with httpx.stream("GET", f"http://127.0.0.1:{port}/v1/stream", trust_env=False) as response:
            lines = response.iter_lines()
            assert next(lines) == "retry: 2000"
            agent.send_signal(number)
            assert agent.wait(timeout=2) == 0
        assert agent.stdout.read() == "ended well\n"
