"""Name resolution numbers: flags and errors of getaddrinfo(3) and getnameinfo(3), glibc's values."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Flags of getaddrinfo
AI_PASSIVE: Final = 0x1
AI_CANONNAME: Final = 0x2
AI_NUMERICHOST: Final = 0x4
AI_V4MAPPED: Final = 0x8
AI_ALL: Final = 0x10
AI_ADDRCONFIG: Final = 0x20
AI_NUMERICSERV: Final = 0x400

# Errors of both
EAI_BADFLAGS: Final = -1
EAI_NONAME: Final = -2
EAI_AGAIN: Final = -3
EAI_FAIL: Final = -4
EAI_NODATA: Final = -5
EAI_FAMILY: Final = -6
EAI_SOCKTYPE: Final = -7
EAI_SERVICE: Final = -8
EAI_ADDRFAMILY: Final = -9
EAI_MEMORY: Final = -10
EAI_SYSTEM: Final = -11
EAI_OVERFLOW: Final = -12

# Flags of getnameinfo, and the room it offers
NI_NUMERICHOST: Final = 0x1
NI_NUMERICSERV: Final = 0x2
NI_NOFQDN: Final = 0x4
NI_NAMEREQD: Final = 0x8
NI_DGRAM: Final = 0x10
NI_IDN: Final = 32
NI_MAXHOST: Final = 1025
NI_MAXSERV: Final = 32
