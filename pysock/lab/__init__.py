"""The laboratory: what a tester puts around hosts and devices to see, and later to disturb, what they do.

What lives here: `capture`, a tap that keeps the packets of devices or writes them to a file; `pcapng`, the file it
writes.

What it may import: anything of pysock.

How data passes through: a capture is a packet type of the device layer (ETH_P_ALL). It is called under the kernel lock
for each packet that a device sends or receives, copies the bytes, and lets the packet go; nobody downstream can tell
that it was there.
"""
