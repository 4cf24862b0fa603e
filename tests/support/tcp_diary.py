"""Packet diaries for TCP: one end is pysock, the other a script that injects segments and checks what comes back.

    d = Diary()
    conn = d.accept()                         # a passive open, handshake done: conn.sock is ours, conn.peer the script
    conn.peer.send("P.", seq=1, ack=1, data=b"hello")
    conn.peer.expect(".", seq=1, ack=6)
    d.sleep(ms=40)
    d.silent()

Sequence numbers are relative: the SYN has 0, the first byte 1, and a peer's ``ack`` counts from our SYN. Time is
virtual and moves only in `sleep` (and in calls that block). The wire is a device of its own, "tcp0" with 10.0.0.1/24,
without offloads: what is recorded are finished packets, and the checksums of every one are checked before a test sees
it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from pysock.core.clock import NSEC_PER_MSEC
from pysock.core.device import NetDevice, NetDeviceOps, alloc_netdev, dev_open, register_netdev
from pysock.core.kernel import Kernel
from pysock.core.mibs import TcpExtMib, TcpMib
from pysock.core.net import Net
from pysock.core.netdev_features import NETIF_F_HW_CSUM
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import CHECKSUM_UNNECESSARY, SkBuff, consume_skb
from pysock.core.sock import Socket
from pysock.core.timer import Timer
from pysock.families.inet.devinet import add_address
from pysock.families.inet.net import InetNet
from pysock.families.inet.tcp.net import TcpNet
from pysock.families.inet.tcp.sock import TcpSock
from pysock.uapi.if_ import ARPHRD_NONE, IFF_NOARP
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.uapi.socket import AF_INET, MSG_DONTWAIT, SOCK_STREAM
from pysock.wire import icmp, ipv4, tcp
from pysock.wire.tcp_options import TcpOptions, build_options, parse_options

LOCAL = b"\x0a\0\0\1"
REMOTE = b"\x0a\0\0\2"
LOCAL_HOST = "10.0.0.1"
REMOTE_HOST = "10.0.0.2"
PORT = 8080
PEER_PORT = 40000
PEER_ISN = 7_000_000
M32 = 0xFFFFFFFF
O_NONBLOCK = 0o4000

_FLAGS = {
    "F": tcp.FIN, "S": tcp.SYN, "R": tcp.RST, "P": tcp.PSH, ".": tcp.ACK, "U": tcp.URG, "E": tcp.ECE, "W": tcp.CWR,
}  # fmt: skip


def flag_bits(text: str) -> int:
    """tcpdump's letters, "." for ACK, as header bits."""
    bits = 0
    for letter in text:
        bits |= _FLAGS[letter]
    return bits


def flag_text(bits: int) -> str:
    return "".join(letter for letter, bit in _FLAGS.items() if bits & bit)


class Sent:
    """One segment that pysock put on the wire: wire numbers, parsed options, and when (ns)."""

    def __init__(self, packet: bytes, at: int, verify: bool = True) -> None:
        self.packet = packet
        self.at = at
        ip = ipv4.parse(packet)
        assert ipv4.verify(packet), f"bad IP checksum in {packet.hex()}"
        assert ip.protocol == IPPROTO_TCP
        self.ip = ip
        segment = packet[ip.size : ip.total_length]
        self.header = tcp.parse(segment)
        self.data = segment[self.header.size :]
        self.options = parse_options(self.header.options)
        if not verify:
            return  # the device was to finish it
        rebuilt = tcp.build(
            self.header.src_port,
            self.header.dst_port,
            self.data,
            seq=self.header.seq,
            ack=self.header.ack,
            flags=self.header.flags,
            window=self.header.window,
            urgent=self.header.urgent,
            options=self.header.options,
            addresses=(ip.src, ip.dst),
        )
        assert rebuilt == segment, "bad TCP checksum or reserved bits"

    @property
    def flags(self) -> str:
        return flag_text(self.header.flags)

    def __repr__(self) -> str:
        return f"<{self.at / 1e9:.3f}s {tcp.describe(self.header, self.data)}>"


class WireOps(NetDeviceOps):
    """Records what is sent; ``deliver`` may take it over instead."""

    def __init__(self) -> None:
        self.sent: deque[Sent] = deque()
        self.deliver: Callable[[bytes], None] | None = None

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        packet = skb_to_bytes(skb)
        dev.stats.tx_packets += 1
        consume_skb(skb)
        if self.deliver is not None:
            self.deliver(packet)
        else:
            self.sent.append(Sent(packet, dev.kernel.now, verify=not dev.features & NETIF_F_HW_CSUM))
        return 0


def make_device(net: Net, ops: WireOps, address: bytes, mtu: int, features: int) -> NetDevice:
    """A point-to-point device without link-layer header, up, with ``address``/24. Call it inside the kernel."""

    def setup(dev: NetDevice) -> None:
        dev.type = ARPHRD_NONE
        dev.mtu = mtu
        dev.flags = IFF_NOARP
        dev.features = features
        dev.tx_queue_len = 0
        dev.no_queue = True
        dev.netdev_ops = ops

    dev = alloc_netdev(net.kernel, "tcp0", setup, net)
    register_netdev(dev)
    dev_open(dev)
    add_address(net.get(InetNet), dev, address, 24)
    return dev


def make_skb(dev: NetDevice, packet: bytes, verified: bool = False) -> SkBuff:
    """A received IP packet; ``verified`` says that the device checked the transport's checksum."""
    skb = SkBuff(packet, 0, len(packet))
    skb.protocol = ETH_P_IP
    skb.dev = dev
    skb.network_header = skb.mac_header = 0
    if verified:
        skb.ip_summed = CHECKSUM_UNNECESSARY
    return skb


class Sock:
    """A pysock TCP socket driven through its ops, each call entering the kernel as a system call does."""

    def __init__(self, diary: Diary, sock: Socket | None = None, net: Net | None = None) -> None:
        self.diary = diary
        kernel = diary.kernel
        if sock is None:
            net = net or kernel.init_net
            sock = diary.call(kernel.families.create, net, kernel.creds, AF_INET, SOCK_STREAM, 0)  # type: ignore[assignment]
        assert sock is not None
        self.socket: Socket = sock

    @property
    def sk(self) -> TcpSock:
        sk = self.socket.sk
        assert isinstance(sk, TcpSock)
        return sk

    def _op(self, name: str, *args: object) -> object:
        return self.diary.call(getattr(self.socket.ops, name), self.socket, *args)

    def bind(self, port: int, host: str = LOCAL_HOST) -> None:
        self._op("bind", (host, port))

    def listen(self, backlog: int = 5) -> None:
        self._op("listen", backlog)

    def connect(self, port: int = PORT, host: str = REMOTE_HOST, block: bool = False) -> None:
        self._op("connect", (host, port), 0 if block else O_NONBLOCK)

    def disconnect(self) -> None:
        self._op("connect", (0, 0), 0)

    def accept(self, block: bool = False) -> Sock:
        new = Socket(SOCK_STREAM)
        self._op("accept", new, 0 if block else O_NONBLOCK)
        return Sock(self.diary, new)

    def send(self, data: bytes, flags: int = 0, block: bool = False) -> int:
        result = self._op("sendmsg", data, flags if block else flags | MSG_DONTWAIT)
        assert isinstance(result, int)
        return result

    def recv(self, size: int = 65536, flags: int = 0, block: bool = False) -> bytes:
        result = self._op("recvmsg", size, flags if block else flags | MSG_DONTWAIT)
        assert isinstance(result, bytes)
        return result

    def shutdown(self, how: int) -> None:
        self._op("shutdown", how)

    def close(self) -> None:
        self._op("release")

    def poll(self) -> int:
        result = self._op("poll", None)
        assert isinstance(result, int)
        return result

    def ioctl(self, cmd: int) -> int:
        result = self._op("ioctl", cmd, bytes(4))
        return int.from_bytes(result, "little") if isinstance(result, bytes) else int(result)  # type: ignore[call-overload]

    def setopt(self, name: int, value: int | bytes) -> None:
        raw = value if isinstance(value, bytes) else value.to_bytes(4, "little", signed=True)
        self._op("setsockopt", IPPROTO_TCP, name, raw)

    def getopt(self, name: int) -> int:
        return int.from_bytes(self.getopt_bytes(name, 4), "little", signed=True)

    def getopt_bytes(self, name: int, size: int) -> bytes:
        result = self._op("getsockopt", IPPROTO_TCP, name, size)
        assert isinstance(result, bytes)
        return result

    def getsockname(self) -> tuple[str, int]:
        return self._op("getname", False)  # type: ignore[return-value]

    def getpeername(self) -> tuple[str, int]:
        return self._op("getname", True)  # type: ignore[return-value]

    def pending_error(self) -> int:
        """SO_ERROR."""
        return self.diary.call(self.sk.take_error)  # type: ignore[return-value]


class Peer:
    """The scripted other end of one connection. ``isn`` is its own first sequence number, ``irs`` pysock's."""

    def __init__(self, diary: Diary, port: int, local_port: int, isn: int = PEER_ISN) -> None:
        self.diary = diary
        self.port = port
        self.local_port = local_port
        self.isn = isn
        self.irs: int | None = None
        self.timestamps = False
        self.ts_offset = 1000
        self.ts_echo = 0
        self.wscale = 0

    # -- towards pysock ----------------------------------------------------------------------------------

    def ts_now(self) -> int:
        return (self.diary.now // NSEC_PER_MSEC + self.ts_offset) & M32

    def segment(
        self,
        flags: str,
        seq: int = 0,
        ack: int | None = None,
        data: bytes = b"",
        win: int = 65535,
        options: TcpOptions | bytes | None = None,
        ts_val: int | None = None,
        urgent: int = 0,
        sack: tuple[tuple[int, int], ...] = (),
    ) -> bytes:
        """An IP packet with this segment. Without ``options``, timestamps go along once they were agreed on."""
        if options is None:
            edges = tuple((((self.irs or 0) + a) & M32, ((self.irs or 0) + b) & M32) for a, b in sack)
            options = build_options(TcpOptions(sack=edges))
            if self.timestamps:
                value = self.ts_now() if ts_val is None else ts_val & M32
                options = build_options(TcpOptions(timestamps=(value, self.ts_echo), sack=edges))
        wire_ack = 0 if ack is None else ((self.irs or 0) + ack) & M32
        segment = tcp.build(
            self.port,
            self.local_port,
            data,
            seq=(self.isn + seq) & M32,
            ack=wire_ack,
            flags=flag_bits(flags),
            window=win,
            urgent=urgent,
            options=options,
            addresses=(REMOTE, LOCAL),
        )
        return ipv4.build(REMOTE, LOCAL, IPPROTO_TCP, segment, flags=ipv4.DF)

    def send(self, flags: str, seq: int = 0, ack: int | None = None, data: bytes = b"", **more: object) -> None:
        """Inject one segment."""
        self.diary.inject(self.segment(flags, seq, ack, data, **more))  # type: ignore[arg-type]

    # -- from pysock -------------------------------------------------------------------------------------

    def expect(
        self,
        flags: str | None = None,
        seq: int | None = None,
        ack: int | None = None,
        data: bytes | None = None,
        n: int | None = None,
        win: int | None = None,
    ) -> Sent:
        """Take the next segment pysock sent and check what is given; sequence numbers relative, ``n`` payload bytes."""
        assert self.diary.ops.sent, "nothing was sent"
        got = self.diary.ops.sent.popleft()
        assert (got.header.src_port, got.header.dst_port) == (self.local_port, self.port), got
        if got.header.flags & tcp.SYN:
            self.irs = got.header.seq
        if got.options.timestamps is not None:
            self.ts_echo = got.options.timestamps[0]
        if flags is not None:
            assert set(got.flags) == set(flags), f"flags {got.flags}, not {flags}: {got}"
        if seq is not None:
            relative = (got.header.seq - (self.irs or 0)) & M32
            assert relative == seq & M32, f"seq {relative}, not {seq}: {got}"
        if ack is not None:
            relative = (got.header.ack - self.isn) & M32
            assert relative == ack & M32, f"ack {relative}, not {ack}: {got}"
        if data is not None:
            assert got.data == data, f"data {got.data[:40]!r}, not {data[:40]!r}"
        if n is not None:
            assert len(got.data) == n, f"{len(got.data)} bytes, not {n}: {got}"
        if win is not None:
            assert got.header.window == win, f"window {got.header.window}, not {win}: {got}"
        return got

    def expect_all(self) -> list[tuple[int, int]]:
        """Everything that was sent since, as (relative seq, payload length)."""
        out = []
        while self.diary.ops.sent:
            got = self.expect()
            out.append(((got.header.seq - (self.irs or 0)) & M32, len(got.data)))
        return out


class Conn:
    """An established connection: our socket, the script at the other end."""

    def __init__(self, sock: Sock, peer: Peer) -> None:
        self.sock = sock
        self.peer = peer

    @property
    def sk(self) -> TcpSock:
        return self.sock.sk


class Diary:
    """One kernel in virtual time with the recording wire."""

    def __init__(self, seed: int = 1, mtu: int = 1500, features: int = 0) -> None:
        self.kernel = Kernel.boot(clock="virtual", seed=seed, entry_points=False, strict=True)
        self.net = self.kernel.init_net
        self.inet: InetNet = self.net.get(InetNet)
        self.tcp: TcpNet = self.net.get(TcpNet)
        self.ops = WireOps()
        self.listener: Sock | None = None
        self._ports = PEER_PORT

        self.dev: NetDevice = self.call(make_device, self.net, self.ops, LOCAL, mtu, features)  # type: ignore[assignment]

    # -- the kernel --------------------------------------------------------------------------------------

    def call(self, function: Callable[..., object], *args: object) -> object:
        self.kernel.enter()
        try:
            return function(*args)
        finally:
            self.kernel.leave()

    @property
    def now(self) -> int:
        return self.kernel.clock_ns()

    def sleep(self, *, ms: float = 0, s: float = 0) -> None:
        """Let virtual time pass; every timer on the way runs."""
        self.kernel.sleep(int(ms * 1e6 + s * 1e9))

    def at(self, ms: float, action: Callable[[], None]) -> Timer:
        """Do something in so many ms, under the kernel lock, while a blocking call waits."""
        timer = Timer(action)
        self.call(self.kernel.timers.mod_timer, timer, self.now + int(ms * 1e6))
        return timer

    @property
    def mib(self) -> TcpMib:
        return self.inet.mibs.tcp

    @property
    def ext(self) -> TcpExtMib:
        return self.inet.mibs.tcpext

    # -- the wire ----------------------------------------------------------------------------------------

    def inject(self, packet: bytes, verified: bool = True) -> None:
        """A packet arrives, and everything it causes happens. ``verified``: the device vouches for the TCP checksum."""
        self.call(self.kernel.softnet.netif_rx, make_skb(self.dev, packet, verified))

    def inject_now(self, packet: bytes) -> None:
        """The same for code that is inside the kernel already (see `at`)."""
        self.kernel.softnet.netif_rx(make_skb(self.dev, packet, True))

    def icmp_error(self, sent: Sent, type: int, code: int) -> None:
        """An ICMP error about ``sent`` arrives from the peer."""
        quoted = sent.packet[: sent.ip.size + 8]
        body = icmp.build(type, code, payload=quoted)
        self.inject(ipv4.build(REMOTE, LOCAL, 1, body))

    def silent(self) -> None:
        assert not self.ops.sent, f"unexpected: {list(self.ops.sent)}"

    def forget(self) -> None:
        """Drop what was recorded."""
        self.ops.sent.clear()

    # -- connections -------------------------------------------------------------------------------------

    def listen(self, port: int = PORT, backlog: int = 5, prepare: Callable[[Sock], None] | None = None) -> Sock:
        sock = Sock(self)
        if prepare is not None:
            prepare(sock)
        sock.bind(port)
        sock.listen(backlog)
        self.listener = sock
        return sock

    def peer(self, port: int = 0, local_port: int = PORT, isn: int = PEER_ISN) -> Peer:
        if not port:
            port = self._ports
            self._ports += 1
        return Peer(self, port, local_port, isn)

    def accept(
        self,
        *,
        mss: int = 1460,
        wscale: int | None = None,
        timestamps: bool = False,
        sack: bool = False,
        win: int = 65535,
        isn: int = PEER_ISN,
        prepare: Callable[[Sock], None] | None = None,
    ) -> Conn:
        """A peer connects to us; the handshake is done."""
        if self.listener is None:
            self.listen(prepare=prepare)
        assert self.listener is not None
        peer = self.peer(isn=isn)
        peer.send("S", options=_syn_options(peer, mss, wscale, timestamps, sack), win=min(win, 65535))
        self._handshaken(peer, peer.expect("S.", seq=0, ack=1), wscale)
        peer.send(".", seq=1, ack=1, win=win >> (wscale or 0))
        return Conn(self.listener.accept(), peer)

    def connect(
        self,
        *,
        mss: int = 1460,
        wscale: int | None = None,
        timestamps: bool = False,
        sack: bool = False,
        win: int = 65535,
        isn: int = PEER_ISN,
        prepare: Callable[[Sock], None] | None = None,
    ) -> Conn:
        """We connect to a peer; the handshake is done."""
        sock = Sock(self)
        if prepare is not None:
            prepare(sock)
        peer = self.syn_from(sock, isn=isn)
        options = _syn_options(peer, mss, wscale, timestamps, sack)
        peer.send("S.", seq=0, ack=1, options=options, win=min(win, 65535))
        self._handshaken(peer, peer.expect(".", seq=1, ack=1), wscale)
        sock.connect()
        return Conn(sock, peer)

    def syn_from(self, sock: Sock, isn: int = PEER_ISN) -> Peer:
        """connect() without blocking; the SYN is taken. Returns whom it was for."""
        try:
            sock.connect()
        except BlockingIOError:
            pass
        peer = Peer(self, PORT, sock.getsockname()[1], isn)
        peer.expect("S", seq=0)
        return peer

    @staticmethod
    def _handshaken(peer: Peer, got: Sent, wscale: int | None) -> None:
        peer.timestamps = got.options.timestamps is not None
        peer.wscale = wscale or 0


def _syn_options(peer: Peer, mss: int, wscale: int | None, timestamps: bool, sack: bool) -> TcpOptions:
    stamps = (peer.ts_now(), peer.ts_echo) if timestamps else None
    return TcpOptions(mss, sack, stamps, wscale)


Judge = Callable[[bytes], "list[tuple[float, bytes]]"]


class Pair:
    """Two hosts of one kernel, each with a namespace of its own, and a wire between them that may be unkind.

    ``judge(packet)`` says what becomes of a packet: a list of (delay in ms, bytes) that arrive. [] is a loss, one entry
    the normal case, two a duplicate; unequal delays reorder. `a` is 10.0.0.1, `b` is 10.0.0.2.
    """

    def __init__(self, judge: Judge, *, seed: int = 1, features: int = 0) -> None:
        self.diary = diary = Diary(seed, features=features)
        self.judge = judge
        self.sent = 0
        kernel = diary.kernel
        self.net_b: Net = diary.call(kernel.new_net, "b")  # type: ignore[assignment]
        ops_b = WireOps()
        dev_b: NetDevice = diary.call(make_device, self.net_b, ops_b, REMOTE, 1500, features)  # type: ignore[assignment]
        for net in (diary.net, self.net_b):
            net.sysctl.set("net.ipv4.tcp_syn_retries", 30)  # so that no weather keeps them apart
            net.sysctl.set("net.ipv4.tcp_synack_retries", 30)
        diary.ops.deliver = _Carrier(self, dev_b)
        ops_b.deliver = _Carrier(self, diary.dev)

    def listen(self, port: int = PORT) -> Sock:
        """A listener on `b`."""
        sock = Sock(self.diary, net=self.net_b)
        sock.bind(port, REMOTE_HOST)
        sock.listen()
        return sock

    def connected(self) -> tuple[Sock, Sock]:
        """A connection from `a` to `b`, made through the unkind wire."""
        listener = self.listen()
        client = Sock(self.diary)
        client.connect(PORT, REMOTE_HOST, block=True)
        server = listener.accept(block=True)
        listener.close()
        return client, server


class _Carrier:
    """Takes packets from one device and brings what the judge left of them to the other."""

    def __init__(self, pair: Pair, to: NetDevice) -> None:
        self.pair = pair
        self.to = to

    def __call__(self, packet: bytes) -> None:
        pair = self.pair
        pair.sent += 1
        kernel = pair.diary.kernel
        for delay, copy in pair.judge(packet):
            kernel.timers.mod_timer(Timer(partial(self._arrive, copy)), kernel.now + int(delay * 1e6))

    def _arrive(self, packet: bytes) -> None:
        kernel = self.pair.diary.kernel
        verified = bool(self.to.features & NETIF_F_HW_CSUM)  # nobody computed one
        kernel.softnet.netif_rx(make_skb(self.to, packet, verified))

