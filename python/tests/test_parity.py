"""`queue_runtime` and `queue_runtime.sync` have the same names, and these the same arguments."""

from __future__ import annotations

import inspect

import pytest

import queue_runtime
from queue_runtime import sync

#: What only one of the two can have.
ONLY_ASYNC = {"Opening"}

#: What is one class for tasks, and another one for threads.
FACES = [
    "Client",
    "Queue",
    "Delivery",
    "Session",
    "Consumer",
    "Producer",
    "Worker",
    "WriteBehind",
]


def test_the_modules_have_the_same_names():
    assert set(queue_runtime.__all__) - ONLY_ASYNC == set(sync.__all__)
    for module in (queue_runtime, sync):
        assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", FACES)
def test_the_classes_have_the_same_methods(name):
    awaited, waited_for = getattr(queue_runtime, name), getattr(sync, name)
    assert awaited is not waited_for
    assert _methods(awaited) == _methods(waited_for)
    for method in _methods(awaited):
        signatures = [
            [(p.name, p.kind, p.default) for p in _parameters(cls, method)]
            for cls in (awaited, waited_for)
        ]
        assert signatures[0] == signatures[1], method
        if name != "Worker":
            assert _doc(awaited, method) == _doc(waited_for, method), method


@pytest.mark.parametrize("name", sorted(set(sync.__all__) - set(FACES) - {"connect"}))
def test_what_is_not_a_face_is_the_same_object(name):
    assert getattr(queue_runtime, name) is getattr(sync, name)


def test_connecting_takes_the_same_arguments():
    awaited, waited_for = (inspect.signature(m.connect) for m in (queue_runtime, sync))
    assert list(awaited.parameters.values()) == list(waited_for.parameters.values())


def test_everything_public_is_documented():
    for module in (queue_runtime, sync):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isroutine(thing):
                assert inspect.getdoc(thing), name
            for method in _methods(thing) if inspect.isclass(thing) else ():
                member = inspect.getattr_static(thing, method)
                is_documented = inspect.isroutine(member) or inspect.isdatadescriptor(member)
                if is_documented and not hasattr(Exception, method):
                    assert _doc(thing, method), f"{name}.{method}"


def _methods(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def _parameters(cls: type, method: str) -> list[inspect.Parameter]:
    member = inspect.getattr_static(cls, method)
    if not callable(member):
        return []
    return list(inspect.signature(getattr(cls, method)).parameters.values())


def _doc(cls: type, method: str) -> str | None:
    return inspect.getdoc(inspect.getattr_static(cls, method))
