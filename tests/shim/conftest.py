"""A fresh kernel for each test of the shim, as the process-wide default or under a patch."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import ModuleType

import pytest

import pysock
from pysock.shim.foreign import Foreign
from pysock.shim.patching import Patch
from pysock.vfs.task import Task, set_default_task


def new_task(clock: str) -> Task:
    task = Task.boot(clock=clock, seed=1)
    task.make_foreign = Foreign
    return task


@pytest.fixture
def task() -> Iterator[Task]:
    """The default task, in real time."""
    before = set_default_task(made := new_task("real"))
    yield made
    set_default_task(before)


@pytest.fixture
def virtual_task() -> Iterator[Task]:
    """The default task, in virtual time."""
    before = set_default_task(made := new_task("virtual"))
    yield made
    set_default_task(before)


@pytest.fixture
def face(task: Task) -> ModuleType:
    """`import pysock as socket`, on a kernel of the test's own."""
    return pysock


@pytest.fixture(params=["pysock", "real"])
def net(request: pytest.FixtureRequest) -> ModuleType:
    """The same test on our face and on the operating system's sockets."""
    if request.param == "real":
        return socket
    found: ModuleType = request.getfixturevalue("face")
    return found


@pytest.fixture
def patched() -> Iterator[Patch]:
    """An active patch, in real time."""
    with pysock.patch(seed=1) as active:
        yield active


@pytest.fixture
def virtual() -> Iterator[Patch]:
    """An active patch, in virtual time."""
    with pysock.patch(clock="virtual", seed=1) as active:
        yield active
