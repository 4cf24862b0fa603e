"""The laboratory: what a tester puts around hosts and devices to see, and to disturb, what they do.

What lives here:

    network.py      Network: builds hosts, links, switches and routers, parts and heals them
    host.py         Host: a namespace and a program's task;  program.py  a function that runs on one in a thread
    link.py         Link and its two Ends: a cable, impairments, faults, the plug;  switch.py  a bridge
    media.py        what cables are made of: veth pairs, e100 cards and a wire;  tapcables.py  TAP devices, made by
                    taproom.py, a process of its own, in a network namespace of the real Linux
    faults.py       Fault, and the queueing discipline that commits it;  packet.py  what its condition looks at
    crash.py        what a host loses with its power;  fds.py  descriptors of many hosts
    addressing.py   who gets which address;  routing.py  by way of whom others are reached;  units.py  "20ms", "1%"
    capture.py      the packets of a namespace;  netcapture.py  those of a network's cables
    pcapng.py       the file that captures write;  recorder.py  the last packets, in case somebody asks

What it may import: anything of pysock.

How data passes through: hosts send through devices like any others. A fault is a queueing discipline at the end of a
cable, a crash takes the carrier away, a capture is a packet type of the device layer (ETH_P_ALL) that copies the bytes
and lets the packet go: nobody in the stack knows that there is a laboratory around it.
"""
