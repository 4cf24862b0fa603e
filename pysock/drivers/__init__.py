"""drivers: the devices. Each is a plugin like any other; nothing here is privileged.

What lives here: `loopback` (the namespace's own wire), `dummy` (swallows everything; for addresses and tests),
`veth` (two ends, usually in two namespaces), `tap` and `e100` (the host's network; a simulated card), `bridge` (a
switch made of devices), `vlan` (one 802.1Q VLAN of another device), `bonding` (several devices as one), `macvlan`
(several addresses on one device), `ifb` (a queue for packets that come in), and plugin.py, which registers them: the
last five by lazy.py, so that they are imported when the first device of their kind is made.

What they may import: `core`, `wire`, `uapi`; never a family, nor each other.

How data passes through: a frame comes in at `ndo_start_xmit`, from skb.data on; a received one goes out through
`netif_rx`, or through a NAPI poll. core/device_ops.py is the contract.
"""
