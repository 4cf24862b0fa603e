"""The face against the standard library's own modules: names, constants, signatures."""

from __future__ import annotations

import _socket
import inspect
import re
import select
import socket
from types import ModuleType
from typing import Any

import pytest

import pysock
from pysock.shim import cselect, csocket
from pysock.shim.sockobj import socket as low_socket
from pysock.vfs.task import Task

PAIRS = [(_socket, csocket), (select, cselect)]


def public(module: ModuleType) -> list[str]:
    return [name for name in vars(module) if not name.startswith("_")]


def parameters(function: Any) -> list[tuple[str, Any, str]] | None:
    """Names, kinds and defaults of what callers pass; None where C does not tell. Names by which nobody can pass
    anything are nobody's business.
    """
    try:
        signature = inspect.signature(function)
    except (ValueError, AttributeError):  # the latter: defaults that 3.13's inspect can't evaluate
        return None
    given = [p for p in signature.parameters.values() if p.name != "self"]
    return [("" if p.kind is p.POSITIONAL_ONLY else p.name, p.kind, _plain(p.default)) for p in given]


def _plain(default: object) -> str:
    return re.sub(r" at 0x\w+", "", repr(default))


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=["_socket", "select"])
def test_every_name_is_there(theirs: ModuleType, ours: ModuleType) -> None:
    assert [name for name in public(theirs) if not hasattr(ours, name)] == []


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=["_socket", "select"])
def test_constants_are_equal(theirs: ModuleType, ours: ModuleType) -> None:
    constants = {name: getattr(theirs, name) for name in public(theirs) if isinstance(getattr(theirs, name), int | str)}
    assert constants == {name: getattr(ours, name) for name in constants}
    assert len(constants) > 10


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=["_socket", "select"])
def test_functions_look_the_same(theirs: ModuleType, ours: ModuleType) -> None:
    seen = 0
    for name in public(theirs):
        original, stand_in = getattr(theirs, name), getattr(ours, name)
        if not callable(original) or isinstance(original, type):
            continue
        assert (stand_in.__name__, stand_in.__module__) == (original.__name__, original.__module__)
        expected = parameters(original)
        if expected is not None:
            assert parameters(stand_in) == expected, name
        seen += 1
    assert seen >= 2


@pytest.mark.parametrize(("original", "ours"), [(_socket.socket, low_socket), (select.epoll, cselect.epoll)])
def test_classes_have_the_same_members(original: type, ours: type) -> None:
    for name in vars(original):
        assert hasattr(ours, name), name
        method = getattr(original, name)
        if name.startswith("__") or not callable(method):
            continue
        expected = parameters(method)
        if expected is not None:
            assert parameters(getattr(ours, name)) == expected, name
    assert (ours.__name__, ours.__module__) == (original.__name__, original.__module__)


def test_the_face_has_all_that_socket_has(face: ModuleType) -> None:
    for name in socket.__all__:
        original, ours = getattr(socket, name), getattr(face, name)
        if callable(original) and not isinstance(original, type):
            expected = parameters(original)
            assert expected is None or parameters(ours) == expected, name
    assert set(socket.__all__) <= set(vars(pysock)["__all__"])


def test_the_socket_class_of_the_face(face: ModuleType) -> None:
    for name, method in vars(socket.socket).items():
        if callable(method) and not name.startswith("__"):
            assert parameters(getattr(face.socket, name)) == parameters(method), name


@pytest.mark.parametrize("name", [name for name in dir(socket) if name.startswith("AF_")])
def test_every_family_has_its_constant(task: Task, face: ModuleType, name: str) -> None:
    """Ours make a socket, all others say that Linux has them not."""
    family = getattr(socket, name)
    if family in task.kernel.families.table:
        face.socket(family, face.SOCK_RAW if family == face.AF_PACKET else face.SOCK_DGRAM).close()
    else:
        with pytest.raises(OSError, match="Address family not supported by protocol"):
            face.socket(family, face.SOCK_DGRAM)
