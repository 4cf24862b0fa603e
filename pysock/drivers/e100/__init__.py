"""drivers/e100: an Intel 8255x network card, its driver, and the chip itself. drivers/net/ethernet/intel/e100.c.

    stack -- driver*.py --| registers, DMA memory, interrupt line |-- hw_*.py -- wire (core/wire.py)

What lives here: `kind.py`, what the driver table holds: it plugs a card into the kernel's PCI bus for each device that
is made. `driver*.py`, the driver, which reaches the hardware by nothing but what a driver has. `hw_*.py`, a model of
the chip, which knows no packet and no device. `regs.py`, the data sheet that both have read.

    create_device(net, "e100", "eth0", wire=cable.a)

What it may import: `core` and below; hw_*.py and driver*.py never each other, which a test checks.

How data passes through: ndo_start_xmit copies a frame into a command block's buffer and rings the chip, which reads it
from there and puts it on the wire; a frame from the wire is written behind a receive descriptor, an interrupt says so,
and the poll makes an sk_buff of it.
"""
