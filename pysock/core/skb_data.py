"""The paged part of an sk_buff: payload by reference, and how headers are read across it.

`frags` is an immutable tuple of `bytes` or flat byte memoryviews; changing it means giving the packet
another tuple, so clones never notice. A packet may also chain whole packets behind its frags (`frag_list`:
fragments being reassembled). Operations that cut or write the paged part first turn the chain into frags,
by reference where the bytes are immutable (skb_flatten); Linux keeps it because its frags hold pages only,
ours can hold anything. There is no MAX_SKB_FRAGS.

Reading never changes a packet (skb_header_pointer, skb_copy_bits, skb_copy_into). pskb_may_pull and its kin
may replace the head, so offsets stay good but a `head` taken before is stale.
"""

from __future__ import annotations

from pysock.core.skbuff import (
    CHECKSUM_NONE,
    CHECKSUM_PARTIAL,
    SkbOverPanic,
    SkBuff,
    SkbUnderPanic,
    consume_skb,
    skb_cloned,
    skb_release_data,
)
from pysock.wire.checksum import combine, finish, partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "pskb_may_pull",
    "pskb_pull",
    "pskb_trim",
    "skb_append_frag",
    "skb_append_frag_list",
    "skb_checksum",
    "skb_checksum_help",
    "skb_copy_bits",
    "skb_copy_into",
    "skb_flatten",
    "skb_frag_is_lent",
    "skb_header_pointer",
    "skb_linearize",
    "skb_store_bits",
    "skb_to_bytes",
    "skb_walk_frags",
]


# --- reading --------------------------------------------------------------------------------------


def skb_walk_frags(skb: SkBuff) -> Iterator[SkBuff]:
    """The packets of the frag_list, in order (skb_walk_frags)."""
    return iter(skb.frag_list)


def _pieces(skb: SkBuff) -> list[bytes | memoryview]:
    """The buffers that hold the data, in order: the linear part, the frags, the packets of the frag_list."""
    headlen = skb.len - skb.data_len
    found: list[bytes | memoryview] = []
    if headlen:
        found.append(memoryview(skb.head)[skb.data : skb.data + headlen])
    found.extend(skb.frags)
    if skb.ext is not None:
        for child in skb.ext.frag_list:
            found.extend(_pieces(child))
    return found


def _collect(skb: SkBuff, offset: int, n: int) -> list[bytes | memoryview]:
    """The buffers that make up `n` bytes from `offset` on, whole objects wherever they fit."""
    found: list[bytes | memoryview] = []
    for whole in _pieces(skb):
        if n == 0:
            break
        size = len(whole)
        if offset >= size:
            offset -= size
            continue
        piece = whole
        if offset or n < size:
            piece = memoryview(whole)[offset : offset + n]
            offset = 0
        found.append(piece)
        n -= len(piece)
    return found


def skb_copy_bits(skb: SkBuff, offset: int, n: int) -> bytes:
    """`n` bytes from `offset` (relative to data), joined; a whole `bytes` frag comes back as the same object.

    Raises SkbUnderPanic if the packet does not reach that far. A negative offset reads headroom, as in Linux.
    """
    start = skb.data + offset
    if n < 0 or start < 0 or offset + n > skb.len:
        raise SkbUnderPanic(f"skb_copy_bits({offset}, {n}) on {skb!r}")
    headlen = skb.len - skb.data_len
    if offset + n <= headlen:
        part = skb.head[start : start + n]
        return part if type(part) is bytes else bytes(part)
    if offset < 0:
        return bytes(skb.head[start : skb.data]) + skb_copy_bits(skb, 0, n + offset)
    frags = skb.frags
    if offset == headlen and len(frags) == 1 and len(frags[0]) == n:  # all of an ordinary segment's payload
        one = frags[0]
        return one if type(one) is bytes else bytes(one)
    return b"".join(_collect(skb, offset, n))


def skb_header_pointer(skb: SkBuff, offset: int, n: int) -> bytes | None:
    """`n` bytes of a header at `offset` from data, wherever they lie; None if the packet is too short."""
    if offset + n > skb.len or skb.data + offset < 0 or n < 0:
        return None
    return skb_copy_bits(skb, offset, n)


def skb_copy_into(skb: SkBuff, offset: int, out: memoryview) -> int:
    """Copy data from `offset` on into `out` until either ends; answers how much (skb_copy_datagram_iter)."""
    n = min(len(out), skb.len - offset)
    if offset < 0 or n < 0:
        raise SkbUnderPanic(f"skb_copy_into({offset}) on {skb!r}")
    at = 0
    for piece in _collect(skb, offset, n):
        size = len(piece)
        out[at : at + size] = piece
        at += size
    return n


def skb_to_bytes(skb: SkBuff) -> bytes:
    """The whole frame, for captures: from a link-layer header if it lies before the data, else from data."""
    mac = skb.mac_header
    data = skb.data
    start = mac if 0 <= mac < data else data
    tail = data + skb.len - skb.data_len
    if skb.data_len == 0:
        return bytes(skb.head[start:tail])
    if skb.ext is not None and skb.ext.frag_list:
        return bytes(skb.head[start:data]) + b"".join(_pieces(skb))
    return b"".join((skb.head[start:tail], *skb.frags))


def skb_checksum(skb: SkBuff, offset: int, n: int, initial: int = 0) -> int:
    """The sum (not yet complemented) of `n` bytes from `offset` on plus the sum `initial`: see wire.checksum.

    Adds up the pieces where they lie, whatever their lengths. Raises SkbUnderPanic past the packet's end.
    """
    if offset < 0 or n < 0 or offset + n > skb.len:
        raise SkbUnderPanic(f"skb_checksum({offset}, {n}) on {skb!r}")
    total = initial
    done = 0
    for piece in _collect(skb, offset, n):
        total = combine(total, done, partial(piece))
        done += len(piece)
    return total


# --- adding ---------------------------------------------------------------------------------------


def skb_append_frag(skb: SkBuff, frag: bytes | bytearray | memoryview) -> None:
    """Add a fragment by reference (skb_add_rx_frag); nobody may change the bytes while the packet lives.

    A memoryview of another shape is flattened to bytes; a bytearray is wrapped in one.
    """
    if type(frag) is not bytes:
        view = memoryview(frag)
        frag = view if view.ndim == 1 and view.format == "B" else view.cast("B")
    n = len(frag)
    if skb.ext is not None and skb.ext.frag_list:
        skb_flatten(skb)
    skb.frags += (frag,)
    skb.len += n
    skb.data_len += n


def skb_frag_is_lent(frag: bytes | memoryview) -> bool:
    """Whether somebody else could change the fragment's bytes: it does not rest on a `bytes` object."""
    return type(frag) is memoryview and type(frag.obj) is not bytes


def skb_append_frag_list(skb: SkBuff, child: SkBuff) -> None:
    """Chain `child` behind the packet; the caller's reference to it goes to the chain."""
    skb.need_ext().frag_list.append(child)
    skb.len += child.len
    skb.data_len += child.len


def skb_flatten(skb: SkBuff) -> None:
    """Turn the frag_list into frags and free its packets; bytes that somebody may still change are copied."""
    ext = skb.ext
    if ext is None or not ext.frag_list:
        return
    children = ext.frag_list
    frags = list(skb.frags)
    for child in children:
        frags.extend(bytes(piece) if skb_frag_is_lent(piece) else piece for piece in _pieces(child))
    ext.frag_list = []
    skb.frags = tuple(frags)
    for child in children:
        consume_skb(child)


# --- pulling and trimming -------------------------------------------------------------------------


def pskb_may_pull(skb: SkBuff, n: int) -> bool:
    """Make sure that `n` bytes from data on are linear; False if the packet is shorter (drop it then)."""
    headlen = skb.len - skb.data_len
    if n <= headlen:
        return True
    if n > skb.len:
        return False
    _pull_tail(skb, n - headlen)
    return True


def pskb_pull(skb: SkBuff, n: int) -> bool:
    """Take `n` bytes off the front, from the paged part too; False, and no change, if there are fewer."""
    if n < 0:
        raise SkbUnderPanic(f"pskb_pull({n}) on {skb!r}")
    if n > skb.len - skb.data_len and not pskb_may_pull(skb, n):
        return False
    skb.len -= n
    skb.data += n
    return True


def skb_linearize(skb: SkBuff) -> None:
    """Bring all data into the linear part."""
    if skb.data_len:
        _pull_tail(skb, skb.data_len)
    skb_flatten(skb)  # what is left has no bytes in it
    skb.frags = ()


def _pull_tail(skb: SkBuff, n: int) -> None:
    """Move `n` bytes from the paged part to the linear part, in a new head (__pskb_pull_tail)."""
    skb_flatten(skb)
    tail = skb.data + skb.len - skb.data_len
    moved: list[bytes | memoryview] = []
    want = n
    frags = skb.frags
    for rest, frag in enumerate(frags, 1):
        if len(frag) > want:
            view = memoryview(frag)
            moved.append(view[:want])
            frags = (view[want:], *frags[rest:])
            break
        moved.append(frag)
        want -= len(frag)
        if not want:
            frags = frags[rest:]
            break
    head = skb.head
    parts = (memoryview(head)[:tail], *moved)
    new = bytearray().join(parts) if type(head) is bytearray else b"".join(parts)
    skb_release_data(skb)
    skb.head = new
    skb.frags = frags
    skb.data_len -= n


def pskb_trim(skb: SkBuff, length: int) -> None:
    """Cut the packet to `length` bytes if it is longer, paged part included."""
    cut = skb.len - length
    if cut <= 0:
        return
    if length < 0:
        raise SkbUnderPanic(f"pskb_trim({length}) on {skb!r}")
    skb_flatten(skb)
    keep = skb.data_len - cut
    if keep <= 0:
        skb.frags = ()
        skb.data_len = 0
    else:
        skb.data_len = keep
        frags: list[bytes | memoryview] = []
        for frag in skb.frags:
            size = len(frag)
            if size >= keep:
                frags.append(frag if size == keep else memoryview(frag)[:keep])
                break
            frags.append(frag)
            keep -= size
        skb.frags = tuple(frags)
    skb.len = length


# --- writing --------------------------------------------------------------------------------------


def skb_store_bits(skb: SkBuff, offset: int, data: bytes) -> None:
    """Write `data` over the packet's bytes from `offset` (relative to data) on.

    Safe on any packet with users == 1: an immutable or shared head is replaced, as is each frag it touches.
    Raises SkbOverPanic if the packet does not reach that far.
    """
    n = len(data)
    if offset < 0 or offset + n > skb.len:
        raise SkbOverPanic(f"skb_store_bits({offset}, {n} bytes) on {skb!r}")
    headlen = skb.len - skb.data_len
    if offset < headlen and n:
        part = data[: headlen - offset]
        start = skb.data + offset
        head = skb.head
        if type(head) is bytearray and not skb_cloned(skb):
            head[start : start + len(part)] = part
        else:
            view = memoryview(head)
            new = b"".join((view[:start], part, view[start + len(part) :]))
            skb_release_data(skb)
            skb.head = new
        data = data[len(part) :]
        offset = headlen
    if data:
        skb_flatten(skb)
        _store_frags(skb, offset - headlen, data)


def _store_frags(skb: SkBuff, at: int, data: bytes) -> None:
    frags = list(skb.frags)
    for i, frag in enumerate(frags):
        size = len(frag)
        if at >= size:
            at -= size
            continue
        part = data[: size - at]
        view = memoryview(frag)
        frags[i] = b"".join((view[:at], part, view[at + len(part) :]))
        data = data[len(part) :]
        at = 0
        if not data:
            break
    skb.frags = tuple(frags)


def skb_checksum_help(skb: SkBuff) -> None:
    """Finish the checksum of a CHECKSUM_PARTIAL packet in software, for a device that can't.

    The field at csum_start + csum_offset holds the folded sum of the pseudo header; it becomes the checksum
    of all bytes from csum_start on. A sum of zero is sent as 0xFFFF, since UDP reads zero as "none". No
    effect on other packets.
    """
    if skb.ip_summed != CHECKSUM_PARTIAL:
        return
    start = skb.csum_start - skb.data
    field = start + skb.csum_offset
    if start < 0 or field + 2 > skb.len:
        raise SkbUnderPanic(f"skb_checksum_help: csum_start {skb.csum_start}+{skb.csum_offset} on {skb!r}")
    value = finish(skb_checksum(skb, start, skb.len - start)) or 0xFFFF
    skb_store_bits(skb, field, value.to_bytes(2, "big"))
    skb.ip_summed = CHECKSUM_NONE
