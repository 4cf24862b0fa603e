"""Hosts with simulated e100 cards: `Hosts` whose cables are real ones, and a card on a bench without any driver."""

from __future__ import annotations

from itertools import pairwise
from struct import pack_into, unpack_from

from pysock.core.device import NetDevice, dev_open
from pysock.core.kernel import Kernel
from pysock.core.pci import PciBus, PciDevice
from pysock.core.skbuff import SkBuff
from pysock.core.wire import ABLE_ALL, Cable, WireClient, WirePort
from pysock.drivers.e100 import regs
from pysock.drivers.e100.driver import nic_of
from pysock.drivers.e100.driver_nic import E100Nic
from pysock.drivers.e100.hw_card import E100Card
from pysock.drivers.e100.kind import card_of
from pysock.families.inet.devinet import add_address
from support.devices import boot, frame
from support.hosts import HostApi, Hosts, network

MAC = b"\x02\x11\x22\x33\x44\x55"
OTHER = b"\x02\0\0\0\0\x09"


class Station(WireClient):
    """Somebody at the other end of a cable who records what comes and sends what a test says."""

    def __init__(self, port: WirePort) -> None:
        self.port = port
        self.got: list[bytes] = []
        self.done = 0
        self.abilities = ABLE_ALL
        port.attach(self)

    def receive(self, frame: bytes, damage: int) -> None:
        self.got.append(frame)

    def transmit_done(self) -> None:
        self.done += 1

    def link_changed(self) -> None:
        self.port.advertise(self.abilities)


class Bench:
    """A card in a slot that no driver looks at, a `Station` on its cable, and helpers for memory and registers."""

    def __init__(self, kernel: Kernel | None = None, timed: bool = False) -> None:
        self.kernel = boot() if kernel is None else kernel
        self.bus = PciBus(self.kernel)
        self.card = E100Card(MAC)
        self.pdev: PciDevice = self.bus.plug(self.card)
        self.pdev.enable()
        self.csr = self.pdev.bars[0]
        self.dma = self.pdev.dma
        self.cable = Cable(self.kernel if timed else None)
        self.card.plug_wire(self.cable.a)
        self.peer = Station(self.cable.b)
        self.interrupts: list[int] = []
        self.csr.write8(regs.SCB_ACK, 0xFF)
        self.bus.irqs.request_irq(self.pdev.irq, self._interrupt, self, "bench")

    def _interrupt(self) -> bool:
        why = self.csr.read8(regs.SCB_ACK)
        self.csr.write8(regs.SCB_ACK, why)
        self.interrupts.append(why)
        return why != 0

    def command(self, command: int, pointer: int = 0) -> None:
        self.csr.write32(regs.SCB_POINTER, pointer)
        self.csr.write8(regs.SCB_COMMAND, command)

    def block(self, command: int, data: bytes = b"", link: int = 0) -> int:
        """A command block in memory."""
        at = self.dma.alloc(max(64, 8 + len(data)))
        regs.CB_HEADER.pack_into(self.dma.mem, at, 0, command, link)
        self.dma.write(at + 8, data)
        return at

    def transmission(self, frame: bytes, flags: int = 0, threshold: int = 0xE0) -> int:
        """A TRANSMIT block in simplified mode."""
        return self.block(
            regs.OP_TRANSMIT | flags, regs.TCB.pack(regs.NO_TBD, len(frame), threshold, 0) + frame, link=0
        )

    def link(self, *blocks: int) -> None:
        for one, other in pairwise(blocks):
            pack_into("<I", self.dma.mem, one + 4, other)

    def status(self, at: int) -> int:
        value: int = unpack_from("<H", self.dma.mem, at)[0]
        return value

    def configure(self, **bits: int) -> None:
        """Power-up settings with some bytes changed: configure(b15=0x49)."""
        raw = bytearray(self.card.config.raw)
        for name, value in bits.items():
            raw[int(name[1:])] = value
        self.command(regs.CUC_START, self.block(regs.OP_CONFIGURE | regs.CB_EL, bytes(raw)))

    def set_address(self, mac: bytes = MAC) -> None:
        self.command(regs.CUC_START, self.block(regs.OP_IAS | regs.CB_EL, mac))

    def receive_area(self, count: int, last: int = regs.RFD_EL, size: int = 1536) -> list[int]:
        """``count`` descriptors, linked; the last has the flag ``last``."""
        area = [self.dma.alloc(16 + size) for _ in range(count)]
        for n, at in enumerate(area):
            command = last if n == count - 1 else 0
            regs.RFD.pack_into(self.dma.mem, at, 0, command, area[(n + 1) % count], regs.NO_TBD, 0, size)
        return area

    def received(self, at: int) -> bytes:
        """The frame in a descriptor."""
        count = unpack_from("<H", self.dma.mem, at + 12)[0] & regs.RFD_COUNT
        return self.dma.read(at + 16, count)

    def state(self) -> tuple[int, int]:
        status = self.csr.read8(regs.SCB_STATUS)
        return status & regs.CUS_MASK, status & regs.RUS_MASK


class Single:
    """One card in a kernel without families, and a tester on its cable."""

    def __init__(self, timed: bool = False, open: bool = True, **options: object) -> None:
        self.kernel: Kernel = boot()
        self.cable = Cable(self.kernel if timed else None)
        self.peer = Station(self.cable.b)
        options.setdefault("mac", MAC)
        self.kernel.enter()
        self.dev: NetDevice = self.kernel.dev_layer.create_device(
            self.kernel.init_net, "e100", "eth0", wire=self.cable.a, **options
        )
        if open:
            dev_open(self.dev)
        self.kernel.leave()

    @property
    def nic(self) -> E100Nic:
        return nic_of(self.dev)

    @property
    def pdev(self) -> PciDevice:
        return self.nic.pdev

    def send(self, payload: bytes = b"payload", size: int = 0) -> None:
        data = frame(payload, dst=OTHER, src=MAC).ljust(size, b"\0")
        self.kernel.enter()
        self.dev.queue_xmit(SkBuff(data, 0, len(data)))
        self.kernel.leave()

    def arrive(self, data: bytes, damage: int = 0) -> None:
        self.kernel.enter()
        card_of(self.dev).receive(data, damage)
        self.kernel.leave()

    def heard(self, data: bytes) -> bool:
        before = self.dev.stats.rx_packets
        self.arrive(data)
        return self.dev.stats.rx_packets > before


class E100Hosts(Hosts):
    """Hosts on real cables. ``timed``: frames take the time of their bits."""

    def __init__(self, seed: int = 1, timed: bool = False, delay: int = 0, mbit: int = 100) -> None:
        Hosts.__init__(self, seed)
        self.wire = Cable(self.kernel if timed else None, mbit, delay)

    def card(self, host: HostApi, address: str, port: WirePort | None, **options: object) -> NetDevice:
        """A card in a host, up."""
        create = self.kernel.dev_layer.create_device
        dev = host.call(create, host.net, "e100", None, wire=port, **options)
        host.call(dev_open, dev)
        host.call(add_address, host.inet, dev, *network(address))
        return dev

    def two(self, **options: object) -> tuple[HostApi, HostApi]:
        """10.0.0.1 and 10.0.0.2 at the two ends of `wire`."""
        a, b = self.host("a"), self.host("b")
        self.card(a, "10.0.0.1/24", self.wire.a, **options)
        self.card(b, "10.0.0.2/24", self.wire.b, **options)
        return a, b


def nic(host: HostApi) -> E100Nic:
    return nic_of(host.dev())


def card(host: HostApi) -> E100Card:
    return card_of(host.dev())


def to(destination: bytes = MAC, payload: bytes = b"payload", size: int = 0) -> bytes:
    """A frame of an experimental EtherType, at least 60 bytes or ``size``."""
    return (destination + OTHER + b"\x88\xb5" + payload).ljust(size or 60, b"\0")
