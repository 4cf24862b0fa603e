"""Debug mode for packets: names the code that broke a rule of sharing, before another packet arrives corrupt.

A Kernel that debugs has a checker (`kernel.debug_skb = SkbChecker()`, else None) and hands it each packet
where packets enter the device layer: `checker.check(skb)`. The checker then rides along in the packet's rare
fields (`ext.watch`), where skb_clone, kfree_skb and consume_skb look only on their slow paths: switched off,
it costs nothing, and two kernels never meet in it.

What it finds, each as an exception that names the function, file and line:
- data written while a clone shares it, or lent memory (a frag over a bytearray) changed under a packet:
  SkbSharedWrite, raised by check(), at the next clone, or at the free, with the place of the first clone
  and the first byte that differs;
- any use of a freed packet, double free included: SkbUseAfterFree, with the place that freed it;
- lengths that do not add up: SkbBroken;
- packets that nobody freed: `leaked()`.

Freed packets get another class that refuses every access; that needs an interpreted SkBuff, not one
compiled by mypyc.
"""

from __future__ import annotations

import sys

from pysock.core.skb_data import skb_frag_is_lent
from pysock.core.skbuff import SkbPanic, SkbRefPanic, SkBuff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SharedInfo

__all__ = ["SkbBroken", "SkbChecker", "SkbSharedWrite", "SkbUseAfterFree", "Watch"]


class SkbSharedWrite(SkbPanic):
    """Bytes changed that another packet, or the lender of the memory, shares."""


class SkbUseAfterFree(SkbRefPanic):
    """A packet was used after its last reference was given back."""


class SkbBroken(SkbPanic):
    """A packet's lengths and offsets contradict its buffers."""


def _site() -> str:
    """`function (file:line)` of the nearest caller outside the skb modules."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("pysock.core.skb"):
        frame = frame.f_back
    code = frame.f_code
    return f"{code.co_name} ({code.co_filename}:{frame.f_lineno})"


class _Sharing:
    """What the clones of one head share, as it was at the first clone."""

    __slots__ = ("bytes", "head", "info", "site", "start")

    def __init__(self, skb: SkBuff, info: SharedInfo) -> None:
        # After skb_header_release one clone owns the headroom; only the data from here on is shared.
        self.start = skb.data if info.payload_refs else 0
        stop = skb.data + skb.len - skb.data_len if info.payload_refs else len(skb.head)
        self.info = info
        self.head = skb.head
        self.bytes = bytes(skb.head[self.start : stop])
        self.site = _site()

    def verify(self, skb: SkBuff) -> None:
        if skb.head is not self.head or skb.shinfo is not self.info or self.info.dataref < 2:
            return
        now = skb.head[self.start : self.start + len(self.bytes)]
        if now != self.bytes:
            at = _first_difference(now, self.bytes)
            raise SkbSharedWrite(
                f"offset {self.start + at} of a head shared since skb_clone in {self.site} was written "
                f"without unsharing (skb_cow, skb_unclone): noticed in {_site()}"
            )


def _first_difference(one: bytes | bytearray, two: bytes | bytearray) -> int:
    differ = (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    return next(differ, min(len(one), len(two)))


class Watch:
    """The checker's record of one packet; the skb functions call it on their slow paths."""

    __slots__ = ("born", "checker", "freed_at", "lent", "reason", "sharing")

    def __init__(self, checker: SkbChecker, born: str) -> None:
        self.checker = checker
        self.born = born
        self.freed_at = ""
        self.reason = ""
        self.sharing: _Sharing | None = None
        self.lent: list[tuple[memoryview, bytes]] = []

    def cloned(self, skb: SkBuff, new: SkBuff) -> None:
        """Called at the end of skb_clone: verify what is known, remember what the two share now."""
        info = skb.shinfo
        if info is not None and info.dataref == 2:
            self.sharing = None  # skb was alone, whatever it shared before: it was free to write
        self.checker.verify(skb)
        sharing = self.sharing
        if info is not None and type(skb.head) is bytearray and (sharing is None or sharing.info is not info):
            self.sharing = _Sharing(skb, info)
        self.checker.watch(new)
        watch = new.need_ext().watch
        if watch is not None:
            watch.sharing = self.sharing

    def dropped(self, reason: str) -> None:
        """Called by kfree_skb: remember why."""
        self.reason = reason

    def freeing(self, skb: SkBuff) -> None:
        """Called when the last reference is given back, while the packet is still whole."""
        self.checker.verify_data(skb)

    def freed(self, skb: SkBuff) -> None:
        """Called when the last reference is gone: from now on every access raises."""
        self.freed_at = _site()
        self.checker.live.pop(id(self), None)
        self.sharing = None
        self.lent = []
        skb.head = b""
        skb.frags = ()
        skb.dev = skb.sk = skb.dst = None
        skb.__class__ = _FreedSkBuff


class SkbChecker:
    """Checks the packets of one kernel; see the module docstring."""

    __slots__ = ("live",)

    def __init__(self) -> None:
        self.live: dict[int, Watch] = {}

    def watch(self, skb: SkBuff) -> None:
        """Follow this packet and its clones from now on; no effect if it is followed already."""
        ext = skb.need_ext()
        watch = ext.watch
        if watch is None:
            ext.watch = watch = Watch(self, _site())
            self.live[id(watch)] = watch
        for frag in skb.frags:
            if type(frag) is memoryview and skb_frag_is_lent(frag):
                if all(view is not frag for view, _ in watch.lent):
                    watch.lent.append((frag, bytes(frag)))

    def check(self, skb: SkBuff) -> None:
        """watch() and verify(): the one call for places that packets pass."""
        self.watch(skb)
        self.verify(skb)

    def verify(self, skb: SkBuff) -> None:
        """Raise SkbBroken, SkbSharedWrite or SkbUseAfterFree if a rule was broken on this packet."""
        if skb.users < 1:
            raise SkbBroken(f"{skb!r} has no references left: noticed in {_site()}")
        self.verify_data(skb)

    def verify_data(self, skb: SkBuff) -> None:
        """verify() without the struct's own reference count."""
        self._verify_shape(skb)
        ext = skb.ext
        watch = None if ext is None else ext.watch
        if watch is None:
            return
        if watch.sharing is not None:
            watch.sharing.verify(skb)
        for view, before in watch.lent:
            if view != before and any(view is frag for frag in skb.frags):
                raise SkbSharedWrite(
                    f"memory lent to a packet was changed while the packet lives (packet from {watch.born}; "
                    f"skb_orphan_frags copies it in time): noticed in {_site()}"
                )

    @staticmethod
    def _verify_shape(skb: SkBuff) -> None:
        paged = sum(len(frag) for frag in skb.frags) + sum(child.len for child in skb.frag_list)
        tail = skb.data + skb.len - skb.data_len
        if paged != skb.data_len or not 0 <= skb.data <= tail <= len(skb.head):
            raise SkbBroken(f"{skb!r} has {paged} paged bytes, head of {len(skb.head)}: noticed in {_site()}")
        if skb.shinfo is not None and skb.shinfo.dataref < 1:
            raise SkbBroken(f"the head of {skb!r} has no references left: noticed in {_site()}")

    def leaked(self) -> list[str]:
        """Where the packets that are not freed yet were first seen, one line each; empty when all is well."""
        return sorted(watch.born for watch in self.live.values())


class _FreedSkBuff(SkBuff):
    """What a watched packet becomes when it is freed."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> object:
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        raise SkbUseAfterFree(f"{name} of {self!r} was read in {_site()}")

    def __setattr__(self, name: str, value: object) -> None:
        raise SkbUseAfterFree(f"{name} of {self!r} was set in {_site()}")

    def __repr__(self) -> str:
        ext = object.__getattribute__(self, "ext")
        watch = ext.watch
        why = f" ({watch.reason})" if watch.reason else ""
        return f"<SkBuff from {watch.born}, freed by {watch.freed_at}{why}>"
