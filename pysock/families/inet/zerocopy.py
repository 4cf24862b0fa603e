"""MSG_ZEROCOPY: telling a program that it may reuse its buffer (Documentation/networking/msg_zerocopy.rst;
skb_zerocopy_callback).

With SO_ZEROCOPY set, each send that asks for it gets a number, and a notice in the error queue says that the sends from
one number to another are done: a struct sock_extended_err with ee_info the first and ee_data the last. What is sent
here is the program's own bytes object, or a copy of its buffer made at once; so the notice is there when the call
returns, and says "copied", as Linux does on loopback.
"""

from __future__ import annotations

from pysock.core.sock_ext import ext_of
from pysock.core.sockopt_set import SOCK_ZEROCOPY
from pysock.families.inet.ip_error import ExtendedError, queue_error
from pysock.uapi.in_ import SO_EE_ORIGIN_ZEROCOPY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.inet_sock import InetSock

SO_EE_CODE_ZEROCOPY_COPIED: Final = 1


class ZeroCopyDone(ExtendedError):
    """The sends from number ``info`` to ``data`` are done."""

    __slots__ = ("data",)

    def __init__(self, number: int) -> None:
        ExtendedError.__init__(self, 0, SO_EE_ORIGIN_ZEROCOPY, 0, SO_EE_CODE_ZEROCOPY_COPIED, number, None, None)
        self.data = number


def completed(sk: InetSock) -> None:
    """A send with MSG_ZEROCOPY took all its bytes. Without SO_ZEROCOPY the flag means nothing."""
    if not sk.flags & SOCK_ZEROCOPY:
        return
    ext = ext_of(sk)
    number = ext.zerocopy_id
    ext.zerocopy_id = number + 1 & 0xFFFFFFFF
    newest = sk.error_queue[-1].cb if sk.error_queue else None
    if isinstance(newest, ZeroCopyDone) and newest.data + 1 == number:
        newest.data = number  # one notice for both (skb_zerocopy_notify_extend)
    else:
        queue_error(sk, ZeroCopyDone(number), b"")
