"""SkBuff: one packet on its way through the stack, and the operations that every layer does on it.

Theory of operation

    head  [ headroom | linear bytes | tailroom ]   frags: (bytes, ...)   frag_list: [SkBuff, ...]
          0          data           tail      end  '---------- data_len -----------'
                     '------------------------ len -------------------------------'

- Headers are real bytes in the linear buffer; payload travels by reference in `frags`. tail = data + len -
  data_len.
- `head` is `bytes` or a `bytearray`. Immutable `bytes` are the fast path: nobody can write to them, so they
  are shared freely, and whoever wants to change them takes a private bytearray first (skb_cow, skb_unclone,
  pskb_expand_head).
- Offsets (mac_header, network_header, transport_header, csum_start) are offsets into `head`; -1 is "not
  set". Operations that put bytes in front of an immutable head (skb_push_data) or move it
  (pskb_expand_head) shift the ones that are set.
- `users` guards the struct: who holds a reference (skb_get) keeps it alive; the last consume_skb or
  kfree_skb runs the destructor. A struct with users > 1 is read only for all: skb_share_check first.
- `shinfo.dataref` guards the data: clones have structs of their own over one head. A head with dataref > 1
  is read only for all: skb_unshare, skb_unclone or skb_cow first. Operations named *_data here unshare by
  themselves, since they copy anyway. Frags are immutable tuples and frag_list references are counted per
  struct, so neither needs the dataref.
- Wrong lengths are bugs of the caller, not of the packet: they raise SkbOverPanic or SkbUnderPanic
  (skb_panic() in Linux).

Where the rest is: skb_data.py the paged part (pskb_may_pull, pskb_trim, skb_header_pointer, skb_copy_bits,
frags); skb_copy.py clones and copies; skb_queue.py SkBuffHead; skb_debug.py the debug mode; skb_ext.py the
rare fields.

Not here: cutting and gluing super-segments (gso.py), and page refcounts: Python's own references are those.
Source: include/linux/skbuff.h and net/core/skbuff.c, by function name.
"""

from __future__ import annotations

from pysock.core.skb_ext import SkbExt, SkbRare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.device import NetDevice
    from pysock.core.sock import Sock

__all__ = [
    "CHECKSUM_COMPLETE",
    "CHECKSUM_NONE",
    "CHECKSUM_PARTIAL",
    "CHECKSUM_UNNECESSARY",
    "SKB_OVERHEAD",
    "SharedInfo",
    "SkBuff",
    "SkbExt",
    "SkbOverPanic",
    "SkbPanic",
    "SkbRefPanic",
    "SkbUnderPanic",
    "alloc_skb",
    "build_skb",
    "consume_skb",
    "finished_skb",
    "kfree_skb",
    "skb_cloned",
    "skb_end",
    "skb_get",
    "skb_header_cloned",
    "skb_header_release",
    "skb_headlen",
    "skb_headroom",
    "skb_is_nonlinear",
    "skb_orphan",
    "skb_pull",
    "skb_push",
    "skb_push_data",
    "skb_put",
    "skb_put_data",
    "skb_release_data",
    "skb_reserve",
    "skb_reset_mac_header",
    "skb_reset_network_header",
    "skb_reset_transport_header",
    "skb_shared",
    "skb_shift_headers",
    "skb_tail",
    "skb_tailroom",
    "skb_trim",
    "skb_truesize",
]

CHECKSUM_NONE = 0  # nobody vouches for the checksum (receive); it is complete in the packet (transmit)
CHECKSUM_UNNECESSARY = 1  # the device verified it
CHECKSUM_COMPLETE = 2  # the device summed the packet into `csum`
CHECKSUM_PARTIAL = 3  # the field holds the pseudo header's sum; someone below has to finish it

SKB_OVERHEAD = 576  # what Linux charges for struct sk_buff (256) and skb_shared_info (320) on x86-64


class SkbPanic(ValueError):
    """An skb operation was called with lengths or references that the packet does not have: a bug."""


class SkbOverPanic(SkbPanic):
    """More bytes were asked for than fit behind `tail` (skb_over_panic)."""


class SkbUnderPanic(SkbPanic):
    """More bytes were asked for than lie before `data`, or than the packet holds (skb_under_panic)."""


class SkbRefPanic(SkbPanic):
    """A packet was freed more often than it was referenced (refcount underflow)."""


class SharedInfo:
    """The reference count of a head shared by clones.

    dataref counts all structs over the head, payload_refs those of them that promised to leave the headers
    alone (Linux keeps both in one atomic, the second in its upper half).
    """

    __slots__ = ("dataref", "payload_refs")

    def __init__(self, dataref: int, payload_refs: int = 0) -> None:
        self.dataref = dataref
        self.payload_refs = payload_refs


class SkBuff(SkbRare):
    """One packet; see the module docstring for the model.

    SkBuff(head, data, length, data_len=0, frags=()) takes the buffers by reference and checks nothing.
    `protocol` is the EtherType in host order (0: unset). gso_size and csum_offset are in bytes. `dst` is
    the route that was looked up for it.
    """

    __slots__ = (
        "csum_offset",
        "data",
        "data_len",
        "dev",
        "dst",
        "frags",
        "gso_size",
        "head",
        "ip_summed",
        "len",
        "mac_header",
        "network_header",
        "protocol",
        "shinfo",
        "sk",
        "users",
    )

    def __init__(
        self,
        head: bytes | bytearray,
        data: int,
        length: int,
        data_len: int = 0,
        frags: tuple[bytes | memoryview, ...] = (),
    ) -> None:
        self.head: bytes | bytearray = head
        self.data: int = data
        self.len: int = length
        self.data_len: int = data_len
        self.frags: tuple[bytes | memoryview, ...] = frags
        self.dev: NetDevice | None = None
        self.sk: Sock | None = None
        self.dst: object = None
        self.shinfo: SharedInfo | None = None
        self.ext: SkbExt | None = None
        self.protocol: int = 0
        self.ip_summed: int = 0
        self.gso_size: int = 0
        self.csum_offset: int = 0
        self.mac_header: int = -1
        self.network_header: int = -1
        self.transport_header: int = -1
        self.users: int = 1

    @property
    def truesize(self) -> int:
        """Bytes charged to a socket for this packet: see skb_truesize."""
        return skb_truesize(self)

    def __repr__(self) -> str:
        kind = "bytes" if type(self.head) is bytes else "bytearray"
        shared = 1 if self.shinfo is None else self.shinfo.dataref
        return (
            f"<SkBuff len={self.len} data_len={self.data_len} head={kind}({len(self.head)}) data={self.data} "
            f"proto={self.protocol:#06x} users={self.users} dataref={shared}>"
        )


# --- making ---------------------------------------------------------------------------------------


def alloc_skb(size: int, reserve: int = 0) -> SkBuff:
    """An empty packet with a private buffer of `size` bytes, `reserve` of them headroom."""
    if not 0 <= reserve <= size:
        raise SkbOverPanic(f"alloc_skb: reserve {reserve} of {size} bytes")
    return SkBuff(bytearray(size), reserve, 0)


def build_skb(buffer: bytes | bytearray, offset: int = 0) -> SkBuff:
    """A packet around a whole received `buffer`, by reference; its data starts at `offset`.

    Unlike Linux's build_skb the bytes already count as data: a Python driver has the exact buffer, not a
    page of a ring.
    """
    if not 0 <= offset <= len(buffer):
        raise SkbOverPanic(f"build_skb: offset {offset} in a buffer of {len(buffer)} bytes")
    return SkBuff(buffer, offset, len(buffer) - offset)


class _Blank(SkBuff):
    """An SkBuff whose fields are still to be written: half the price of one that is written twice."""

    __slots__ = ()
    __init__ = object.__init__


def finished_skb(
    head: bytes,
    network: int,
    transport: int,
    n: int,
    frags: tuple[bytes | memoryview, ...],
    protocol: int,
    dev: NetDevice | None,
    csum_offset: int,
    gso_size: int = 0,
) -> SkBuff:
    """A packet as a transport hands it to ``dev``: ``head`` holds every header from the link layer's on, ``frags`` the
    ``n`` bytes of payload.

    ``network`` and ``transport`` are the headers' offsets, ``protocol`` the EtherType. The transport checksum is left
    to the device, ``csum_offset`` bytes into the transport header (CHECKSUM_PARTIAL).
    """
    skb: SkBuff = _Blank()
    skb.head = head
    skb.data = skb.mac_header = 0
    skb.len = len(head) + n
    skb.data_len = n
    skb.frags = frags
    skb.dev = dev
    skb.sk = skb.dst = skb.shinfo = skb.ext = None
    skb.protocol = protocol
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.gso_size = gso_size
    skb.csum_offset = csum_offset
    skb.network_header = network
    skb.transport_header = transport
    skb.users = 1
    return skb


def received_skb(
    head: bytes, n: int, frags: tuple[bytes | memoryview, ...], dev: NetDevice, ip_summed: int
) -> SkBuff:
    """A frame that ``dev`` received, sent to its own address, with the Ethernet header at the start of ``head`` taken
    off: what `eth_type_trans` does for all frames. ``frags`` hold the last ``n`` bytes.
    """
    skb: SkBuff = _Blank()
    skb.head = head
    skb.data = 14
    skb.len = len(head) + n - 14
    skb.data_len = n
    skb.frags = frags
    skb.dev = dev
    skb.sk = skb.dst = skb.shinfo = skb.ext = None
    skb.protocol = head[12] << 8 | head[13]
    skb.ip_summed = ip_summed
    skb.gso_size = skb.csum_offset = skb.mac_header = 0
    skb.network_header = skb.transport_header = -1
    skb.users = 1
    return skb


# --- the shape ------------------------------------------------------------------------------------


def skb_headlen(skb: SkBuff) -> int:
    """Bytes in the linear part."""
    return skb.len - skb.data_len


def skb_tail(skb: SkBuff) -> int:
    """Offset into `head` just behind the linear part (skb_tail_pointer)."""
    return skb.data + skb.len - skb.data_len


def skb_end(skb: SkBuff) -> int:
    """Size of the linear buffer (skb_end_offset)."""
    return len(skb.head)


def skb_headroom(skb: SkBuff) -> int:
    """Bytes before the data. They can be written only if the head is: see skb_cow_head."""
    return skb.data


def skb_tailroom(skb: SkBuff) -> int:
    """Bytes free behind the linear part; 0 for a paged packet, whose data goes on elsewhere."""
    return 0 if skb.data_len else len(skb.head) - skb.data - skb.len


def skb_is_nonlinear(skb: SkBuff) -> bool:
    """Whether part of the data is paged."""
    return skb.data_len != 0


def skb_truesize(skb: SkBuff) -> int:
    """What a packet costs a socket's buffer accounts, in bytes: SKB_OVERHEAD + len(head) + data_len.

    Payload by reference is charged to every packet that refers to it, as Linux does for clones.
    """
    return SKB_OVERHEAD + len(skb.head) + skb.data_len


# --- moving data, tail ----------------------------------------------------------------------------


def skb_reserve(skb: SkBuff, n: int) -> None:
    """Move the start of an empty packet by `n` bytes, to leave headroom."""
    if skb.len or n < -skb.data or n > len(skb.head) - skb.data:
        raise SkbOverPanic(f"skb_reserve({n}) on {skb!r}")
    skb.data += n


def skb_put(skb: SkBuff, n: int) -> int:
    """Add `n` bytes behind the linear data; the answer is their offset in `head`, for pack_into or a slice.

    The packet must be linear. The bytes keep what the buffer held: write them all. Raises SkbOverPanic past
    the end.
    """
    tail = skb.data + skb.len
    if skb.data_len or n < 0 or tail + n > len(skb.head):
        raise SkbOverPanic(f"skb_put({n}) on {skb!r}")
    skb.len += n
    return tail


def skb_put_data(skb: SkBuff, data: bytes | bytearray | memoryview) -> None:
    """Append a copy of `data` to the linear part of a linear packet.

    A private bytearray is written in place and must have the tailroom; an immutable or shared head is
    replaced.
    """
    if skb.data_len:
        raise SkbOverPanic(f"skb_put_data on paged {skb!r}")
    head = skb.head
    n = len(data)
    tail = skb.data + skb.len
    if type(head) is bytearray and not skb_cloned(skb):
        if tail + n > len(head):
            raise SkbOverPanic(f"skb_put_data({n}) on {skb!r}")
        head[tail : tail + n] = data
    else:
        skb_release_data(skb)
        skb.head = b"".join((memoryview(head)[:tail], data))
    skb.len += n


def skb_push(skb: SkBuff, n: int) -> int:
    """Move the start of the data `n` bytes back into the headroom; the answer is the new `data` offset.

    Only the offset moves. To write there, the head must be private (skb_cow_head); skb_push_data does it all.
    """
    if n < 0 or n > skb.data:
        raise SkbUnderPanic(f"skb_push({n}) on {skb!r}")
    skb.len += n
    skb.data -= n
    return skb.data


def skb_push_data(skb: SkBuff, hdr: bytes) -> None:
    """Put the header `hdr` in front of the data, whatever the head is: the fast path's skb_push.

    An immutable head without headroom (what a transport sends) becomes hdr + head, and the offsets that are
    set move with it. A private bytearray with headroom is written in place; anything else gets a new
    immutable head.
    """
    n = len(hdr)
    head = skb.head
    if skb.data == 0 and type(head) is bytes:
        skb.head = hdr + head
        skb.len += n
        if skb.transport_header >= 0:
            skb.transport_header += n
        if skb.network_header >= 0:
            skb.network_header += n
        if skb.mac_header >= 0:
            skb.mac_header += n
        if skb.ext is not None and skb.ext.csum_start >= 0:
            skb.ext.csum_start += n
        if skb.shinfo is not None:
            skb_release_data(skb)
        return
    _push_data_slow(skb, hdr, n)


def _push_data_slow(skb: SkBuff, hdr: bytes, n: int) -> None:
    head = skb.head
    data = skb.data
    if data >= n and type(head) is bytearray and not skb_header_cloned(skb):
        head[data - n : data] = hdr
        skb.data = data - n
    else:
        view = memoryview(head)
        if data >= n:  # keep the rest of the headroom: offsets into it stay good
            new = b"".join((view[: data - n], hdr, view[data:]))
            skb.data = data - n
        else:
            new = b"".join((hdr, view[data:]))
            skb.data = 0
            skb_shift_headers(skb, n - data)
        skb_release_data(skb)
        skb.head = new
    skb.len += n


def skb_pull(skb: SkBuff, n: int) -> int:
    """Take `n` bytes off the front of the linear part; the answer is the new `data` offset."""
    if n < 0 or n > skb.len - skb.data_len:
        raise SkbUnderPanic(f"skb_pull({n}) on {skb!r}")
    skb.len -= n
    skb.data += n
    return skb.data


def skb_trim(skb: SkBuff, length: int) -> None:
    """Cut a linear packet to `length` bytes if it is longer. See also pskb_trim."""
    if skb.len > length:
        if length < 0 or skb.data_len:
            raise SkbUnderPanic(f"skb_trim({length}) on {skb!r}")
        skb.len = length


def skb_shift_headers(skb: SkBuff, delta: int) -> None:
    """Add `delta` to each header offset that is set; unset those that leave the head (skb_headers_offset_update)."""
    if skb.transport_header >= 0:
        skb.transport_header = max(-1, skb.transport_header + delta)
    if skb.network_header >= 0:
        skb.network_header = max(-1, skb.network_header + delta)
    if skb.mac_header >= 0:
        skb.mac_header = max(-1, skb.mac_header + delta)
    ext = skb.ext
    if ext is not None and ext.csum_start >= 0:
        ext.csum_start = max(-1, ext.csum_start + delta)


def skb_reset_mac_header(skb: SkBuff) -> None:
    """The link-layer header starts at the data."""
    skb.mac_header = skb.data


def skb_reset_network_header(skb: SkBuff) -> None:
    """The network header starts at the data."""
    skb.network_header = skb.data


def skb_reset_transport_header(skb: SkBuff) -> None:
    """The transport header starts at the data."""
    skb.transport_header = skb.data


# --- references and sharing -----------------------------------------------------------------------


def skb_get(skb: SkBuff) -> SkBuff:
    """Take one more reference to the struct."""
    skb.users += 1
    return skb


def consume_skb(skb: SkBuff) -> None:
    """Give one reference back, of a packet that did its job; the last one runs the destructor."""
    users = skb.users - 1
    skb.users = users
    if users or skb.shinfo is not None or skb.ext is not None:
        _consume_slow(skb, users)


def kfree_skb(skb: SkBuff, reason: str = "NOT_SPECIFIED") -> None:
    """consume_skb for a dropped packet; `reason`, the tail of an SKB_DROP_REASON_* name, is for debugging."""
    ext = skb.ext
    if ext is not None and ext.watch is not None:
        ext.watch.dropped(reason)
    consume_skb(skb)


def _consume_slow(skb: SkBuff, users: int) -> None:
    if users > 0:
        return
    ext = skb.ext
    if users < 0:
        skb.users = 0
        raise SkbRefPanic(f"{skb!r} was freed twice")
    watch = None
    if ext is not None:
        watch = ext.watch
        if watch is not None:
            watch.freeing(skb)
        if ext.destructor is not None:
            skb_orphan(skb)
        children = ext.frag_list
        if children:
            ext.frag_list = []
            for child in children:
                consume_skb(child)
    if skb.shinfo is not None:
        skb_release_data(skb)
    if watch is not None:
        watch.freed(skb)


def skb_orphan(skb: SkBuff) -> None:
    """Part the packet from its socket now: run the destructor once, and forget `sk`."""
    ext = skb.ext
    if ext is not None:
        destructor = ext.destructor
        if destructor is not None:
            ext.destructor = None
            destructor(skb)
    skb.sk = None


def skb_release_data(skb: SkBuff) -> None:
    """Drop the struct's share in its head, which the caller is about to replace or free."""
    info = skb.shinfo
    if info is not None:
        info.dataref -= 1
        ext = skb.ext
        if ext is not None and ext.nohdr:
            info.payload_refs -= 1
            ext.nohdr = False
        skb.shinfo = None


def skb_shared(skb: SkBuff) -> bool:
    """Whether somebody else holds this struct too, so that nobody may change it."""
    return skb.users != 1


def skb_cloned(skb: SkBuff) -> bool:
    """Whether another struct refers to the same head, so that nobody may write the data.

    An immutable head without clones answers False: it is not shared, yet not writable. Before writing call
    skb_unclone or skb_cow, which know.
    """
    info = skb.shinfo
    return info is not None and info.dataref != 1


def skb_header_cloned(skb: SkBuff) -> bool:
    """Whether the headers may not be written: the head is immutable, or a clone still cares for them."""
    if type(skb.head) is bytes:
        return True
    info = skb.shinfo
    return info is not None and info.dataref - info.payload_refs != 1


def skb_header_release(skb: SkBuff) -> None:
    """Promise not to touch the headers of this head any more, so that one clone may write its own there.

    Call it before cloning, as TCP does for packets that stay in the retransmit queue.
    """
    ext = skb.need_ext()
    if not ext.nohdr:
        ext.nohdr = True
        if skb.shinfo is None:
            skb.shinfo = SharedInfo(1, 1)
        else:
            skb.shinfo.payload_refs += 1
