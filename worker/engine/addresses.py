"""The addresses of the operator, to which notices of incidents are sent through Apprise."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

from worker.errors import SettingsError
from worker.processes.daemon_thread import in_daemon_thread
from worker.settings import Settings

SEND_SECONDS = 15
"""Limit of one attempt."""

ADDRESS_HASH_LENGTH = 16

Urgency: TypeAlias = Literal["failure", "warning", "success", "info"]

_SECRETIVE_LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")
"""Apprise and what it sends with log parts of addresses, which have passwords and tokens."""

_silent = threading.local()


class NotSentError(Exception):
    """An address did not take a message. The text says why, without the address."""


class Address:
    """An address of the operator. Its text is a secret and appears in no message.

    Args:
        url: The address, as Apprise takes it.
        position: Its place in the setting, from 1.
        key: The key of the workers, with which the address is hashed.
    """

    def __init__(self, url: str, position: int, key: str) -> None:
        self._url = url
        self.name = f"address {position} ({url.partition('://')[0]})"
        digest = hmac.new(key.encode(), url.encode(), hashlib.sha256).hexdigest()
        self.hash = digest[:ADDRESS_HASH_LENGTH]
        """What the database keeps of the address: nobody can guess it without the key."""

    def check(self) -> None:
        """Check the address, without a request.

        Raises:
            SettingsError: Apprise does not know the service, or the address lacks something.
        """
        with _secrets_kept(), warnings.catch_warnings():
            # Of Apprise's own modules, which are loaded now.
            warnings.simplefilter("ignore")
            is_known = _plugin(self._url) is not None
        if not is_known:
            name = Settings.environment_name("alert_urls")
            raise SettingsError(f"{name}: {self.name} is not an address that Apprise can send to")

    async def send(self, title: str, body: str, urgency: Urgency) -> None:
        """Send a message once.

        Args:
            title: One line.
            body: Plain text.
            urgency: What services show as a colour or a sign.

        Raises:
            NotSentError: The service did not accept the message within `SEND_SECONDS`. It may arrive nevertheless.
        """
        try:
            async with asyncio.timeout(SEND_SECONDS):
                is_sent = await in_daemon_thread(partial(_send, self._url, title, body, urgency))
        except TimeoutError:
            raise NotSentError(f"{self.name}: no answer within {SEND_SECONDS} s") from None
        if not is_sent:
            raise NotSentError(f"{self.name}: the service cannot be reached, or did not accept the message")


def addresses(settings: Settings) -> tuple[Address, ...]:
    """Return the addresses of the settings, checked without a request.

    Raises:
        SettingsError: An address is wrong, or Apprise is not installed.
    """
    urls = settings.alert_addresses()
    if not urls:
        return ()
    if find_spec("apprise") is None:
        raise SettingsError(
            f"{Settings.environment_name('alert_urls')}: Apprise is not installed: "
            "pip install 'supabase-search-worker[alerts]'"
        )
    key = settings.require("supabase_service_role_key")
    found = tuple(Address(url, position, key) for position, url in enumerate(urls, start=1))
    for address in found:
        address.check()
    return found


def _send(url: str, title: str, body: str, urgency: Urgency) -> bool:
    apprise = _apprise()
    with _secrets_kept():
        # A new one for each message: an old one would wait some seconds after its last message.
        plugin = _plugin(url)
        assert plugin is not None, "checked before"
        if plugin.notify_format == apprise.NotifyFormat.HTML:
            plugin.notify_format = apprise.NotifyFormat.TEXT  # a mail of a few lines needs no HTML
        sender = apprise.Apprise(plugin, asset=plugin.asset)
        try:
            return bool(sender.notify(body, title=title, notify_type=urgency, body_format=apprise.NotifyFormat.TEXT))
        except Exception:  # noqa: BLE001 (its text may have the address)
            return False


def _plugin(url: str) -> Any | None:
    """Return what sends to an address; None if it is not valid. Configuration files and attachments are not loaded."""
    return _apprise().Apprise.instantiate(url, asset=_asset())


def _apprise() -> Any:
    # Only if there are addresses: it takes 40 MB, and may not be installed.
    return import_module("apprise")


@cache
def _asset() -> Any:
    return _apprise().AppriseAsset(
        async_mode=False,
        app_id="supabase-search-worker",
        app_desc="Alerts",
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
    )


@contextmanager
def _secrets_kept() -> Iterator[None]:
    """Let nothing be logged that this thread does with an address."""
    for name in _SECRETIVE_LOGGERS:
        logging.getLogger(name).addFilter(_is_loud)  # once: it is always the same
    before = getattr(_silent, "is_silent", False)
    _silent.is_silent = True
    try:
        yield
    finally:
        _silent.is_silent = before


def _is_loud(_: logging.LogRecord) -> bool:
    return not getattr(_silent, "is_silent", False)
