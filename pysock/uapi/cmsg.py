"""Control messages (cmsg(3)): the ancillary buffer of sendmsg and recvmsg, and how the kernel truncates it.

Layout on x86-64: a struct cmsghdr of 16 bytes (``cmsg_len`` counts header and data, then level and type), the
data, and padding to a multiple of 8. Inside pysock messages travel as a list of ``(level, type, data)``;
bytes are only made for, and taken from, programs.
"""

from __future__ import annotations

from struct import Struct

from pysock.uapi.socket import MSG_CTRUNC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

CMSGHDR: Final = Struct("=Qii")
"""struct cmsghdr: cmsg_len, cmsg_level, cmsg_type."""

CMSGHDR_SIZE: Final = 16
LENGTH_LIMIT: Final = 0x7FFFFFFF  # the largest buffer a socklen_t may name


def cmsg_align(length: int) -> int:
    """``length`` rounded up to the alignment of a control message, 8 bytes."""
    return (length + 7) & ~7


def cmsg_len(length: int) -> int:
    """The ``cmsg_len`` of a message with ``length`` bytes of data, as socket.CMSG_LEN: header + data.

    Raises OverflowError if ``length`` is negative or the sum does not fit a socklen_t.
    """
    if length < 0 or length > LENGTH_LIMIT - CMSGHDR_SIZE:
        raise OverflowError("CMSG_LEN() argument out of range")
    return CMSGHDR_SIZE + length


def cmsg_space(length: int) -> int:
    """The room that a message with ``length`` bytes of data takes in a buffer, as socket.CMSG_SPACE.

    Raises OverflowError if ``length`` is negative or the sum does not fit a socklen_t.
    """
    if length < 0 or length > LENGTH_LIMIT - CMSGHDR_SIZE - 8:  # CPython keeps room for the padding
        raise OverflowError("CMSG_SPACE() argument out of range")
    return CMSGHDR_SIZE + cmsg_align(length)


def pack_control(messages: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The control buffer that holds these ``(level, type, data)``, every message padded to its full space."""
    parts: list[bytes] = []
    for level, kind, data in messages:
        parts.append(CMSGHDR.pack(CMSGHDR_SIZE + len(data), level, kind))
        parts.append(data)
        parts.append(bytes(-len(data) & 7))
    return b"".join(parts)


def parse_control(control: bytes) -> list[tuple[int, int, bytes]]:
    """The messages of a buffer handed to sendmsg, as the kernel walks it (``for_each_cmsghdr``, ``CMSG_OK``).

    Left-over bytes too few for a header end the walk. Raises ValueError (EINVAL to the program) if a message
    is shorter than its header or reaches past the buffer's end.
    """
    messages, flags = parse_received(control)
    if flags:
        raise ValueError("malformed control message")
    return messages


def parse_received(control: bytes) -> tuple[list[tuple[int, int, bytes]], int]:
    """``(messages, flags)`` of a buffer that recvmsg filled; flags is MSG_CTRUNC if a message was bad.

    A message that claims more data than the buffer holds is delivered with what is there; one shorter than
    its own header ends the walk.
    """
    messages: list[tuple[int, int, bytes]] = []
    offset = 0
    end = len(control)
    while offset + CMSGHDR_SIZE <= end:
        length, level, kind = CMSGHDR.unpack_from(control, offset)
        if length < CMSGHDR_SIZE:
            return messages, MSG_CTRUNC
        stop = offset + length
        messages.append((level, kind, bytes(control[offset + CMSGHDR_SIZE : stop])))
        if stop > end:
            return messages, MSG_CTRUNC
        offset += cmsg_align(length)
    return messages, 0


def fit_control(messages: Iterable[tuple[int, int, bytes]], room: int) -> tuple[list[tuple[int, int, bytes]], int]:
    """``(messages that fit, flags)`` for a program that offered ``room`` bytes of control buffer.

    As Linux's ``put_cmsg``: the message that meets the end keeps the data that fits, one without room for its
    header is lost, and both set MSG_CTRUNC. Descriptors (SCM_RIGHTS) are cut by whole numbers before they
    are installed: see rights_room.
    """
    fitting: list[tuple[int, int, bytes]] = []
    flags = 0
    for level, kind, data in messages:
        if room < CMSGHDR_SIZE:
            flags = MSG_CTRUNC
            break
        if room < CMSGHDR_SIZE + len(data):
            flags = MSG_CTRUNC
            data = data[: room - CMSGHDR_SIZE]
        fitting.append((level, kind, data))
        room -= CMSGHDR_SIZE + cmsg_align(len(data))
    return fitting, flags


def rights_room(room: int) -> int:
    """How many descriptors fit an SCM_RIGHTS message in ``room`` bytes (Linux's ``scm_detach_fds``)."""
    return max(0, room - CMSGHDR_SIZE) // 4
