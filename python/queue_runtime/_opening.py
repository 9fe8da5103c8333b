"""Awaitables that are contexts as well: `await connect(...)` and `async with connect(...)`."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar


class _Context(Protocol):
    def __aexit__(
        self,
        typ: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Awaitable[None]: ...


_T = TypeVar("_T", bound=_Context)


class Opening(Generic[_T]):
    """Opens something when it is awaited, or for the length of a block (`async with`)."""

    __slots__ = ("_awaitable", "_opened")

    def __init__(self, awaitable: Awaitable[_T]) -> None:
        self._awaitable = awaitable
        self._opened: _T | None = None

    def __await__(self) -> Generator[Any, None, _T]:
        return self._awaitable.__await__()

    async def __aenter__(self) -> _T:
        opened = await self._awaitable
        self._opened = opened
        return opened

    async def __aexit__(
        self,
        typ: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(typ, exception, traceback)
