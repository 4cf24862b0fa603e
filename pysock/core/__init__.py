"""core: what every family and driver stands on.

What lives here: the Kernel and its big lock, time and timers, waiting, softirqs, the sk_buff, the generic
socket (`Socket`, `Sock`, `ProtoOps`, `Proto`), network namespaces (`Net`), network devices and the paths
between them and the protocols, what ethtool asks them (`ethtool*`), simulated CPUs (`smp`, `rps`), buses and
wires for drivers of hardware, notifier chains, capabilities, sysctls and counters.

What it may import: `wire` and `uapi`; `kernel.py` alone also imports `plugin`.

How data passes through: a protocol hands an sk_buff to `dev.dev_queue_xmit`; its qdisc hands it to the
device; a driver hands what it received to `netif_rx` or polls it through NAPI; `softirq` brings it to
`dev.netif_receive_skb`, and that to the packet types that the protocols registered.
"""
