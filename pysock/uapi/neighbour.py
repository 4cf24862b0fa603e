"""Numbers of the neighbour tables, as netlink and `ip neigh` show them (rtnetlink(7), ``<linux/neighbour.h>``)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# States (ndm_state)
NUD_NONE: Final = 0x00
NUD_INCOMPLETE: Final = 0x01
NUD_REACHABLE: Final = 0x02
NUD_STALE: Final = 0x04
NUD_DELAY: Final = 0x08
NUD_PROBE: Final = 0x10
NUD_FAILED: Final = 0x20
NUD_NOARP: Final = 0x40
NUD_PERMANENT: Final = 0x80

NUD_NAMES: Final = {
    NUD_NONE: "NONE",
    NUD_INCOMPLETE: "INCOMPLETE",
    NUD_REACHABLE: "REACHABLE",
    NUD_STALE: "STALE",
    NUD_DELAY: "DELAY",
    NUD_PROBE: "PROBE",
    NUD_FAILED: "FAILED",
    NUD_NOARP: "NOARP",
    NUD_PERMANENT: "PERMANENT",
}

# Flags (ndm_flags)
NTF_USE: Final = 0x01
NTF_SELF: Final = 0x02
NTF_MASTER: Final = 0x04
NTF_PROXY: Final = 0x08
NTF_EXT_LEARNED: Final = 0x10
NTF_OFFLOADED: Final = 0x20
NTF_STICKY: Final = 0x40
NTF_ROUTER: Final = 0x80

# struct arpreq's arp_flags (``<net/if_arp.h>``, arp(7))
ATF_COM: Final = 0x02
ATF_PERM: Final = 0x04
ATF_PUBL: Final = 0x08
ATF_USETRAILERS: Final = 0x10
ATF_NETMASK: Final = 0x20
ATF_DONTPUB: Final = 0x40
