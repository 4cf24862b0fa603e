"""The hooks of pysock: everything a plugin can be asked, in one place.

A plugin is a module, or any object, with functions named as below. It takes only the arguments it wants. No
decorator is needed; `pluggy.HookimplMarker("pysock")` may be used for `tryfirst`, `trylast` and `specname`.
Wrappers are refused.

Registration hooks get a `register` callable. `register(item)` raises `OSError`: EEXIST, naming the holder, when another
plugin has the slot (the first to register wins), or what the table has against the item. A plugin may catch that; one
that lets it out, or raises anything else derived from `Exception`, is put out of the kernel: all it registered is taken
back, the report says "conflict" (EEXIST) or "failed" with the cause, and the other plugins go on (with `strict`, boot
raises `PluginError` instead). The built-ins come first, then the modules given to boot, those of PYSOCK_PLUGINS, and
the entry points by name.

Every hook runs with the Kernel's state to itself: at boot nothing else runs yet, later it holds the kernel
lock. So no hook may block, sleep or call the socket API of the same Kernel.
"""

from __future__ import annotations

import pluggy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.device_ops import Driver
    from pysock.core.net import Net
    from pysock.core.pci import PciDriver
    from pysock.core.qdisc import QdiscOps
    from pysock.core.sock import NetProtoFamily

PROJECT = "pysock"
hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def pysock_register_families(register: Callable[[NetProtoFamily], None]) -> None:
    """Register address families: `register(NetProtoFamily)` for each AF_* number.

    Called once for each Kernel, at boot, before any namespace exists. The slot is the family number, so two
    plugins cannot both hold AF 45. Linux: what sock_register() is called for in a module's init function.
    """


@hookspec
def pysock_request_family(register: Callable[[NetProtoFamily], None], family: int) -> None:
    """Register address family `family` if it is yours; do nothing otherwise.

    Called in socket(2) and socketpair(2) for a number that nobody registered, at most once for each number
    and Kernel, in the calling thread under the kernel lock. If it is unknown afterwards, the call fails
    with EAFNOSUPPORT. It is the place to import what is seldom needed. Linux: request_module("net-pf-N") in
    __sock_create().
    """


@hookspec
def pysock_register_drivers(register: Callable[[Driver], None]) -> None:
    """Register device drivers: `register(Driver)` for each kind of device. The slot is the driver's name.

    Called once for each Kernel, at boot, after the families and before any namespace exists. Linux:
    pci_register_driver() and rtnl_link_register().
    """


@hookspec
def pysock_register_pci_drivers(register: Callable[[PciDriver], None]) -> None:
    """Register drivers of simulated PCI cards: `register(PciDriver)`. The slot is the driver's name; several drivers
    may know a card, and are asked in order of registration.

    Called once for each Kernel, when the first card is plugged in (`kernel.pci`), under the kernel lock. Linux:
    pci_register_driver().
    """


@hookspec
def pysock_register_qdiscs(register: Callable[[QdiscOps], None]) -> None:
    """Register queueing disciplines: `register(QdiscOps)`. The slot is the name that `tc` uses, such as "fq".

    Called once for each Kernel, at boot, after the drivers. Linux: register_qdisc().
    """


@hookspec
def pysock_net_init(net: Net) -> None:
    """A network namespace was made: set up what the plugin keeps in it (sysctls, tables, devices).

    Called for each `Net`, the first one included, under the kernel lock, in order of registration, before
    any task can see it. An exception is contained: it is reported once with the plugin's name, the plugin
    stays, and the other plugins go on; `pysock_net_exit` is called for that `net` all the same. Linux:
    pernet_operations.init.
    """


@hookspec
def pysock_net_exit(net: Net) -> None:
    """A network namespace goes away: let go of what the plugin keeps in it.

    Called for each `Net` under the kernel lock, in reverse order of registration, after its sockets are
    closed and before its devices are gone. It must cope with an init that ended half way. An exception is
    contained as above. Linux: pernet_operations.exit.
    """
