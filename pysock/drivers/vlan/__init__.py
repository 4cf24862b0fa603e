"""vlan: 802.1Q and 802.1ad VLANs as devices of their own. Imported when the first one is made.

What lives here: device.py (the device and its driver), ioctl.py (SIOCSIFVLAN), proc.py
(/proc/net/vlan/config). Tags themselves are core/vlan.py's.
What it may import: `core`, `wire`, `uapi`.
"""
