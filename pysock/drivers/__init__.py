"""drivers: the devices. Each is a plugin like any other; nothing here is privileged.

What lives here: `loopback` (the namespace's own wire), `dummy` (swallows everything; for addresses and tests),
`veth` (two ends, usually in two namespaces), `bridge` (a switch made of devices), and plugin.py, which registers them.

What they may import: `core`, `wire`, `uapi`; never a family, nor each other.

How data passes through: a frame comes in at `ndo_start_xmit`, from skb.data on; a received one goes out through
`netif_rx`, or through a NAPI poll. core/device_ops.py is the contract.
"""
