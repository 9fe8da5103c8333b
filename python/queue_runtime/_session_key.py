"""Session keys: which session a message is of, by its headers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from queue_runtime._data import _EPOCH, dump_json
from queue_runtime._native import session_key


@dataclass(frozen=True)
class SessionKey:
    """Which session a message is of, as a pure function of its headers: the same headers give the
    same session in every language.

        key = SessionKey.field("customer").prefix("c-")
        await orders.send(body, headers=headers, session=key.of(headers))

    Made by `field`, `composite`, `first_of` and `none`, or of its text, which is JSON such as
    `{"field": "customer", "prefix": "c-"}`, and which `str` gives. `InvalidConfigError` says what
    is wrong with it.
    """

    #: The key as JSON.
    text: str

    def __post_init__(self) -> None:
        # It says what is wrong.
        session_key(self.text, {}, 0)
        object.__setattr__(self, "text", json.dumps(json.loads(self.text), sort_keys=True))

    @classmethod
    def field(cls, name: str, /) -> SessionKey:
        """The value of one header."""
        return cls(dump_json({"field": name}))

    @classmethod
    def composite(cls, *names: str) -> SessionKey:
        """The values of several headers, of which none may be missing: different values give
        different sessions."""
        return cls(dump_json({"composite": names}))

    @classmethod
    def first_of(cls, *keys: SessionKey) -> SessionKey:
        """What the first of these finds that finds anything. Give them prefixes, or what is found
        in one header and what is found in another may be the same session."""
        return cls(dump_json({"first_of": [json.loads(key.text) for key in keys]}))

    @classmethod
    def none(cls) -> SessionKey:
        """No session: nothing is in order."""
        return cls('"none"')

    def prefix(self, text: str, /) -> SessionKey:
        """Begins every session with this text, in place of one said before."""
        return self._with("prefix", text)

    def per_hours(self, hours: int, /) -> SessionKey:
        """Begins another session every so many hours, counted from 1970 UTC. Order holds within
        each."""
        return self._with("per_hours", hours)

    def of(self, headers: Mapping[str, str], /, now: datetime | None = None) -> str | None:
        """The session of a message with these headers; `None` when it is of none.

        Args:
            headers: names and values.
            now: the moment that `per_hours` goes by; the system's time. With a virtual clock pass
                `runtime.now()`.
        """
        moment = datetime.now(timezone.utc) if now is None else now
        return session_key(self.text, dict(headers), (moment - _EPOCH) // timedelta(milliseconds=1))

    def _with(self, name: str, value: object) -> SessionKey:
        said: Any = json.loads(self.text)
        return self if said == "none" else SessionKey(dump_json({**said, name: value}))

    def __str__(self) -> str:
        return self.text
