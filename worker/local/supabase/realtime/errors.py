"""The refusals of Realtime."""

from __future__ import annotations


class RefusedError(Exception):
    """A token, a join or a subscription is refused. The message is that of the platform."""


class TokenRefusedError(RefusedError):
    """A token is refused. The platform words this differently in each place.

    Attributes:
        at_handshake: The message when the WebSocket is opened.
        at_join: The message when a channel is joined.
        at_refresh: The message that ends a channel when its token is replaced.
    """

    def __init__(
        self, code: str, message: str, *, at_handshake: str | None = None, at_refresh: str | None = None
    ) -> None:
        super().__init__(message)
        self.at_handshake = at_handshake or message
        self.at_join = f"{code}: {message}"
        self.at_refresh = at_refresh or message
