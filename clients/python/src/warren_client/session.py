"""What a session is resumed by."""

from __future__ import annotations


class Session:
    """A session, and the tokens of which one is valid.

    Each resume gives the next token, and the one that was shown stays valid until the server has
    heard from the new connection: a resume that was given up may come after the one that took its
    place, and nobody hears of the token that it gives.
    """

    def __init__(self, id: str, token: str) -> None:
        self.id = id
        self._latest = token
        # The one that the latest was given for, until that is settled.
        self._before: str | None = None
        # The one that was shown last.
        self._shown = token

    def show(self) -> str:
        """The token to show first on a connection."""
        self._shown = self._latest
        return self._shown

    def show_other(self) -> str | None:
        """The one to show when that was refused, if there is another."""
        if self._before is None or self._shown == self._before:
            return None
        self._shown = self._before
        return self._shown

    def resumed(self, token: str) -> None:
        """The token that was shown is accepted, and gives the next."""
        self._before = self._shown
        self._latest = token

    def settle(self) -> None:
        """The server has heard from the connection that the latest token came on: no other is valid."""
        self._before = None

    @property
    def is_settled(self) -> bool:
        """Whether no resume that was given up can take the session any longer."""
        return self._before is None
