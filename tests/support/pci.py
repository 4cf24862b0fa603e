"""A PCI driver that writes down what it is asked, and a card for it."""

from __future__ import annotations

from pysock.core.pci import PCI_CLASS_DEVICE, PciBar, PciCard, PciDevice, PciDeviceId, PciDriver


class Recorder(PciDriver):
    """Takes what its table says; ``refuses`` is the errno that it refuses with, ``raises`` the method that raises."""

    __slots__ = ("calls", "id_table", "name", "raises", "refuses")

    def __init__(
        self, refuses: int = 0, entry: PciDeviceId | None = None, name: str = "recorder", raises: str = ""
    ) -> None:
        self.name = name
        self.refuses = refuses
        self.raises = raises
        self.id_table = (entry or PciDeviceId(0x8086, 0x1229),)
        self.calls: list[str] = []

    def probe(self, pdev: PciDevice) -> None:
        self._called("probe", "")
        if self.refuses:
            raise OSError(self.refuses, "no")

    def remove(self, pdev: PciDevice) -> None:
        self._called("remove", "")

    def suspend(self, pdev: PciDevice) -> None:
        self._called("suspend", f" {pdev.bars[0].read8(1):#x}")

    def resume(self, pdev: PciDevice) -> None:
        self._called("resume", f" {pdev.bars[0].read8(1):#x}")

    def _called(self, method: str, state: str) -> None:
        self.calls.append(method + state)
        if method == self.raises:
            raise ZeroDivisionError(method)


class LargeCard(PciCard):
    """Two windows, of 1 MiB and 4 KiB."""

    __slots__ = ()

    def __init__(self) -> None:
        self.pci_config = bytearray(b"\x34\x12\x78\x56").ljust(256, b"\0")
        self.pci_config[PCI_CLASS_DEVICE : PCI_CLASS_DEVICE + 2] = b"\0\x02"

    def bars(self) -> list[PciBar]:
        large = type("Large", (PciBar,), {"size": 1 << 20})
        return [large(), PciBar()]
