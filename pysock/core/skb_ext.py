"""The rare fields of an sk_buff, made only for the packets that use them.

`SkbExt` is the side structure; `SkbRare` is the base of `SkBuff` that reads it: each rare field is a
property that answers its default while `ext` is None and makes the structure at the first write. The common
packet never pays for it.
"""

from __future__ import annotations

from pysock.uapi.if_ether import ETH_P_8021Q

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.skb_debug import Watch
    from pysock.core.skbuff import SkBuff

    Destructor = Callable[[SkBuff], None]
    #: Called with the packet, a frame from its data on, and what happens to it: SCM_TSTAMP_SCHED or SCM_TSTAMP_SND.
    TxStamp = Callable[[SkBuff, int], None]

__all__ = ["SkbExt", "SkbRare"]


class SkbExt:
    """Fields that few packets carry, named as in `struct sk_buff` and `struct skb_shared_info`.

    tstamp is in nanoseconds (0: not stamped), vlan_tci the 16-bit tag that was taken out of the frame (None:
    untagged) and vlan_proto its EtherType, csum_start an offset into `head` (-1: the transport header), cb a
    scratch object of the layer that holds the packet, nfct the netfilter state, `redirect` the device that a
    redirected packet comes from (None: not redirected). `dropcount` is what SO_RXQ_OVFL reports, `peeked` says
    that MSG_PEEK showed an empty datagram. `nohdr` says that this skb gave up its claim to the headers
    (skb_header_release). `tx_stamp` is told when the packet leaves. `watch` is the record of debug mode
    (core/skb_debug.py), None when that is off.
    """

    __slots__ = (
        "cb",
        "csum",
        "csum_start",
        "destructor",
        "dropcount",
        "frag_list",
        "gso_segs",
        "gso_type",
        "hash",
        "mark",
        "nfct",
        "nohdr",
        "peeked",
        "pkt_type",
        "priority",
        "queue_mapping",
        "redirect",
        "skb_iif",
        "tstamp",
        "tx_stamp",
        "vlan_proto",
        "vlan_tci",
        "watch",
    )

    def __init__(self) -> None:
        self.priority: int = 0
        self.mark: int = 0
        self.tstamp: int = 0
        self.vlan_tci: int | None = None
        self.vlan_proto: int = ETH_P_8021Q
        self.hash: int = 0
        self.queue_mapping: int = 0
        self.dropcount: int = 0
        self.peeked: bool = False
        self.pkt_type: int = 0
        self.skb_iif: int = 0
        self.csum: int = 0
        self.csum_start: int = -1
        self.gso_segs: int = 0
        self.gso_type: int = 0
        self.frag_list: list[SkBuff] = []
        self.cb: object = None
        self.destructor: Destructor | None = None
        self.nfct: object = None
        self.redirect: object = None
        self.nohdr: bool = False
        self.watch: Watch | None = None
        self.tx_stamp: TxStamp | None = None

    def says_more(self) -> bool:
        """Whether there is anything that a clone inherits, but for what concerns checksums and super-segments."""
        return bool(
            self.priority or self.mark or self.tstamp or self.hash or self.queue_mapping or self.pkt_type
            or self.skb_iif or (self.vlan_tci, self.cb, self.nfct, self.redirect) != (None, None, None, None)
        )  # fmt: skip

    def copy(self) -> SkbExt:
        """What a clone inherits: not the destructor, the frag_list (it needs references), nohdr, watch, tx_stamp."""
        new = SkbExt()
        new.priority = self.priority
        new.mark = self.mark
        new.tstamp = self.tstamp
        new.vlan_tci = self.vlan_tci
        new.vlan_proto = self.vlan_proto
        new.hash = self.hash
        new.queue_mapping = self.queue_mapping
        new.pkt_type = self.pkt_type
        new.skb_iif = self.skb_iif
        new.csum = self.csum
        new.csum_start = self.csum_start
        new.gso_segs = self.gso_segs
        new.gso_type = self.gso_type
        new.cb = self.cb
        new.nfct = self.nfct
        new.redirect = self.redirect
        return new


class SkbRare:
    """Property access to the rare fields; `SkBuff` adds the common ones."""

    __slots__ = ("ext", "transport_header")

    ext: SkbExt | None
    transport_header: int

    def need_ext(self) -> SkbExt:
        """The side structure, made now if this packet had none."""
        ext = self.ext
        if ext is None:
            ext = self.ext = SkbExt()
        return ext

    @property
    def priority(self) -> int:
        """Queueing priority (SO_PRIORITY); qdiscs classify by it."""
        ext = self.ext
        return 0 if ext is None else ext.priority

    @priority.setter
    def priority(self, value: int) -> None:
        self.need_ext().priority = value

    @property
    def mark(self) -> int:
        """The firewall mark (SO_MARK)."""
        ext = self.ext
        return 0 if ext is None else ext.mark

    @mark.setter
    def mark(self, value: int) -> None:
        self.need_ext().mark = value

    @property
    def tstamp(self) -> int:
        """When the packet arrived or shall leave, in nanoseconds of the kernel's clock; 0 if not stamped."""
        ext = self.ext
        return 0 if ext is None else ext.tstamp

    @tstamp.setter
    def tstamp(self, value: int) -> None:
        self.need_ext().tstamp = value

    @property
    def vlan_tci(self) -> int | None:
        """The VLAN tag carried beside the frame, or None."""
        ext = self.ext
        return None if ext is None else ext.vlan_tci

    @vlan_tci.setter
    def vlan_tci(self, value: int | None) -> None:
        self.need_ext().vlan_tci = value

    @property
    def hash(self) -> int:
        """Flow hash, 0 if not computed."""
        ext = self.ext
        return 0 if ext is None else ext.hash

    @hash.setter
    def hash(self, value: int) -> None:
        self.need_ext().hash = value

    @property
    def queue_mapping(self) -> int:
        """The device queue chosen for the packet."""
        ext = self.ext
        return 0 if ext is None else ext.queue_mapping

    @queue_mapping.setter
    def queue_mapping(self, value: int) -> None:
        self.need_ext().queue_mapping = value

    @property
    def pkt_type(self) -> int:
        """Whom the frame is for: PACKET_HOST (0), PACKET_BROADCAST, ... as in packet(7)."""
        ext = self.ext
        return 0 if ext is None else ext.pkt_type

    @pkt_type.setter
    def pkt_type(self, value: int) -> None:
        self.need_ext().pkt_type = value

    @property
    def skb_iif(self) -> int:
        """Index of the device that the packet arrived on, 0 if none."""
        ext = self.ext
        return 0 if ext is None else ext.skb_iif

    @skb_iif.setter
    def skb_iif(self, value: int) -> None:
        self.need_ext().skb_iif = value

    @property
    def csum(self) -> int:
        """With CHECKSUM_COMPLETE: the ones' complement sum of the packet from `data`, by the device."""
        ext = self.ext
        return 0 if ext is None else ext.csum

    @csum.setter
    def csum(self, value: int) -> None:
        self.need_ext().csum = value

    @property
    def csum_start(self) -> int:
        """With CHECKSUM_PARTIAL: where in `head` summing starts; the transport header unless it was set."""
        ext = self.ext
        return self.transport_header if ext is None or ext.csum_start < 0 else ext.csum_start

    @csum_start.setter
    def csum_start(self, value: int) -> None:
        self.need_ext().csum_start = value

    @property
    def gso_segs(self) -> int:
        """How many wire packets a super-segment stands for; 0 if nobody counted."""
        ext = self.ext
        return 0 if ext is None else ext.gso_segs

    @gso_segs.setter
    def gso_segs(self, value: int) -> None:
        self.need_ext().gso_segs = value

    @property
    def gso_type(self) -> int:
        """SKB_GSO_* bits: how to cut a super-segment."""
        ext = self.ext
        return 0 if ext is None else ext.gso_type

    @gso_type.setter
    def gso_type(self, value: int) -> None:
        self.need_ext().gso_type = value

    @property
    def frag_list(self) -> list[SkBuff]:
        """Packets chained behind the frags, one reference each; only skb_data.py edits the list."""
        ext = self.ext
        return [] if ext is None else ext.frag_list

    @property
    def cb(self) -> object:
        """Scratch space of the layer that holds the packet now."""
        ext = self.ext
        return None if ext is None else ext.cb

    @cb.setter
    def cb(self, value: object) -> None:
        self.need_ext().cb = value

    @property
    def destructor(self) -> Destructor | None:
        """Called once with the skb when it is orphaned or freed: settles the socket's accounts."""
        ext = self.ext
        return None if ext is None else ext.destructor

    @destructor.setter
    def destructor(self, value: Destructor | None) -> None:
        self.need_ext().destructor = value
