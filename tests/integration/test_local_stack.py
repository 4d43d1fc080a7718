from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
import websockets

from worker.local.loopback import free_port
from worker.local.supabase.stack import Endpoints, local_stack


def command(data: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "worker", "local", "--no-sync", "--data", str(data), *options]


@contextlib.contextmanager
def started(data: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command(data, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> Endpoints:
    assert process.stdout is not None
    return Endpoints(**json.loads(process.stdout.readline()))


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    output, errors = process.communicate()
    assert "Traceback" not in errors
    return process.returncode, output


def refused(data: Path, *options: str) -> tuple[int, str]:
    process = subprocess.run(command(data, *options), capture_output=True, text=True, check=False)
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    return process.returncode, process.stderr


def auth(endpoints: Endpoints, path: str, key: str | None = None, **request: Any) -> httpx.Response:
    headers = {"apikey": endpoints.anon_key if key is None else key}
    return httpx.post(f"{endpoints.url}/auth/v1{path}", headers=headers, timeout=30, **request)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_with_exit_code_0(data_folder: Path, number: signal.Signals) -> None:
    with started(data_folder, "--json", "--port", "0", "--no-migrate") as process:
        endpoints = ready(process)
        assert stopped(process, number) == (0, "")
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        psycopg.connect(endpoints.db_url)
    assert not (data_folder / "pgdata" / "postmaster.pid").exists()


async def test_open_sockets_and_idle_connections_do_not_hold_up_the_stop(data_folder: Path) -> None:
    with started(data_folder, "--json", "--port", "0", "--no-migrate") as process:
        endpoints = ready(process)
        socket_url = f"{endpoints.url.replace('http', 'ws')}/realtime/v1/websocket?vsn=1.0.0"
        headers = {"apikey": endpoints.anon_key}
        async with (
            httpx.AsyncClient(base_url=endpoints.url, headers=headers) as http,
            websockets.connect(f"{socket_url}&apikey={endpoints.anon_key}") as realtime,
        ):
            assert (await http.get("/auth/v1/health")).status_code == 200
            process.send_signal(signal.SIGTERM)
            with pytest.raises(websockets.ConnectionClosed):
                await realtime.recv()
        assert await asyncio.to_thread(process.wait) == 0


def test_a_client_that_hangs_up_amid_its_request_is_no_error(data_folder: Path) -> None:
    with started(data_folder, "--json", "--port", "0", "--no-migrate") as process:
        endpoints = ready(process)
        host, port = endpoints.url.removeprefix("http://").split(":")
        for path in ("/auth/v1/signup", "/rest/v1/rpc/enqueue_search"):
            with socket.create_connection((host, int(port))) as client:
                head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\napikey: {endpoints.anon_key}\r\n"
                client.sendall(f"{head}content-length: 100\r\nexpect: 100-continue\r\n\r\n".encode())
                assert client.recv(1000).startswith(b"HTTP/1.1 100")  # somebody waits for the rest
        assert stopped(process, signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("sign", ["secrets.json", "pgdata.unfinished", "pgdata", "pgdata/postmaster.pid"])
def test_a_signal_amid_the_start_stops_it_with_exit_code_0(data_folder: Path, sign: str) -> None:
    with started(data_folder, "--json", "--port", "0") as process:
        while not (data_folder / sign).exists():
            assert process.poll() is None
            time.sleep(0.001)
        assert stopped(process, signal.SIGTERM)[0] == 0
    assert not (data_folder / "pgdata" / "postmaster.pid").exists()


def test_keys_users_and_data_survive_a_restart(data_folder: Path) -> None:
    account = {"email": "ada@example.com", "password": "correct horse"}
    port = str(free_port())
    with started(data_folder, "--json", "--port", port, "--no-migrate") as process:
        first = ready(process)
        assert auth(first, "/signup", json=account).status_code == 200
        assert stopped(process, signal.SIGTERM)[0] == 0
    with started(data_folder, "--json", "--port", port, "--no-migrate") as process:
        assert ready(process) == first
        assert auth(first, "/token?grant_type=password", json=account).status_code == 200
        assert stopped(process, signal.SIGTERM)[0] == 0
    assert (data_folder / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_postgres_ends_with_a_stack_that_is_killed(data_folder: Path) -> None:
    with started(data_folder, "--json", "--port", "0", "--no-migrate") as process:
        endpoints = ready(process)
        with psycopg.connect(endpoints.db_url) as connection:
            process.send_signal(signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select pg_sleep(100)")
        process.wait()
    with started(data_folder, "--json", "--port", "0", "--no-migrate") as process:
        ready(process)
        assert stopped(process, signal.SIGTERM)[0] == 0


def test_a_person_reads_what_to_export(data_folder: Path) -> None:
    port = free_port()
    with started(data_folder, "--port", str(port), "--no-migrate") as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or not lines[-1].startswith("export SUPABASE_SERVICE_ROLE_KEY="):
            lines.append(process.stdout.readline())
            assert lines[-1], "the stack ended"
        assert stopped(process, signal.SIGTERM)[0] == 0
    assert f"export SUPABASE_URL=http://127.0.0.1:{port}\n" in lines
    key = lines[-1].strip().partition("=")[2]
    assert jwt.decode(key, options={"verify_signature": False})["role"] == "service_role"


def test_a_port_in_use_is_an_error_without_traceback(data_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        exit_code, message = refused(data_folder, "--port", port)
    assert (exit_code, message) == (1, f"error: port {port} on 127.0.0.1 cannot be used: Address already in use\n")


def test_a_port_that_is_none_is_a_usage_error(data_folder: Path) -> None:
    exit_code, message = refused(data_folder, "--port", "65535")
    assert (exit_code, message) == (2, "error: --port must be between 0 and 65534, not 65535\n")


def test_data_of_another_version_is_an_error_without_traceback(data_folder: Path) -> None:
    (data_folder / "pgdata").mkdir(mode=0o755)
    (data_folder / "pgdata" / "PG_VERSION").write_text("13\n")
    if os.geteuid() == 0:
        os.chown(data_folder / "pgdata", 65534, 65534)
    exit_code, message = refused(data_folder, "--port", "0")
    assert exit_code == 1
    assert "made by PostgreSQL 13" in message


def test_missing_extra_is_an_error_without_traceback(data_folder: Path) -> None:
    script = f"""
import sys
sys.modules["psycopg"] = None
from pathlib import Path
from worker.local.supabase.command import run_local
sys.exit(run_local(port=0, data=Path({str(data_folder)!r}), as_json=True))
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr == "error: psycopg is missing: pip install 'supabase-search-worker[local]'\n"


@pytest.mark.parametrize("key", ["", "nonsense"])
def test_requests_without_a_key_of_the_stack_are_refused(stack: Endpoints, key: str) -> None:
    answer = auth(stack, "/signup", key, json={})
    assert answer.status_code == 401
    assert answer.json()["message"] == ("Invalid API key" if key else "No API key found in request")


def test_a_browser_on_another_origin_may_call(stack: Endpoints) -> None:
    asked = "apikey,authorization,x-client-info,prefer,accept-profile,content-profile,x-supabase-api-version"
    answer = httpx.options(
        f"{stack.url}/rest/v1/search_runs",
        headers={
            "origin": "http://localhost:3000",
            "access-control-request-method": "PATCH",
            "access-control-request-headers": asked,
        },
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == asked
    refusal = httpx.get(f"{stack.url}/auth/v1/user", headers={"origin": "http://localhost:3000"})
    assert refusal.headers["access-control-allow-origin"] == "*"
    assert refusal.headers["access-control-expose-headers"] == "*"


async def test_two_stacks_run_beside_each_other_in_one_process(data_folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="supabase-local-") as other_folder:
        async with (
            local_stack(data_folder, port=0, migrate=False) as one,
            local_stack(Path(other_folder), port=0, migrate=False) as two,
            httpx.AsyncClient() as http,
        ):
            for endpoints in (one, two):
                answer = await http.get(f"{endpoints.url}/auth/v1/health", headers={"apikey": endpoints.anon_key})
                assert answer.status_code == 200
            stranger = await http.get(f"{two.url}/auth/v1/health", headers={"apikey": one.anon_key})
            assert stranger.status_code == 401
