"""The ways out to the sites: how they are set, and which site may use which."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.unit.test_registry import Keyed
from worker.engine.worker import Worker
from worker.errors import SettingsError
from worker.http import Exit, HttpSettings
from worker.http.exits import OWN_ADDRESS, exits_in_text
from worker.settings import Settings
from worker.sources import usable_exits
from worker.sources.jobspy import JobSpySource
from worker.sources.remotive import RemotiveSource

FILE = Path(__file__).parent / "data" / "exits.toml"


def test_without_settings_there_is_the_own_address() -> None:
    assert HttpSettings().all_exits() == (OWN_ADDRESS,)
    assert OWN_ADDRESS.proxy is None


def test_a_file_says_more_than_a_list() -> None:
    direct, berlin, pool = HttpSettings(exits_file=FILE).all_exits()
    assert direct == Exit(name="direct", not_sites=frozenset({"linkedin"}))
    assert (berlin.proxy, berlin.weight, berlin.note) == (
        "http://user:hunter2@proxy.example:8080",
        2.5,
        "rented until May",
    )
    assert (pool.proxy, pool.rotating, pool.requests_per_minute) == ("http://gateway.example:1080", True, 60)


def test_an_exit_is_printed_without_its_address() -> None:
    assert "hunter2" not in repr(HttpSettings(exits_file=FILE).all_exits())
    assert "hunter2" not in repr(HttpSettings(exits=exits_in_text("a=http://user:hunter2@h:1")))


def test_each_site_has_its_exits() -> None:
    exits = HttpSettings(exits_file=FILE).all_exits()
    assert [each.name for each in usable_exits(exits, JobSpySource(), "linkedin")] == ["berlin-1", "pool"]
    assert [each.name for each in usable_exits(exits, RemotiveSource(), "remotive")] == ["direct", "pool"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exits = 1", "must hold a table"),
        ("[[exits]]\n[other]\n", "must hold a table"),
        ("", "must hold a table"),
        ("[[exits]", "cannot be read as TOML: "),
        ('[[exits]]\nname = "A b"\naddress = "h:1"', "number 1: name: String should match pattern"),
        ('[[exits]]\nname = "a"\naddress = "h:1"\nspeed = 3', "number 1: speed: Extra inputs"),
        ('[[exits]]\nname = "a"\naddress = "h:1"\nweight = 0', "number 1: weight: must be greater than 0"),
        (
            '[[exits]]\nname = "a"\naddress = "h:1"\nrequests_per_minute = 3',
            "is for a rotating exit",
        ),
        ('[[exits]]\nname = "direct"\nrotating = true', "rotating is for a gateway"),
        ('[[exits]]\nname = "a"\naddress = "http://user:hunter2@h h"', "must not contain a space"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "exits.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        HttpSettings(exits_file=file)
    assert str(raised.value).startswith("exits_file: ")
    assert message in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_there_is_one_way_to_say_it() -> None:
    with pytest.raises(SettingsError, match=r"^exits_file: must not be set together with WORKER_EXITS$"):
        HttpSettings(exits=exits_in_text("direct"), exits_file=FILE)


def test_a_file_that_is_not_valid_any_more(tmp_path: Path) -> None:
    file = tmp_path / "exits.toml"
    file.write_text(FILE.read_text())
    settings = HttpSettings(exits_file=file)
    file.write_text("")
    with pytest.raises(SettingsError, match=r"^WORKER_EXITS_FILE: must hold"):
        settings.all_exits()


# SOCKS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_jobspy_needs_a_package_for_socks(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    exits = HttpSettings(exits=exits_in_text(f"s={scheme}://h:1")).all_exits()
    monkeypatch.setitem(sys.modules, "socks", None)  # as if it were not installed
    with pytest.raises(SettingsError, match=r"s cannot be used for indeed: .* needs the package requests\[socks\]"):
        usable_exits(exits, JobSpySource(), "indeed")


def test_the_other_sources_need_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    exits = HttpSettings(exits=exits_in_text("s=socks5://h:1")).all_exits()
    with pytest.raises(SettingsError, match=r"s cannot be used for remotive: .* needs the package httpx\[socks\]"):
        usable_exits(exits, RemotiveSource(), "remotive")


def test_what_the_http_client_cannot_use_is_refused() -> None:
    exits = HttpSettings(exits=exits_in_text("s=socks4://user:hunter2@h:1")).all_exits()
    with pytest.raises(SettingsError, match=r"s cannot be used for remotive: .* allowed: http, https, socks5, socks5h"):
        usable_exits(exits, RemotiveSource(), "remotive")


# Of a worker ---------------------------------------------------------------------------------------------------------


def test_a_worker_needs_an_exit_for_each_of_its_sites() -> None:
    settings = Settings(supabase_url="https://abc.supabase.co", supabase_service_role_key=SecretStr("key"))
    only = Exit(name="direct", not_sites=frozenset({"keyed"}))
    with pytest.raises(SettingsError, match=r"^exits: keyed has none; let one of direct search it$"):
        Worker(settings, sources=[Keyed], http=HttpSettings(exits=(only,)))
