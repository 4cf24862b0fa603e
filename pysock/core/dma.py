"""Coherent DMA memory: what a device and its driver both see. Documentation/core-api/dma-api.

One `DmaMemory` is the address space of one device: flat memory in which the driver allocates rings and buffers, and
whose addresses it tells the device in descriptors and registers. An address is an index into ``mem``. Both sides work
on the bytes in place; neither keeps a memoryview, since ``mem`` grows with the allocations.

``mem`` is an anonymous mapping, which copies a slice of it straight from and to bytes: a bytearray makes another
bytearray on the way, three and five times as dear.

A device trusts no address it was given: it goes through `read` and `write`, or catches struct.error, and stops with a
bus error, as one that reaches outside its IOMMU domain.
"""

from __future__ import annotations

import errno
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

from pysock.core.errors import err

PAGE = 4096


class BusError(Exception):
    """A device reached for an address that is no memory (a PCI master abort). For the model of a device, never
    anybody else."""


class DmaMemory:
    """The memory that one device can reach, at most ``limit`` bytes. Page 0 is never handed out: address 0 is none."""

    __slots__ = ("_free", "_sizes", "limit", "mem")

    def __init__(self, limit: int = 1 << 24) -> None:
        self.mem = mmap(-1, PAGE, MAP_PRIVATE | MAP_ANONYMOUS)
        self.limit = limit
        self._sizes: dict[int, int] = {}
        self._free: list[tuple[int, int]] = []  # (address, size), by address

    @property
    def allocated(self) -> int:
        """Bytes that are handed out."""
        return sum(self._sizes.values())

    def alloc(self, size: int, align: int = 64) -> int:
        """The address of ``size`` zeroed bytes (dma_alloc_coherent); ``align`` divides PAGE. ENOMEM past the limit."""
        size = -(-size // align) * align
        for at, (address, room) in enumerate(self._free):
            if room >= size and not address % align:
                del self._free[at]
                if room > size:
                    self._free.insert(at, (address + size, room - size))
                self.mem[address : address + size] = bytes(size)
                break
        else:
            address = -(-len(self.mem) // align) * align
            if address + size > self.limit:
                raise err(errno.ENOMEM)
            self.mem.resize(address + size)
        self._sizes[address] = size
        return address

    def free(self, address: int) -> None:
        """Give back what `alloc` returned (dma_free_coherent)."""
        self._free.append((address, self._sizes.pop(address)))
        self._free.sort()
        merged: list[tuple[int, int]] = []
        for start, size in self._free:
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        if merged and sum(merged[-1]) == len(self.mem):
            end, size = merged.pop()
            self.mem[end : end + size] = bytes(size)  # what is left of its first page is handed out again
            self.mem.resize(end)
        self._free = merged

    def read(self, address: int, size: int) -> bytes:
        """For the device: ``size`` bytes. BusError unless all of them are memory."""
        if address < 0 or address + size > len(self.mem):
            raise BusError(f"read of {size} bytes at {address:#x}")
        return self.mem[address : address + size]

    def write(self, address: int, data: bytes) -> None:
        """For the device. BusError unless all of it is memory."""
        end = address + len(data)
        if address < PAGE or end > len(self.mem):
            raise BusError(f"write of {len(data)} bytes at {address:#x}")
        self.mem[address:end] = data
