"""Where addresses are: the forwarding database of one bridge. net/bridge/br_fdb.c, bridge(8) "fdb".

    learned     heard at a port; forgotten when not heard again for the ageing time (802.1D 7.9.2), or for the forward
                delay alone while the tree changes (7.9.2, table 7-5: short ageing)
    dynamic     configured, and ages the same
    static      configured, stays; follows its address to another port unless it is sticky
    permanent   the bridge's own or a port's: frames for it go up (`local`)
"""

from __future__ import annotations

import errno

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.errors import err
from pysock.core.eth import ZERO_ADDR
from pysock.core.timer import Timer
from pysock.drivers.bridge.port import STATE_FORWARDING, STATE_LEARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.drivers.bridge.port import Port

#: How long an address is known that is not heard of, unless configured otherwise, ns.
AGEING_NS: Final = 300 * NSEC_PER_SEC
#: No more addresses than this are learned unless `fdb_max_learned` says so; to those beyond, frames are flooded. (Linux
#: has no limit unless told so.)
MAX_LEARNED: Final = 65_536
#: `heard` of an entry that does not age.
ALWAYS: Final = 1 << 62

DYNAMIC: Final = "dynamic"
STATIC: Final = "static"
PERMANENT: Final = "permanent"


class FdbEntry:
    """Where an address is (net_bridge_fdb_entry). ``port`` is None for the bridge itself; ``heard`` is an instant,
    monotonic ns; ``by_user`` says that it was configured.
    """

    __slots__ = ("by_user", "heard", "local", "port", "sticky")

    def __init__(self, port: Port | None, heard: int, *, local: bool = False, by_user: bool = False) -> None:
        self.port = port
        self.heard = heard
        self.local = local
        self.by_user = by_user
        self.sticky = False

    @property
    def state(self) -> str:
        """PERMANENT, STATIC or DYNAMIC."""
        return PERMANENT if self.local else STATIC if self.heard == ALWAYS else DYNAMIC


class Fdb:
    """``entries`` maps addresses to what is known of them, and is never replaced; ``ageing`` is what was configured and
    ``hold`` what counts now, ns; ``max_learned`` is 0 for no limit.
    """

    __slots__ = ("ageing", "dev", "entries", "hold", "learned", "max_learned", "timer")

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.entries: dict[bytes, FdbEntry] = {}
        self.ageing = self.hold = AGEING_NS
        self.learned = 0
        self.max_learned = MAX_LEARNED
        self.timer = Timer(self._age)

    # -- learning --------------------------------------------------------------------------------------------

    def update(self, address: bytes, port: Port, now: int) -> None:
        """``address`` was heard at ``port`` (br_fdb_update)."""
        known = self.entries.get(address)
        if known is not None:
            if known.local:
                return  # somebody sends in our name
            if known.heard < now:
                known.heard = now
            if not known.sticky:
                known.port = port
        elif self.hold > 0 and not 0 < self.max_learned <= self.learned:
            self.learned += 1
            self.entries[address] = FdbEntry(port, now)
            if not self.timer.pending:
                self.dev.kernel.timers.mod_timer(self.timer, now + self.hold)

    # -- ageing ----------------------------------------------------------------------------------------------

    def set_hold(self, hold: int) -> None:
        """Entries live so long from now on (ns)."""
        self.hold = hold
        if self.entries:
            self._age()

    def _age(self) -> None:
        """br_fdb_cleanup()."""
        kernel = self.dev.kernel
        oldest = kernel.now - self.hold
        for address, known in tuple(self.entries.items()):
            if known.heard <= oldest:
                self._delete(address)
        heard = min((known.heard for known in self.entries.values()), default=ALWAYS)
        if heard < ALWAYS:
            kernel.timers.mod_timer(self.timer, heard + self.hold)
        else:
            kernel.timers.del_timer(self.timer)

    def _delete(self, address: bytes) -> None:
        known = self.entries.pop(address)
        self.learned -= not (known.local or known.by_user)

    def flush(self, port: Port | None = None, *, all: bool = False) -> None:
        """Forget what ages, at ``port`` alone if given; with ``all`` everything (br_fdb_delete_by_port)."""
        for address, known in tuple(self.entries.items()):
            if (port is None or known.port is port) and (all or known.heard < ALWAYS):
                self._delete(address)

    # -- our own addresses -----------------------------------------------------------------------------------

    def add_local(self, address: bytes, port: Port | None) -> None:
        """``address`` is ours; whoever was heard with it is not (br_fdb_add_local)."""
        known = self.entries.get(address)
        if known is not None:
            if known.local:
                return
            self._delete(address)
        self.entries[address] = FdbEntry(port, ALWAYS, local=True)

    def delete_local(self, address: bytes, port: Port | None, others: dict[bytes, Port | None]) -> None:
        """``address`` is no longer that of ``port``; but it may be that of one of the ``others`` (fdb_delete_local)."""
        known = self.entries.get(address)
        if known is None or not known.local or known.by_user or known.port is not port:
            return
        if address in others:
            known.port = others[address]
        else:
            self._delete(address)

    # -- configuration ---------------------------------------------------------------------------------------

    def add(self, address: bytes, port: Port | None, state: str, *, sticky: bool, replace: bool) -> None:
        """`bridge fdb add` (br_fdb_add). EINVAL for a group's or no address, an unknown state, an entry for the bridge
        itself that is not permanent, a permanent one that is sticky; EPERM for a dynamic one at a port that does not
        learn now; EEXIST for one that is there, unless ``replace``.
        """
        if len(address) != 6 or address[0] & 1 or address == ZERO_ADDR or state not in (DYNAMIC, STATIC, PERMANENT):
            raise err(errno.EINVAL)
        if (state != PERMANENT and port is None) or (state == PERMANENT and sticky):
            raise err(errno.EINVAL)
        if state == DYNAMIC and port is not None and port.state not in (STATE_LEARNING, STATE_FORWARDING):
            raise err(errno.EPERM)
        if address in self.entries:
            if not replace:
                raise err(errno.EEXIST)
            self._delete(address)
        now = self.dev.kernel.now
        entry = FdbEntry(port, now if state == DYNAMIC else ALWAYS, local=state == PERMANENT, by_user=True)
        entry.sticky = sticky
        self.entries[address] = entry
        if state == DYNAMIC and not self.timer.pending:
            self.dev.kernel.timers.mod_timer(self.timer, now + self.hold)

    def delete(self, address: bytes, port: Port | None) -> None:
        """`bridge fdb del`: ENOENT unless ``address`` is at ``port``."""
        known = self.entries.get(address)
        if known is None or known.port is not port:
            raise err(errno.ENOENT)
        self._delete(address)

    def text(self) -> str:
        """A line an entry, as `bridge fdb show` prints it, in the order in which they came."""
        now = self.dev.kernel.now
        lines = []
        for address, known in self.entries.items():
            words = [address.hex(":"), "dev", known.port.dev.name if known.port is not None else self.dev.name]
            words += ["master", self.dev.name] if known.port is not None else []
            words += ["sticky"] if known.sticky else []
            words += [known.state] if known.heard == ALWAYS else ["used", str((now - known.heard) // NSEC_PER_SEC)]
            lines.append(" ".join(words) + "\n")
        return "".join(lines)
