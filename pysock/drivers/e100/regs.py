"""The programming interface of the Intel 8255x: registers, commands and descriptors, as numbers.

The one thing that the driver and the model of the chip share, as engineers share a data sheet. All multi-byte values
are little endian. Names follow the "8255x 10/100 Mbps Ethernet Controller Family Open Source Software Developer
Manual"; "SDM" in the package's comments is that book.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

VENDOR_INTEL: Final = 0x8086
DEVICE_82557: Final = 0x1229  # and 82558, 82559 by revision
DEVICE_82559ER: Final = 0x1209
DEVICE_ICH2: Final = 0x2449
REVISION_82557: Final = 1
REVISION_82558: Final = 4
REVISION_82559: Final = 8

# --- control and status registers (SDM 6.3), offsets in BAR 0 ---------------------------------------------------------
SCB_STATUS: Final = 0x00  # 8 bits: CU state (7:6), RU state (5:2)
SCB_ACK: Final = 0x01  # 8 bits: what happened; write ones to acknowledge
SCB_COMMAND: Final = 0x02  # 8 bits: CU command (7:4), RU command (2:0); reads 0 when it was taken
SCB_MASK: Final = 0x03  # 8 bits: interrupt masks, software interrupt
SCB_POINTER: Final = 0x04  # 32 bits: the command's argument
PORT: Final = 0x08  # 32 bits: address (31:4), function (3:0)
EEPROM_CTRL: Final = 0x0E  # 8 bits
MDI_CTRL: Final = 0x10  # 32 bits
RX_DMA_COUNT: Final = 0x14  # 32 bits
FLOW_THRESHOLD: Final = 0x19  # 8 bits
FLOW_CONTROL: Final = 0x1A  # 8 bits: XOFF and XON requests, and whether we are paused
PMDR: Final = 0x1B  # 8 bits: power management
GENERAL_STATUS: Final = 0x1D  # 8 bits: link, speed, duplex
CSR_SIZE: Final = 0x1000

CU_IDLE: Final = 0x00
CU_SUSPENDED: Final = 0x40
CU_ACTIVE: Final = 0x80
CUS_MASK: Final = 0xC0
RU_IDLE: Final = 0x00
RU_SUSPENDED: Final = 0x04
RU_NO_RESOURCES: Final = 0x08
RU_READY: Final = 0x10
RUS_MASK: Final = 0x3C

ACK_CX: Final = 0x80  # a command with its I bit was done
ACK_FR: Final = 0x40  # a frame was received
ACK_CNA: Final = 0x20  # the CU left the active state
ACK_RNR: Final = 0x10  # the RU left the ready state
ACK_MDI: Final = 0x08  # an MDI cycle is done, or the PHY's link changed
ACK_SWI: Final = 0x04  # software asked for it
ACK_FCP: Final = 0x01  # a pause frame came

MASK_CX: Final = 0x80
MASK_FR: Final = 0x40
MASK_CNA: Final = 0x20
MASK_RNR: Final = 0x10
MASK_FCP: Final = 0x04
MASK_SI: Final = 0x02  # write only: raise ACK_SWI
MASK_ALL: Final = 0x01  # no interrupt at all

CUC_NOP: Final = 0x00
CUC_START: Final = 0x10
CUC_RESUME: Final = 0x20
CUC_DUMP_ADDR: Final = 0x40
CUC_DUMP_STATS: Final = 0x50
CUC_LOAD_BASE: Final = 0x60
CUC_DUMP_RESET: Final = 0x70
RUC_START: Final = 0x01
RUC_RESUME: Final = 0x02
RUC_ABORT: Final = 0x04
RUC_LOAD_BASE: Final = 0x06

PORT_RESET: Final = 0
PORT_SELFTEST: Final = 1
PORT_SELECTIVE_RESET: Final = 2
PORT_DUMP: Final = 3

EESK: Final = 0x01  # clock
EECS: Final = 0x02  # chip select
EEDI: Final = 0x04  # to the EEPROM
EEDO: Final = 0x08  # from it

MDI_WRITE: Final = 0x0400_0000
MDI_READ: Final = 0x0800_0000
MDI_READY: Final = 0x1000_0000
MDI_IE: Final = 0x2000_0000

FC_XOFF: Final = 0x01
FC_XON: Final = 0x02
FC_PAUSED: Final = 0x04

GS_LINK: Final = 0x01
GS_100: Final = 0x02
GS_FULL: Final = 0x04

# --- command blocks (SDM 6.4.2) ---------------------------------------------------------------------------------------
CB_HEADER: Final = Struct("<HHI")  # status, command, link
CB_C: Final = 0x8000  # complete
CB_OK: Final = 0x2000
CB_U: Final = 0x1000  # a transmission underran, then or earlier
CB_EL: Final = 0x8000  # end of list
CB_S: Final = 0x4000  # suspend after this one
CB_I: Final = 0x2000  # interrupt (CX) after this one
CB_NC: Final = 0x0010  # the frame brings its own CRC and source address
CB_SF: Final = 0x0008  # flexible mode: data in buffers
CB_OPCODE: Final = 0x0007
OP_NOP: Final = 0
OP_IAS: Final = 1
OP_CONFIGURE: Final = 2
OP_MULTICAST: Final = 3
OP_TRANSMIT: Final = 4
OP_UCODE: Final = 5
OP_DUMP: Final = 6
OP_DIAGNOSE: Final = 7

TCB: Final = Struct("<IHBB")  # at CB + 8: TBD array, byte count, threshold (8 bytes), number of TBDs
TCB_SIZE: Final = 16  # header and TCB
TCB_EOF: Final = 0x8000  # the frame is whole
TCB_COUNT: Final = 0x3FFF
TBD: Final = Struct("<IHH")  # buffer, size, flags
TBD_SIZE: Final = 8
TBD_EL: Final = 0x0001
NO_TBD: Final = 0xFFFF_FFFF

CONFIG_BYTES: Final = 22
MC_MAX: Final = 64  # addresses in one MULTICAST SETUP that this driver sends
DUMP_BYTES: Final = 596

# --- receive frame descriptors (SDM 6.4.3) ----------------------------------------------------------------------------
RFD: Final = Struct("<HHIIHH")  # status, command, link, reserved, actual count, size; the frame follows
RFD_SIZE: Final = 16
RFD_C: Final = 0x8000
RFD_OK: Final = 0x2000
RFD_CRC: Final = 0x0800
RFD_ALIGN: Final = 0x0400
RFD_NO_BUFFER: Final = 0x0200  # the frame was longer than the buffer
RFD_OVERRUN: Final = 0x0100
RFD_SHORT: Final = 0x0080
RFD_TYPE: Final = 0x0020  # a type field, not a length
RFD_NO_MATCH: Final = 0x0004  # promiscuity alone let it in
RFD_NOT_IA: Final = 0x0002  # not sent to the individual address
RFD_EL: Final = 0x8000
RFD_S: Final = 0x4000
RFD_EOF: Final = 0x8000
RFD_F: Final = 0x4000  # the actual count is valid
RFD_COUNT: Final = 0x3FFF

# --- the statistics dump (SDM 6.3.2.2): 32-bit counters in this order, then the completion word -----------------------
STAT_NAMES: Final = (
    "tx_good", "tx_max_collisions", "tx_late_collisions", "tx_underruns", "tx_lost_carrier", "tx_deferred",
    "tx_single_collision", "tx_multiple_collisions", "tx_total_collisions",
    "rx_good", "rx_crc_errors", "rx_alignment_errors", "rx_resource_errors", "rx_overrun_errors",
    "rx_collision_errors", "rx_short_frames",
    "tx_pause", "rx_pause", "rx_unsupported_control",
)  # fmt: skip
STATS_STANDARD: Final = 16  # counters of the 82557; later chips add three
STATS_EXTENDED: Final = 19
DUMP_DONE: Final = 0xA005
DUMP_RESET_DONE: Final = 0xA007

# --- EEPROM (93C46: 64 words) -----------------------------------------------------------------------------------------
EEPROM_WORDS: Final = 64
EEPROM_SUM: Final = 0xBABA  # of all words, modulo 2**16
EEPROM_CONTROLLER: Final = 5
EEPROM_PHY: Final = 6
EEPROM_ID: Final = 10

# --- PHY registers (IEEE 802.3 clause 22) -----------------------------------------------------------------------------
MII_BMCR: Final = 0
MII_BMSR: Final = 1
MII_PHYSID1: Final = 2
MII_PHYSID2: Final = 3
MII_ADVERTISE: Final = 4
MII_LPA: Final = 5
MII_EXPANSION: Final = 6
MII_82555_STATUS: Final = 16  # speed and duplex as they are
BMCR_RESET: Final = 0x8000
BMCR_LOOPBACK: Final = 0x4000
BMCR_SPEED100: Final = 0x2000
BMCR_ANENABLE: Final = 0x1000
BMCR_PDOWN: Final = 0x0800
BMCR_ISOLATE: Final = 0x0400
BMCR_ANRESTART: Final = 0x0200
BMCR_FULLDPLX: Final = 0x0100
BMSR_ANEGCOMPLETE: Final = 0x0020
BMSR_LSTATUS: Final = 0x0004
PHY_82555_ID: Final = 0x02A8_0154
