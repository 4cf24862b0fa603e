"""Multicast routing as routing daemons ask for it (``<linux/mroute.h>``, ``<linux/mroute6.h>``).

The options are at level SOL_IP of a raw IGMP socket and at SOL_IPV6 of a raw ICMPv6 one, under the same numbers.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MRT_BASE: Final = 200
MRT_INIT: Final = 200
MRT_DONE: Final = 201
MRT_ADD_VIF: Final = 202
MRT_DEL_VIF: Final = 203
MRT_ADD_MFC: Final = 204
MRT_DEL_MFC: Final = 205
MRT_VERSION: Final = 206
MRT_ASSERT: Final = 207
MRT_PIM: Final = 208
MRT_TABLE: Final = 209
MRT_ADD_MFC_PROXY: Final = 210
MRT_DEL_MFC_PROXY: Final = 211
MRT_FLUSH: Final = 212
MRT_MAX: Final = 212

# What MRT_FLUSH takes away
MRT_FLUSH_MFC: Final = 1
MRT_FLUSH_MFC_STATIC: Final = 2
MRT_FLUSH_VIFS: Final = 4
MRT_FLUSH_VIFS_STATIC: Final = 8

SIOCGETVIFCNT: Final = 0x89E0
SIOCGETSGCNT: Final = 0x89E1

MAXVIFS: Final = 32

VIFF_TUNNEL: Final = 0x1
VIFF_SRCRT: Final = 0x2
VIFF_REGISTER: Final = 0x4
VIFF_USE_IFINDEX: Final = 0x8
VIFF_STATIC: Final = 0x8000  # of the kernel: not made by the daemon
MIFF_REGISTER: Final = 0x1

#: struct vifctl: vifc_vifi, flags, threshold, rate_limit, lcl_addr or lcl_ifindex, rmt_addr
VIFCTL: Final = Struct("=HBBI4s4s")
#: struct mfcctl: mfcc_origin, mcastgrp, parent, ttls[MAXVIFS], four counters
MFCCTL: Final = Struct("=4s4sH32s2x16x")
#: struct sioc_sg_req: src, grp, pktcnt, bytecnt, wrong_if
SIOC_SG_REQ: Final = Struct("=4s4sQQQ")
#: struct sioc_vif_req and sioc_mif_req6: vifi, icount, ocount, ibytes, obytes
SIOC_VIF_REQ: Final = Struct("=H6xQQQQ")
#: struct mif6ctl: mif6c_mifi, flags, threshold, pifi, rate_limit
MIF6CTL: Final = Struct("=HBBH2xI")
#: struct mf6cctl: mf6cc_origin, mcastgrp (each a sockaddr_in6), parent, ifset
MF6CCTL: Final = Struct("=8x16s4x8x16s4xH2x32s")
#: struct sioc_sg_req6: src, grp (each a sockaddr_in6), pktcnt, bytecnt, wrong_if
SIOC_SG_REQ6: Final = Struct("=8x16s4x8x16s4xQQQ")

# What an upcall says (struct igmpmsg, struct mrt6msg)
IGMPMSG_NOCACHE: Final = 1
IGMPMSG_WRONGVIF: Final = 2
IGMPMSG_WHOLEPKT: Final = 3
IGMPMSG_WRVIFWHOLE: Final = 4
#: struct igmpmsg: 8 unused bytes (a datagram's first), im_msgtype, im_mbz, im_vif, im_vif_hi, im_src, im_dst
IGMPMSG: Final = Struct("=8sBBBB4s4s")
#: struct mrt6msg: im6_mbz, im6_msgtype, im6_mif, 4 bytes, im6_src, im6_dst
MRT6MSG: Final = Struct("=BBH4x16s16s")
