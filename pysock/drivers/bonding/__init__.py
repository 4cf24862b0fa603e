"""bonding: several Ethernet devices that look like one. Imported when the first bond is made.

What lives here: slave.py (one device of a bond and what its link is seen to be), device.py (the bond, its driver),
proc.py (/proc/net/bonding). What it may import: `core`, `wire`, `uapi`.
"""
