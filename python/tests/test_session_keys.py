"""Session keys: the table that every language runs, and what is Python's own."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import queue_runtime as qr
from queue_runtime import SessionKey, errors

TABLE = json.loads(
    (Path(__file__).parents[2] / "tests/conformance/session_keys.json").read_text(encoding="utf-8")
)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("case", TABLE["found"], ids=lambda case: case["about"])
def test_every_key_of_the_table_finds_its_session(case):
    key = SessionKey(json.dumps(case["key"]))
    now = EPOCH + timedelta(milliseconds=case.get("now", 0))
    assert key.of(case["headers"], now) == case["session"]
    assert SessionKey(str(key)) == key


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: case["about"])
def test_every_wrong_key_of_the_table_is_refused_with_what_is_wrong(case):
    with pytest.raises(errors.InvalidConfigError) as raised:
        SessionKey(json.dumps(case["key"]))
    assert raised.value.field == "session_key"
    assert case["says"] in str(raised.value)


def test_what_is_built_is_what_is_written():
    built = SessionKey.first_of(
        SessionKey.field("customer").prefix("c-"),
        SessionKey.composite("tenant", "order").per_hours(6),
        SessionKey.none().prefix("nothing to put it before"),
    )
    assert json.loads(str(built)) == {
        "first_of": [
            {"field": "customer", "prefix": "c-"},
            {"composite": ["tenant", "order"], "per_hours": 6},
            "none",
        ]
    }
    assert built == SessionKey(str(built))
    assert len({built, SessionKey(str(built)), SessionKey.none()}) == 2
    with pytest.raises(errors.InvalidConfigError, match="per_hours"):
        built.per_hours(0)
    with pytest.raises(TypeError, match="a header must be str"):
        built.of({"customer": 42})


def test_without_a_moment_it_is_the_present_one():
    key = SessionKey.field("a").per_hours(1)
    before, found, after = (key.of({"a": "x"}, m) for m in (_now(), None, _now()))
    assert found in (before, after)


async def test_messages_go_into_the_sessions_of_their_keys(qrt):
    key = SessionKey.composite("tenant", "order")
    queue = qrt.queue("jobs")
    for headers in ({"tenant": "a/b", "order": "1"}, {"tenant": "a"}):
        await queue.send("x", headers=headers, session=key.of(headers))
    sessions = {delivery.session for delivery in await queue.receive(10, 0)}
    assert sessions == {"a%2Fb/1", None}
    assert qr.SessionKey is SessionKey


def _now() -> datetime:
    return datetime.now(timezone.utc)
