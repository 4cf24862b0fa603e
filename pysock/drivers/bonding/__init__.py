"""bonding: several Ethernet devices that look like one. Imported when the first bond is made.

What lives here: options.py (what a bond can be told), slave.py (one device of a bond and what its link is seen to be),
device.py (the bond, its driver), hash.py (which slave a flow goes by), arpmon.py (links judged by what arrives), ad.py
(802.3ad), proc.py (/proc/net/bonding), query.py (SIOCBONDINFOQUERY). What it may import: `core`, `wire`, `uapi`.
"""
