"""The texts of /proc/net/dev and /proc/net/softnet_stat. Source: net/core/net-procfs.c, by function name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net

_HEAD = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
)


def softnet_stat_text(kernel: Kernel) -> str:
    """One line for each CPU (softnet_seq_show): processed, dropped, squeezed; then, in hexadecimal as all, received for
    another CPU, refused by the flow limit, waiting in the backlog, and the CPU's number.
    """
    lines = []
    for sd in kernel.cpus:
        limited = 0 if sd.flow_limit is None else sd.flow_limit.count
        waiting = len(sd.input_pkt_queue)
        row = (sd.processed, sd.dropped, sd.time_squeeze, 0, 0, 0, 0, 0, 0, sd.received_rps, limited, waiting, sd.cpu)
        lines.append(" ".join(f"{value & 0xFFFFFFFF:08x}" for value in (*row, waiting, 0)) + "\n")
    return "".join(lines)


def net_dev_text(net: Net) -> str:
    """One line for each device of ``net``, as ifconfig(8) reads it."""
    lines = [_HEAD]
    for dev in net.devices:
        s = dev.get_stats()
        frame = s.rx_length_errors + s.rx_over_errors + s.rx_crc_errors + s.rx_frame_errors
        carrier = s.tx_carrier_errors + s.tx_aborted_errors + s.tx_window_errors + s.tx_heartbeat_errors
        dropped = s.rx_dropped + s.rx_missed_errors
        lines.append(
            f"{dev.name:>6}: {s.rx_bytes:7} {s.rx_packets:7} {s.rx_errors:4} {dropped:4} {s.rx_fifo_errors:4} "
            f"{frame:5} {s.rx_compressed:10} {s.multicast:9} {s.tx_bytes:8} {s.tx_packets:7} {s.tx_errors:4} "
            f"{s.tx_dropped:4} {s.tx_fifo_errors:4} {s.collisions:5} {carrier:7} {s.tx_compressed:10}\n"
        )
    return "".join(lines)
