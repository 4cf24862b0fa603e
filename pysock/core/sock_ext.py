"""SockExt: what few sockets have - the values of rare socket options. `Sock.ext` is None until one is set.

What the receive paths must know at once is a bit of `Sock.flags` (core/sockopt_set.py) or `Sock.filter`; everything
else about a rare option stands here.
"""

from __future__ import annotations

import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.filter import BpfProgram
    from pysock.core.net import Net
    from pysock.core.sock import Sock

#: sk_max_pacing_rate of a socket that set none.
NO_PACING_LIMIT = (1 << 64) - 1


class SockExt:
    """Values of options, named as in struct sock. Sizes in bytes, ``pacing_rate`` in bytes a second, ``busy_poll`` in
    microseconds; ``peek_off`` -1: MSG_PEEK looks at the front; TCP counts it from ``peek_seq``. ``drops`` counts what
    the receive queue refused. ``txtime`` is (clockid, flags), ``has_txtime`` that SO_TXTIME set them.
    ``reuseport_prog`` chooses in a SO_REUSEPORT group. ``rxhash`` is the flow hash of what came in last, in a kernel of
    several CPUs. ``zerocopy_id`` numbers the sends with MSG_ZEROCOPY, ``tskey`` those with SOF_TIMESTAMPING_OPT_ID.
    ``linger_seconds`` is what SO_LINGER says while it is off.
    """

    __slots__ = (
        "busy_poll",
        "cookie",
        "drops",
        "has_txtime",
        "incoming_cpu",
        "linger_seconds",
        "pacing_rate",
        "peek_off",
        "peek_seq",
        "prefer_busy_poll",
        "program",
        "reserved_mem",
        "reuseport_prog",
        "rxhash",
        "tsflags",
        "tskey",
        "txrehash",
        "txtime",
        "zerocopy_id",
    )

    def __init__(self) -> None:
        self.peek_off = self.peek_seq = -1
        self.cookie = 0
        self.drops = 0
        self.pacing_rate = NO_PACING_LIMIT
        self.incoming_cpu = -1
        self.rxhash = 0
        self.busy_poll = 0
        self.prefer_busy_poll = False
        self.txrehash = 1
        self.reserved_mem = 0
        self.txtime = (0, 0)
        self.has_txtime = False
        self.tsflags = self.tskey = 0
        self.linger_seconds = 0
        self.zerocopy_id = 0
        self.program: BpfProgram | None = None  # what `Sock.filter` runs, for SO_GET_FILTER
        self.reuseport_prog: BpfProgram | None = None


    def inherited(self) -> SockExt:
        """What a connection has from its listener: everything but its numbers and its group's program (sk_clone)."""
        new = SockExt()
        for name in _INHERITED:
            setattr(new, name, getattr(self, name))
        return new


_INHERITED = tuple(set(SockExt.__slots__) - {"cookie", "drops", "reuseport_prog", "tskey", "zerocopy_id"})

#: What a socket without a SockExt has. Never written to.
DEFAULTS = SockExt()


def ext_of(sk: Sock) -> SockExt:
    """The socket's SockExt, made now if it had none."""
    ext = sk.ext
    if ext is None:
        ext = sk.ext = SockExt()
    return ext


class NetCookie(int):
    """The number of one namespace, which keeps it (`Net.set`)."""

    __slots__ = ()


class Cookies:
    """Numbers that no two sockets or namespaces of one kernel share (net/core/sock_diag.c)."""

    __slots__ = ("_next_net", "_next_sock")

    def __init__(self) -> None:
        self._next_sock = itertools.count(1).__next__
        self._next_net = itertools.count(1).__next__

    @classmethod
    def of(cls, net: Net) -> Cookies:
        namespaces = net.kernel.netns
        home = namespaces[0] if namespaces else net
        if not home.has(cls):
            home.set(cls())
        return home.get(cls)

    def of_sock(self, sk: Sock) -> int:
        """SO_COOKIE: given at the first question (sock_gen_cookie)."""
        ext = ext_of(sk)
        if not ext.cookie:
            ext.cookie = self._next_sock()
        return ext.cookie

    def of_net(self, net: Net) -> int:
        """SO_NETNS_COOKIE."""
        if not net.has(NetCookie):
            net.set(NetCookie(self._next_net()))
        return net.get(NetCookie)
