"""The command unit: walks the command block list and does what it says (SDM 6.4.2).

    idle --CU_START--> active --EL--> idle
                       active --S--> suspended --CU_RESUME--> active, at the next block

A block's S and EL bits are read when it is done, so a driver that appends a block and clears S on the one before is in
time as long as that one is not done. A transmission waits for the wire, everything else is immediate. Whatever stands
in memory: a block that can't be fetched is a bus error, and a list that goes round for ever without rest hangs the
unit, after which only a reset helps. The model cannot be made to loop or raise.
"""

from __future__ import annotations

from struct import Struct, pack_into
from struct import error as StructError

from pysock.core.dma import PAGE, BusError
from pysock.core.timer import Timer
from pysock.drivers.e100 import regs
from pysock.drivers.e100.hw_frame import fetch, underruns
from pysock.drivers.e100.hw_stats import TX_GOOD
from pysock.drivers.e100.regs import (
    ACK_CNA,
    ACK_CX,
    CB_C,
    CB_EL,
    CB_I,
    CB_NC,
    CB_OK,
    CB_OPCODE,
    CB_S,
    CB_SF,
    CB_U,
    CU_ACTIVE,
    CU_IDLE,
    CU_SUSPENDED,
    OP_TRANSMIT,
    TCB,
    TCB_COUNT,
    TCB_SIZE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.e100.hw_card import E100Card

#: Blocks done since the last command to the unit, without a rest, after which it hangs.
RUNAWAY = 4096
_M32 = 0xFFFF_FFFF
_MODE = CB_SF | CB_NC
# What a block says about its end, in the last byte of its command.
_EL = CB_EL >> 8
_REST = (CB_S | CB_EL) >> 8
_I = CB_I >> 8
_load_block = Struct("<2xHI4xH2x").unpack_from  # of CB_HEADER and TCB: command, link, byte count
_load_rest = TCB.unpack_from
_store_status = Struct("<H").pack_into


class CommandUnit:
    """One card's. ``paused`` while a pause frame holds transmissions back, ``busy`` while the wire takes a frame, of a
    block that the unit is ``waiting`` to finish or of one from before a reset.
    """

    __slots__ = (
        "_at", "_card", "_done", "_next", "_pause", "_running", "_status", "base", "busy", "hung", "paused", "state",
        "waiting",
    )  # fmt: skip

    def __init__(self, card: E100Card) -> None:
        self._card = card
        self._pause = Timer(self._pause_over)
        self.paused = False
        self.busy = False
        self.reset()

    def reset(self) -> None:
        self.state = CU_IDLE
        self.base = 0
        self.hung = False
        self.waiting = False  # for the wire to take a frame
        self._at = self._next = 0
        self._done = 0
        self._status = 0
        self._running = False
        if self.paused:
            self.pause(0)

    # -- commands from the SCB -----------------------------------------------------------------------------

    def start(self, offset: int) -> None:
        if self.state != CU_ACTIVE:
            self._next = (self.base + offset) & _M32
            self.state = CU_ACTIVE
            self._done = 0
            self.run()

    def resume(self) -> None:
        if self.state == CU_SUSPENDED:
            self.state = CU_ACTIVE
            self._done = 0
            self.run()

    # -- the list ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what can be done now."""
        if self._running:
            return
        faults = self._card.faults
        self._running = True
        try:
            if self.state == CU_ACTIVE:
                while not (self.waiting or self.hung or faults.stall_cu) and self._execute():
                    pass
        except (BusError, StructError):
            self._abort()
        finally:
            self._running = False

    def _execute(self) -> bool:
        """Fetch the next block and do it; whether to go on with the one behind it at once."""
        card = self._card
        mem = card.dma.mem
        at = self._at = self._next
        command, link, count = _load_block(mem, at)
        if at < PAGE:
            raise BusError("command block at no address")
        if self._done >= RUNAWAY:
            self.hung = True
            return False
        opcode = command & CB_OPCODE
        if opcode != OP_TRANSMIT:
            self._next = self._address(link)
            self._finish(CB_OK if self._configure(opcode, at) else 0)
            return self.state == CU_ACTIVE
        if self.paused or self.busy:
            return False
        self._next = self._address(link) if self.base else link
        damage, status = 0, CB_OK
        count &= TCB_COUNT
        config = card.config
        if count and not command & _MODE and config.plain:  # right behind it, and nothing to be done to it
            at += TCB_SIZE
            frame = mem[at : at + count]
            if len(frame) != count:
                raise BusError("frame")
            if count < 60:
                frame = frame.ljust(60, b"\0")
        else:
            array, _, _, buffers = _load_rest(mem, at + 8)
            frame, damage = fetch(card, at, command, array, count, buffers)
        if card.faults.slow_bus and underruns(card, mem[self._at + 14], len(frame)):
            if not config.underrun_retry:
                self._finish(CB_U)
                return self.state == CU_ACTIVE
            status |= CB_U  # sent at the second try, from a full FIFO
        phy = card.phy
        if config.loopback or phy.looped:
            card.stats.counts[TX_GOOD] += 1
            card.ru.receive(frame, damage)
        elif not phy.link:
            card.stats.add("tx_lost_carrier")
        elif damage or card.port.transmit(frame):  # a damaged one would end at the other end's CRC check
            card.stats.counts[TX_GOOD] += 1
        else:
            self.busy = self.waiting = True
            self._status = status
            return False
        self._finish(status)
        return self.state == CU_ACTIVE

    def _address(self, offset: int) -> int:
        return self.base + offset & _M32

    def transmit_done(self) -> None:
        """The wire took the frame, or it was given up."""
        self.busy = False
        card = self._card
        collisions, deferred, aborted = card.port.outcome()
        card.send_pending_pause()
        if self.waiting:
            self.waiting = False
            if not aborted:
                card.stats.counts[TX_GOOD] += 1
            if collisions or deferred:
                card.stats.shared_wire(collisions, deferred, aborted)
            try:
                self._finish(0 if aborted else self._status)
            except (BusError, StructError):
                self._abort()
        self.run()

    def _finish(self, status: int) -> None:
        """Write the status back, interrupt, and see where the list goes on."""
        card = self._card
        mem = card.dma.mem
        at = self._at
        command = mem[at + 3]  # once more: S may be gone
        if card.faults.corrupt_cb:
            card.faults.corrupt_cb -= 1
            pack_into("<I", mem, at + 4, 0xDEAD_BEE0)
            self._next = self._address(0xDEAD_BEE0)
        _store_status(mem, at, CB_C | status)
        self._done += 1
        if command & _REST:
            self.state = CU_IDLE if command & _EL else CU_SUSPENDED
            card.interrupt(ACK_CX | ACK_CNA if command & _I else ACK_CNA)
        elif command & _I:
            card.interrupt(ACK_CX)

    def _abort(self) -> None:
        """A bus error: the list ends here."""
        self._card.master_abort()
        self.state = CU_IDLE
        self._card.interrupt(ACK_CNA)

    def _configure(self, opcode: int, at: int) -> bool:
        """The commands that do not transmit."""
        card = self._card
        dma = card.dma
        if opcode == regs.OP_IAS:
            card.address = dma.read(at + 8, 6)
        elif opcode == regs.OP_CONFIGURE:
            count = min(dma.read(at + 8, 1)[0] & 0x3F, regs.CONFIG_BYTES)
            card.config.load(dma.read(at + 8, max(count, 1)))
        elif opcode == regs.OP_MULTICAST:
            size = int.from_bytes(dma.read(at + 8, 2), "little") & regs.TCB_COUNT
            card.ru.set_multicast(dma.read(at + 10, size))
        elif opcode == regs.OP_DUMP:
            dma.write(int.from_bytes(dma.read(at + 8, 4), "little"), card.internal_state())
        # NOP, microcode and DIAGNOSE succeed: there is no microcode to load, and the logic is sound.
        return True

    # -- flow control --------------------------------------------------------------------------------------

    def pause(self, nanoseconds: int) -> None:
        """Hold transmissions back from now on for so long; 0 lets them go."""
        clock = self._card.clock
        clock.stop(self._pause)
        self.paused = nanoseconds > 0
        if self.paused:
            clock.start(self._pause, nanoseconds)
        else:
            self.run()

    def _pause_over(self) -> None:
        self.paused = False
        self.run()
