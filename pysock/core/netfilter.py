"""Netfilter: functions that see every IP packet at five points of its way, and decide about it; and two points of each
device.

    in  -> PRE_ROUTING -> (route) -+-> LOCAL_IN -> transport
                                   '-> FORWARD -> POST_ROUTING -> out
    transport -> LOCAL_OUT -> (route) -----------> POST_ROUTING -> out

    wire -> taps -> NETDEV INGRESS -> VLANs, bridge, protocols
    protocols -> NETDEV EGRESS -> queueing discipline -> taps -> wire

A hook is called as ``hook(skb, state)`` and answers a verdict. ``skb.data`` is at the IP header; at a device's points
behind the link-layer header on the way in, at it on the way out. PRE_ROUTING sees fragments, LOCAL_IN of IPv4 what was
put together of them, of IPv6 fragments again; LOCAL_OUT and POST_ROUTING see what is still to be cut.

The hooks of one point run in order of priority (NF_IP_PRI_*; of equal ones the newest first) until one does not accept:

    NF_ACCEPT   the next hook, then on its way         NF_STOLEN   the hook has the packet: `NfState.resume` sends it on
    NF_DROP     freed and counted; the sender gets EPERM, or E with `drop_err(E)`; at EGRESS, NET_XMIT_DROP
    NF_REPEAT   the same hook again                    NF_QUEUE    not supported: dropped

Rules that keep it true: a hook that raises is reported once under its name and costs the packet. A hook may change the
packet (`skb_cow` first), or take itself and others off while it runs: tables are replaced, never changed.

While a namespace has no hook nothing is asked: a family `watch`es its table, and when the first hook comes it leaves
its fast paths (its routes are made anew as detours, its receive function is replaced), when the last goes it returns.
A device's hooks are its own (`DeviceHooks`, in ``NetDevice.nf``) and go with it.

Not here: connection tracking, NAT, rule languages; NF_QUEUE; the hooks of bridges and ARP.
Source: net/netfilter/core.c.
"""

from __future__ import annotations

import errno

from pysock.core.dev_xmit import NET_XMIT_DROP
from pysock.core.errors import err
from pysock.core.skbuff import kfree_skb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import Sock

    Hook = Callable[[SkBuff, "NfState"], int]
    #: What becomes of a packet that all hooks accepted: 0 or a positive NET_XMIT_*, or minus an errno.
    OkFn = Callable[[SkBuff], int]

NFPROTO_IPV4: Final = 2
NFPROTO_NETDEV: Final = 5
NFPROTO_IPV6: Final = 10

NF_INET_PRE_ROUTING: Final = 0
NF_INET_LOCAL_IN: Final = 1
NF_INET_FORWARD: Final = 2
NF_INET_LOCAL_OUT: Final = 3
NF_INET_POST_ROUTING: Final = 4
HOOK_NAMES: Final = ("prerouting", "input", "forward", "output", "postrouting")

NF_NETDEV_INGRESS: Final = 0
NF_NETDEV_EGRESS: Final = 1
DEVICE_HOOK_NAMES: Final = ("ingress", "egress")

NF_DROP: Final = 0
NF_ACCEPT: Final = 1
NF_STOLEN: Final = 2
NF_QUEUE: Final = 3
NF_REPEAT: Final = 4
_VERDICT_MASK: Final = 0xFF

NF_IP_PRI_FIRST: Final = -(1 << 31)
NF_IP_PRI_RAW: Final = -300
NF_IP_PRI_CONNTRACK: Final = -200
NF_IP_PRI_MANGLE: Final = -150
NF_IP_PRI_NAT_DST: Final = -100
NF_IP_PRI_FILTER: Final = 0
NF_IP_PRI_NAT_SRC: Final = 100
NF_IP_PRI_LAST: Final = (1 << 31) - 1

#: A hook that says REPEAT this often for one packet is taken for one that never stops.
_REPEATS: Final = 64


def drop_err(number: int) -> int:
    """NF_DROP that tells the sender errno ``number`` instead of EPERM (NF_DROP_ERR)."""
    return number << 16 | NF_DROP


class NfHookOps:
    """One hook (struct nf_hook_ops): ``hook(skb, state)`` at point ``hooknum`` (NF_INET_*) of family ``pf``
    (NFPROTO_*), or of ``dev`` (NF_NETDEV_* and NFPROTO_NETDEV). ``name`` is who is named when it raises. ``drops``
    counts what it dropped.
    """

    __slots__ = ("dev", "drops", "hook", "hooknum", "name", "pf", "priority")

    def __init__(
        self,
        hook: Hook,
        pf: int,
        hooknum: int,
        priority: int = NF_IP_PRI_FILTER,
        name: str | None = None,
        *,
        dev: NetDevice | None = None,
    ) -> None:
        self.hook = hook
        self.dev = dev
        self.pf = pf
        self.hooknum = hooknum
        self.priority = priority
        self.name: str = name or str(getattr(hook, "__qualname__", type(hook).__name__))
        self.drops = 0


class NfState:
    """Where a packet is (struct nf_hook_state): the point, the devices it came in and leaves by (None where the point
    knows none), the socket it is from, its namespace.
    """

    __slots__ = ("_at", "_hooks", "hook", "in_dev", "net", "okfn", "out_dev", "pf", "sk")

    def __init__(
        self, net: Net, pf: int, hook: int, hooks: tuple[NfHookOps, ...], in_dev: NetDevice | None,
        out_dev: NetDevice | None, sk: Sock | None, okfn: OkFn,
    ) -> None:  # fmt: skip
        self.net = net
        self.pf = pf
        self.hook = hook
        self.in_dev = in_dev
        self.out_dev = out_dev
        self.sk = sk
        self.okfn = okfn
        self._hooks = hooks
        self._at = 0

    def resume(self, skb: SkBuff) -> int:
        """Send a stolen packet on, through the hooks behind the one that stole it (nf_reinject). Call it in the kernel,
        from a timer for example. 0, or what the sender would hear.
        """
        kernel = self.net.kernel
        while self._at < len(self._hooks):
            ops = self._hooks[self._at]
            self._at += 1
            verdict = NF_REPEAT
            try:
                for _ in range(_REPEATS):
                    verdict = ops.hook(skb, self)
                    if verdict != NF_REPEAT:
                        break
            except Exception as exc:
                kernel.errors.report(ops.name, f"netfilter hook {point_name(self.pf, self.hook)}", exc)
                verdict = NF_DROP
            if verdict == NF_ACCEPT:
                continue
            if verdict == NF_STOLEN:
                return 0
            ops.drops += 1
            kfree_skb(skb, "NETFILTER_DROP")
            if self.pf == NFPROTO_NETDEV:
                return NET_XMIT_DROP
            return -(verdict >> 16 or errno.EPERM) if verdict & _VERDICT_MASK == NF_DROP else -errno.EPERM
        return self.okfn(skb)


def point_name(pf: int, hooknum: int) -> str:
    """What nftables calls it."""
    return (DEVICE_HOOK_NAMES if pf == NFPROTO_NETDEV else HOOK_NAMES)[hooknum]


def _inserted(hooks: tuple[NfHookOps, ...], ops: NfHookOps) -> tuple[NfHookOps, ...]:
    if ops in hooks:
        raise err(errno.EEXIST, f"hook {ops.name!r} is already registered")
    at = sum(other.priority < ops.priority for other in hooks)
    return (*hooks[:at], ops, *hooks[at:])


def _removed(hooks: tuple[NfHookOps, ...], ops: NfHookOps) -> tuple[NfHookOps, ...]:
    if ops not in hooks:
        raise err(errno.ENOENT, f"hook {ops.name!r} is not registered")
    return tuple(other for other in hooks if other is not ops)


class DeviceHooks:
    """The hooks of one device by point (dev->nf_hooks_ingress, nf_hooks_egress)."""

    __slots__ = ("dev", "points")

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.points: tuple[tuple[NfHookOps, ...], tuple[NfHookOps, ...]] = ((), ())

    def ingress(self, skb: SkBuff, okfn: OkFn) -> None:
        """Ask about a received packet; ``okfn(skb)`` goes on with it (nf_ingress)."""
        dev = self.dev
        hooks = self.points[NF_NETDEV_INGRESS]
        NfState(dev.net, NFPROTO_NETDEV, NF_NETDEV_INGRESS, hooks, dev, None, None, okfn).resume(skb)

    def egress(self, skb: SkBuff, okfn: OkFn) -> int:
        """The same about one to be sent (nf_hook_egress); what the transmit path answers."""
        dev = self.dev
        hooks = self.points[NF_NETDEV_EGRESS]
        return NfState(dev.net, NFPROTO_NETDEV, NF_NETDEV_EGRESS, hooks, None, dev, skb.sk, okfn).resume(skb)


class Netfilter:
    """The hooks of one namespace: `netfilter_of(net)`."""

    __slots__ = ("_hooks", "_watchers", "net")

    def __init__(self, net: Net) -> None:
        self.net = net
        self._hooks: dict[tuple[int, int], tuple[NfHookOps, ...]] = {}
        self._watchers: dict[int, Callable[[bool], None]] = {}

    def watch(self, pf: int, changed: Callable[[bool], None]) -> None:
        """``changed(True)`` when the family gets its first hook, and now if it has one; ``changed(False)`` when it has
        none any more.
        """
        self._watchers[pf] = changed
        if self.active(pf):
            changed(True)

    def active(self, pf: int) -> bool:
        """Whether any hook of the family is registered."""
        return any(key[0] == pf for key in self._hooks)

    def hooks(self, pf: int, hooknum: int) -> tuple[NfHookOps, ...]:
        """Those of one point, in the order in which they run."""
        return self._hooks.get((pf, hooknum), ())

    def run(
        self, pf: int, hooknum: int, skb: SkBuff, in_dev: NetDevice | None, out_dev: NetDevice | None,
        okfn: OkFn, sk: Sock | None = None,
    ) -> int:  # fmt: skip
        """Ask the hooks of a point, and call ``okfn(skb)`` if all accept (NF_HOOK). Takes the reference."""
        hooks = self._hooks.get((pf, hooknum))
        if not hooks:
            return okfn(skb)
        return NfState(self.net, pf, hooknum, hooks, in_dev, out_dev, sk, okfn).resume(skb)

    def add(self, ops: NfHookOps) -> None:
        if ops.pf == NFPROTO_NETDEV:
            dev = self._device(ops)
            self._set_device_point(dev, ops.hooknum, _inserted(_device_hooks(dev)[ops.hooknum], ops))
            return
        if ops.pf not in (NFPROTO_IPV4, NFPROTO_IPV6):
            raise err(errno.EPFNOSUPPORT, f"no hooks for protocol family {ops.pf}")
        if not 0 <= ops.hooknum < len(HOOK_NAMES):
            raise err(errno.EINVAL, f"hook {ops.hooknum} is not in 0..{len(HOOK_NAMES) - 1}")
        key = ops.pf, ops.hooknum
        hooks = _inserted(self._hooks.get(key, ()), ops)
        was_active = self.active(ops.pf)
        self._hooks[key] = hooks
        if not was_active:
            self._tell(ops.pf, True)

    def remove(self, ops: NfHookOps) -> None:
        if ops.pf == NFPROTO_NETDEV:
            dev = self._device(ops)
            self._set_device_point(dev, ops.hooknum, _removed(_device_hooks(dev)[ops.hooknum], ops))
            return
        key = ops.pf, ops.hooknum
        left = _removed(self._hooks.get(key, ()), ops)
        if left:
            self._hooks[key] = left
        else:
            del self._hooks[key]
        if not self.active(ops.pf):
            self._tell(ops.pf, False)

    def _device(self, ops: NfHookOps) -> NetDevice:
        dev = ops.dev
        if dev is None or dev.net is not self.net or not 0 <= ops.hooknum < len(DEVICE_HOOK_NAMES):
            raise err(errno.EINVAL, "a device's hook needs dev=, of this namespace, and NF_NETDEV_INGRESS or _EGRESS")
        return dev

    @staticmethod
    def _set_device_point(dev: NetDevice, hooknum: int, hooks: tuple[NfHookOps, ...]) -> None:
        ingress, egress = _device_hooks(dev)
        points = (hooks, egress) if hooknum == NF_NETDEV_INGRESS else (ingress, hooks)
        if not any(points):
            dev.nf = None
        else:
            dev.nf = dev.nf or DeviceHooks(dev)
            dev.nf.points = points
        dev.update_path()

    def _tell(self, pf: int, active: bool) -> None:
        changed = self._watchers.get(pf)
        if changed is not None:
            changed(active)

    def statistics(self) -> dict[tuple[int, str, str], int]:
        """What each registered hook dropped, by (pf, point, name)."""
        found: dict[tuple[int, str, str], int] = {}
        chains = [*self._hooks.values(), *(hooks for dev in self.net.devices for hooks in _device_hooks(dev))]
        for hooks in chains:
            for ops in hooks:
                key = ops.pf, point_name(ops.pf, ops.hooknum), ops.name
                found[key] = found.get(key, 0) + ops.drops
        return found


def _device_hooks(dev: NetDevice) -> tuple[tuple[NfHookOps, ...], tuple[NfHookOps, ...]]:
    return ((), ()) if dev.nf is None else dev.nf.points


def netfilter_of(net: Net) -> Netfilter:
    """The namespace's hooks, made now if nobody asked before."""
    if not net.has(Netfilter):
        net.set(Netfilter(net))
    return net.get(Netfilter)


def nf_register_net_hook(net: Net, ops: NfHookOps) -> None:
    """Let ``ops`` see packets of ``net`` from now on; a plugin does it in pysock_net_init. EINVAL for a point that is
    none, or a device of another namespace; EPFNOSUPPORT for a family without hooks, EEXIST when it is registered
    already.
    """
    netfilter_of(net).add(ops)


def nf_unregister_net_hook(net: Net, ops: NfHookOps) -> None:
    """Take it off again. ENOENT when it is not on."""
    netfilter_of(net).remove(ops)
