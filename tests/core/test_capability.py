"""Credentials: sets change by new objects; namespaces decide as cap_capable() does."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.core.capability import (
    CAP_LAST_CAP,
    CAP_NET_ADMIN,
    CAP_NET_BIND_SERVICE,
    CAP_NET_RAW,
    CAP_SYS_ADMIN,
    FULL_CAPS,
    NO_CAPS,
    Credentials,
    UserNamespace,
    cap_mask,
)

CAPS = st.integers(0, CAP_LAST_CAP)


def test_numbers_are_linuxs() -> None:
    assert (CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_LAST_CAP) == (10, 12, 13, 21, 40)


def test_a_fresh_task_is_the_process_and_may_do_everything() -> None:
    cred = Credentials()
    assert (cred.pid, cred.uid, cred.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert all(cred.capable(cap) for cap in range(CAP_LAST_CAP + 1))


def test_capabilities_are_configurable() -> None:
    cred = Credentials(7, 1000, 100, cap_mask([CAP_NET_RAW]))
    assert cred.capabilities() == frozenset({CAP_NET_RAW})
    assert cred.capable(CAP_NET_RAW) and not cred.capable(CAP_NET_ADMIN)
    assert "uid=1000" in repr(cred)


@given(CAPS, CAPS)
def test_lower_is_undone_by_restore_and_drop_is_not(first: int, second: int) -> None:
    cred = Credentials(1)
    lowered = cred.lower(first, second)
    assert lowered.capabilities() == cred.capabilities() - {first, second}
    assert lowered.restore(first, second).effective == FULL_CAPS
    dropped = cred.drop(first)
    assert not dropped.capable(first)
    with pytest.raises(OSError) as info:
        dropped.restore(first)
    assert info.value.errno == errno.EPERM
    assert cred.effective == cred.permitted == FULL_CAPS  # the original never changes


def test_lowered_caps_survive_a_later_drop_and_a_fork() -> None:
    cred = Credentials(1).lower(CAP_NET_RAW).drop(CAP_NET_ADMIN).for_task(2)
    assert cred.pid == 2
    assert not cred.capable(CAP_NET_RAW) and not cred.capable(CAP_NET_ADMIN)
    assert cred.restore(CAP_NET_RAW).capable(CAP_NET_RAW)


@pytest.mark.parametrize("cap", [-1, CAP_LAST_CAP + 1])
def test_unknown_capability_is_einval(cap: int) -> None:
    for change in (Credentials(1).drop, Credentials(1).lower, Credentials(1).restore):
        with pytest.raises(OSError) as info:
            change(cap)
        assert info.value.errno == errno.EINVAL


def test_unknown_bits_are_einval() -> None:
    with pytest.raises(OSError) as info:
        Credentials(1, caps=1 << (CAP_LAST_CAP + 1))
    assert info.value.errno == errno.EINVAL


def test_groups() -> None:
    cred = Credentials(1, gid=5, groups=frozenset({7}))
    assert [cred.in_group(gid) for gid in (5, 6, 7)] == [True, False, True]


class TestUserNamespaces:
    def setup_method(self) -> None:
        self.init = UserNamespace()
        self.child = UserNamespace(self.init, owner=1000)
        self.grandchild = UserNamespace(self.child, owner=0)

    def test_own_namespace_asks_the_effective_set(self) -> None:
        cred = Credentials(1, caps=cap_mask([CAP_NET_ADMIN]), user_ns=self.child)
        assert cred.ns_capable(self.child, CAP_NET_ADMIN)
        assert not cred.ns_capable(self.child, CAP_NET_RAW)

    def test_nothing_reaches_upwards_or_sideways(self) -> None:
        cred = Credentials(1, uid=1000, user_ns=self.child)
        assert not cred.ns_capable(self.init, CAP_NET_ADMIN)
        assert not cred.capable(CAP_NET_ADMIN)
        assert not cred.ns_capable(UserNamespace(self.init, owner=1000), CAP_NET_ADMIN)

    def test_capabilities_reach_down(self) -> None:
        cred = Credentials(1, uid=0, caps=cap_mask([CAP_NET_ADMIN]), user_ns=self.init)
        assert cred.ns_capable(self.grandchild, CAP_NET_ADMIN)
        assert not cred.ns_capable(self.grandchild, CAP_NET_RAW)

    def test_the_maker_of_a_namespace_owns_it(self) -> None:
        cred = Credentials(1, uid=1000, caps=NO_CAPS, user_ns=self.init)
        assert cred.ns_capable(self.child, CAP_NET_ADMIN)
        assert cred.ns_capable(self.grandchild, CAP_NET_ADMIN)
        other = Credentials(1, uid=1001, caps=NO_CAPS, user_ns=self.init)
        assert not other.ns_capable(self.child, CAP_NET_ADMIN)
