"""A task over the test family, in virtual time."""

from __future__ import annotations

import pytest
from support.loop_family import LoopFamily, boot_task

from pysock.vfs.task import Task


@pytest.fixture
def booted() -> tuple[Task, LoopFamily]:
    return boot_task()


@pytest.fixture
def task(booted: tuple[Task, LoopFamily]) -> Task:
    return booted[0]


@pytest.fixture
def loop(booted: tuple[Task, LoopFamily]) -> LoopFamily:
    return booted[1]
