"""bridge: a switch made of devices. net/bridge/, ip-link(8) "type bridge", IEEE 802.1D. Imported for the first.

    br = create_device(net, "bridge", "br0", stp_state=1, priority=4096);  br_add_if(br, port);  br_del_if(br, port)

A frame that a port receives teaches where its sender is, and goes to the port where its receiver is, or to all others
when nobody knows or it is for a group. What is for the bridge itself, or for a group, the bridge device receives; what
the bridge device sends takes the same ways. Frames keep their super-segments and unfinished checksums; a port that
can't take them has them cut and finished on the way out.

What lives here, in the order in which a frame meets it:

    port.py       Port: one device of the bridge, what it does with a received frame
    fdb.py        Fdb: where addresses are, learned and configured
    snoop.py      the little there is of multicast snooping
    device.py     BridgeOps: the ways out (forward, flood), the bridge as a device; BridgeDriver
    stp.py        Stp, StpPort: the spanning tree, made when it is first turned on;  bpdu.py  its frames
    interface.py  br_add_if, br_del_if, and what happens to ports
    attr.py       the attributes under /sys/class/net/*/bridge and brport, by name
    ioctl.py      SIOCBRADDBR and its kin, for brctl(8);  private.py  SIOCDEVPRIVATE

Of multicast snooping there is what keeps thousands of ports quiet: reports of membership (IGMP, MLD) go only where a
querier was heard. Groups are flooded. Not here: VLAN filtering, proxy ARP, locked ports, MRP, switch offload; a
spanning tree of the user's (BR_USER_STP). What it may import: `core`, `wire`, `uapi`.
"""

from __future__ import annotations

from pysock.drivers.bridge.interface import br_add_if, br_del_if

__all__ = ("br_add_if", "br_del_if")
