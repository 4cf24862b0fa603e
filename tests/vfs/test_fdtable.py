"""Fd tables: which numbers, shared files, close-on-exec; with virtual numbers and with placeholders."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.refused import refused

from pysock.uapi.fcntl import O_NONBLOCK
from pysock.vfs.fdnum import VIRTUAL_BASE, PlaceholderFds, VirtualFds
from pysock.vfs.fdtable import FdTable
from pysock.vfs.file import File
from pysock.vfs.inode import Inode


class Note(File):
    """A file that remembers whether it was released."""

    def __init__(self, flags: int = 0) -> None:
        super().__init__(Inode(1, 0), flags)
        self.released = 0

    def release(self) -> None:
        self.released += 1


def test_a_number_that_c_closed_behind_our_back() -> None:
    """The operating system hands it out again: what it named before is over."""
    table = FdTable(PlaceholderFds())
    stale, fresh = Note(), Note()
    fd = table.install(stale)
    os.close(fd)
    assert table.install(fresh) == fd
    assert (stale.released, table.get(fd)) == (1, fresh)
    table.close(fd)


def test_numbers_come_lowest_first() -> None:
    table = FdTable()
    fds = [table.install(Note()) for _ in range(4)]
    assert fds == [VIRTUAL_BASE + n for n in range(4)]
    table.close(fds[2])
    table.close(fds[0])
    assert [table.install(Note()) for _ in range(3)] == [fds[0], fds[2], VIRTUAL_BASE + 4]


def test_the_last_close_releases_the_file() -> None:
    table = FdTable()
    file = Note()
    first = table.install(file)
    second = table.dup(first)
    table.close(first)
    assert not file.released
    table.close(second)
    assert file.released == 1
    with refused(errno.EBADF):
        table.close(second)
    with refused(errno.EBADF):
        table.dup(second)


def test_dup_from_a_minimum() -> None:
    table = FdTable()
    fd = table.install(Note())
    assert table.dup(fd, fd + 10) == fd + 10
    assert table.dup(fd, fd + 10) == fd + 11
    assert table.dup(fd, 3) == fd + 1  # below the base: the lowest there is
    with refused(errno.EINVAL):
        table.dup(fd, -1)
    with refused(errno.EINVAL):
        table.dup(fd, VIRTUAL_BASE + table.limit)


def test_dup2_closes_what_was_there() -> None:
    table = FdTable()
    one, two = Note(), Note()
    a, b = table.install(one), table.install(two)
    assert table.dup2(a, b) == b
    assert two.released == 1 and table.files[b] is one
    assert table.dup2(a, b + 5) == b + 5
    table.close(b + 5)
    assert table.install(Note()) == b + 1  # numbers that dup2 took leave no hole behind
    for target in (0, VIRTUAL_BASE - 1, VIRTUAL_BASE + table.limit):
        with refused(errno.EBADF):
            table.dup2(a, target)


def test_the_limit() -> None:
    table = FdTable(limit=2)
    fd = table.install(Note())
    table.install(Note())
    with refused(errno.EMFILE):
        table.install(Note())
    with refused(errno.EMFILE):
        table.dup(fd)
    with refused(errno.EMFILE):
        table.dup(fd, VIRTUAL_BASE + 1)
    table.close(fd)
    assert table.install(Note()) == fd


def test_close_on_exec_belongs_to_the_number() -> None:
    table = FdTable()
    fd = table.install(Note(), cloexec=True)
    twin = table.dup(fd)
    assert (table.close_on_exec(fd), table.close_on_exec(twin)) == (1, 0)
    table.set_close_on_exec(fd, False)
    table.set_close_on_exec(twin, True)
    assert (table.close_on_exec(fd), table.close_on_exec(twin)) == (0, 1)
    table.dup2(fd, twin)
    assert table.close_on_exec(twin) == 0
    with refused(errno.EBADF):
        table.close_on_exec(twin + 1)
    with refused(errno.EBADF):
        table.set_close_on_exec(twin + 1, True)


def test_close_all_and_forget() -> None:
    table = FdTable()
    files = [Note() for _ in range(3)]
    fds = [table.install(file) for file in files]
    table.forget(fds[1])
    assert files[1].released == 1
    with refused(errno.EBADF):
        table.forget(fds[1])
    table.close_all()
    assert [file.released for file in files] == [1, 1, 1] and not table.files


# Placeholders --------------------------------------------------------------------------------------------


def test_a_placeholder_is_a_real_socket_of_that_number() -> None:
    table = FdTable(PlaceholderFds())
    fd = table.install(Note(O_NONBLOCK), cloexec=True)
    plain = table.install(Note())
    assert stat.S_ISSOCK(os.fstat(fd).st_mode)
    assert not os.get_inheritable(fd) and not os.get_blocking(fd)
    assert os.get_inheritable(plain) and os.get_blocking(plain)
    table.set_close_on_exec(fd, False)
    assert os.get_inheritable(fd)
    table.numbers.set_nonblock(fd, False)
    assert os.get_blocking(fd)
    table.close_all()
    for number in (fd, plain):
        with refused(errno.EBADF):
            os.fstat(number)


def test_placeholders_never_collide_with_the_operating_system() -> None:
    table = FdTable(PlaceholderFds())
    pipe = os.pipe()
    try:
        fds = [table.install(Note()) for _ in range(5)]
        assert not set(fds) & set(pipe)
    finally:
        table.close_all()
        os.close(pipe[0])
        os.close(pipe[1])


def test_placeholder_dup_shares_the_description() -> None:
    table = FdTable(PlaceholderFds())
    file = Note()
    fd = table.install(file)
    twin = table.dup(fd, fd + 20, cloexec=True)
    assert twin >= fd + 20 and not os.get_inheritable(twin)
    assert os.fstat(twin).st_ino == os.fstat(fd).st_ino
    table.numbers.set_nonblock(fd, True)
    assert not os.get_blocking(twin)
    table.close_all()


def test_placeholder_dup2_replaces_a_real_descriptor() -> None:
    table = FdTable(PlaceholderFds())
    file = Note()
    fd = table.install(file)
    reader, writer = os.pipe()
    try:
        assert table.dup2(fd, writer) == writer
        assert stat.S_ISSOCK(os.fstat(writer).st_mode)
        assert os.read(reader, 1) == b""  # the pipe's writing end is closed
    finally:
        os.close(reader)
        table.close_all()
    assert file.released == 1


def test_a_placeholder_closed_behind_our_back_is_no_error() -> None:
    table = FdTable(PlaceholderFds())
    file = Note()
    fd = table.install(file)
    os.close(fd)
    table.close(fd)
    assert file.released == 1


def test_placeholder_limit_is_the_operating_systems() -> None:
    table = FdTable(PlaceholderFds())
    fd = table.install(Note())
    with refused(errno.EINVAL):
        table.dup(fd, 1 << 30)
    with refused(errno.EBADF):
        table.dup2(fd, 1 << 30)
    assert fcntl.fcntl(fd, fcntl.F_GETFD) == 0
    table.close(fd)


# A model: the table is a dict, and files count their names ------------------------------------------------


class FdTableMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = FdTable(VirtualFds(100), limit=12)
        self.model: dict[int, Note] = {}
        self.all: list[Note] = []

    def free(self, minimum: int = 100) -> int | None:
        return next((fd for fd in range(max(minimum, 100), 112) if fd not in self.model), None)

    @rule()
    def install(self) -> None:
        file = Note()
        expected = self.free()
        if expected is None:
            with refused(errno.EMFILE):
                self.table.install(file)
            return
        assert self.table.install(file) == expected
        self.model[expected] = file
        self.all.append(file)

    @rule(fd=st.integers(100, 112))
    def close(self, fd: int) -> None:
        if fd in self.model:
            self.table.close(fd)
            del self.model[fd]
        else:
            with refused(errno.EBADF):
                self.table.close(fd)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), minimum=st.integers(90, 111))
    def dup(self, data: st.DataObject, minimum: int) -> None:
        fd = data.draw(st.sampled_from(sorted(self.model)))
        expected = self.free(minimum)
        if expected is None:
            with refused(errno.EMFILE):
                self.table.dup(fd, minimum)
            return
        assert self.table.dup(fd, minimum) == expected
        self.model[expected] = self.model[fd]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), onto=st.integers(100, 111))
    def dup2(self, data: st.DataObject, onto: int) -> None:
        fd = data.draw(st.sampled_from(sorted(self.model)))
        if fd != onto:
            self.table.dup2(fd, onto)
            self.model[onto] = self.model[fd]

    @invariant()
    def same(self) -> None:
        assert self.table.files == self.model
        for file in self.all:
            names = sum(1 for other in self.model.values() if other is file)
            assert file.f_count == names and file.released == (names == 0)


TestFdTableMachine = FdTableMachine.TestCase
