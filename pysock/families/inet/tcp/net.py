"""TcpNet: TCP's tables and settings of one namespace."""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.errors import err
from pysock.families.inet.tcp.af import TcpIpv4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.families.inet.net import InetNet
    from pysock.families.inet.tcp.af import TcpAf
    from pysock.families.inet.tcp.cong import CongestionControl
    from pysock.families.inet.tcp.listen import RequestSock
    from pysock.families.inet.tcp.sock import TcpSock
    from pysock.families.inet.tcp.timewait import TimeWaitQueue, TimeWaitSock


class BindBucket:
    """Everybody on one local port (inet_bind_bucket); ``owners`` is an ordered set of sockets."""

    __slots__ = ("owners", "port")

    def __init__(self, port: int) -> None:
        self.port = port
        self.owners: dict[TcpSock, None] = {}


class TcpNet:
    """``ehash``: 12 wire bytes (peer address, our address, peer port, our port), over IPv6 36, -> who handles that
    connection. ``ipv4`` and ``ipv6`` are how TCP goes over them.

    ``listeners``: local port -> listening sockets. ``bhash``: local port -> BindBucket. ``rmem`` and ``wmem`` are
    (min, default, max) bytes. Settings are sysctls of net.ipv4 with the same name.
    """

    __slots__ = (
        "abort_on_overflow",
        "available",
        "bhash",
        "cong",
        "dsack",
        "ehash",
        "fin_timeout",
        "inet",
        "ipv4",
        "ipv6",
        "isn",
        "keepalive_intvl",
        "keepalive_probes",
        "keepalive_time",
        "kernel",
        "listeners",
        "max_syn_backlog",
        "max_tw_buckets",
        "moderate_rcvbuf",
        "on_timer",
        "orphan_retries",
        "port_hint",
        "ports",
        "retries2",
        "rmem",
        "sack",
        "somaxconn",
        "syn_retries",
        "synack_retries",
        "timestamps",
        "timewait",
        "tw_reuse",
        "window_scaling",
        "wmem",
    )

    def __init__(
        self,
        inet: InetNet,
        cong: CongestionControl,
        available: dict[str, CongestionControl],
        on_timer: Callable[[TcpSock], None],
    ) -> None:
        self.inet = inet
        self.kernel = inet.kernel
        self.cong = cong
        self.available = available
        self.on_timer = on_timer
        self.ehash: dict[bytes, TcpSock | RequestSock | TimeWaitSock] = {}
        self.listeners: dict[int, list[TcpSock]] = {}
        self.bhash: dict[int, BindBucket] = {}
        self.ipv4: TcpAf = TcpIpv4(inet)
        self.ipv6: TcpAf = None  # type: ignore[assignment]  # inet6 sets it, before anything IPv6 comes in
        self.timewait: TimeWaitQueue = None  # type: ignore[assignment]  # set by ipv4.setup, which knows both classes
        self.isn = inet.kernel.random("tcp.isn")
        self.ports = inet.kernel.random("tcp.ports")
        self.port_hint = self.ports.getrandbits(16)
        self.rmem = (4096, 131072, 6291456)
        self.wmem = (4096, 16384, 4194304)
        self.fin_timeout = 60 * NSEC_PER_SEC
        self.keepalive_time = 7200 * NSEC_PER_SEC
        self.keepalive_intvl = 75 * NSEC_PER_SEC
        self.keepalive_probes = 9
        self.max_syn_backlog = 4096
        self.somaxconn = 4096
        self.syn_retries = 6
        self.synack_retries = 5
        self.retries2 = 15
        self.orphan_retries = 8
        self.max_tw_buckets = 262144
        self.timestamps = self.window_scaling = self.moderate_rcvbuf = self.sack = self.dsack = True
        self.abort_on_overflow = False
        self.tw_reuse = 2
        sysctl = inet.net.sysctl
        sysctl.register_lazy("net.ipv4.tcp", self._register_sysctls)
        sysctl.register_lazy("net.core", self._register_somaxconn)

    def _register_somaxconn(self) -> None:
        self.inet.net.sysctl.register_int(
            "net.core.somaxconn", self.somaxconn, minimum=0, on_change=partial(setattr, self, "somaxconn")
        )

    def _register_sysctls(self) -> None:
        sysctl = self.inet.net.sysctl
        for name in ("rmem", "wmem"):
            sysctl.register_ints(
                f"net.ipv4.tcp_{name}", getattr(self, name), minimum=1, on_change=partial(setattr, self, name)
            )
        for name in ("fin_timeout", "keepalive_time", "keepalive_intvl"):
            sysctl.register_int(
                f"net.ipv4.tcp_{name}",
                getattr(self, name) // NSEC_PER_SEC,
                minimum=0,
                on_change=partial(self._set_seconds, name),
            )
        for name, low, high in (
            ("keepalive_probes", 1, 127),
            ("max_syn_backlog", 1, 1 << 20),
            ("syn_retries", 1, 127),
            ("synack_retries", 0, 255),
            ("retries2", 0, 255),
            ("orphan_retries", 0, 255),
            ("max_tw_buckets", 0, 1 << 30),
            ("tw_reuse", 0, 2),
        ):
            sysctl.register_int(
                f"net.ipv4.tcp_{name}",
                getattr(self, name),
                minimum=low,
                maximum=high,
                on_change=partial(setattr, self, name),
            )
        for name in ("timestamps", "window_scaling", "sack", "dsack", "moderate_rcvbuf", "abort_on_overflow"):
            sysctl.register_bool(
                f"net.ipv4.tcp_{name}", getattr(self, name), on_change=partial(setattr, self, name)
            )
        sysctl.register_str("net.ipv4.tcp_congestion_control", self.cong.name, on_change=self._set_cong)

    def _set_seconds(self, name: str, seconds: int) -> None:
        setattr(self, name, seconds * NSEC_PER_SEC)

    def _set_cong(self, name: str) -> None:
        if name not in self.available:
            raise err(errno.ENOENT)
        self.cong = self.available[name]
