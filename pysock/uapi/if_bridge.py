"""Bridge numbers for programs: the commands of SIOCDEVPRIVATE and their structures (``linux/if_bridge.h``)."""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Commands: the first of four unsigned longs
BRCTL_ADD_IF: Final = 4
BRCTL_DEL_IF: Final = 5
BRCTL_GET_BRIDGE_INFO: Final = 6
BRCTL_GET_PORT_LIST: Final = 7
BRCTL_SET_BRIDGE_FORWARD_DELAY: Final = 8
BRCTL_SET_BRIDGE_HELLO_TIME: Final = 9
BRCTL_SET_BRIDGE_MAX_AGE: Final = 10
BRCTL_SET_AGEING_TIME: Final = 11
BRCTL_SET_GC_INTERVAL: Final = 12
BRCTL_GET_PORT_INFO: Final = 13
BRCTL_SET_BRIDGE_STP_STATE: Final = 14
BRCTL_SET_BRIDGE_PRIORITY: Final = 15
BRCTL_SET_PORT_PRIORITY: Final = 16
BRCTL_SET_PATH_COST: Final = 17
BRCTL_GET_FDB_ENTRIES: Final = 18

BRCTL_ARGS: Final = Struct("@4L")
"""The command and its three arguments, some of them pointers."""
BRIDGE_INFO: Final = Struct("=8s8s7I4B6I")
"""struct __bridge_info: designated_root, bridge_id, root_path_cost, max_age, hello_time, forward_delay, the bridge's
own three; topology_change, topology_change_detected, root_port, stp_enabled; ageing_time, gc_interval, and the timers
hello, tcn, topology_change, gc. Times in 1/100 s."""
PORT_INFO: Final = Struct("=8s8sHHII4B3I4x")
"""struct __port_info: designated_root, designated_bridge, port_id, designated_port, path_cost, designated_cost; state,
top_change_ack, config_pending, 0; the timers message_age, forward_delay, hold."""
FDB_ENTRY: Final = Struct("=6sBBIB3x")
"""struct __fdb_entry: address, port number, whether it is local, age, the port number's high byte."""
