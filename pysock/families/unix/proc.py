"""/proc/net/unix: every AF_UNIX socket of a namespace, a line each (proc(5), unix_seq_show).

The first column, an address that Linux hides from most, is always 0 here.
"""

from __future__ import annotations

import os

from pysock.core.sock import SS_CONNECTED, SS_CONNECTING, SS_DISCONNECTING, SS_UNCONNECTED
from pysock.families.unix.unix_sock import TCP_ESTABLISHED, TCP_LISTEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.unix.unix_net import UnixNet
    from pysock.families.unix.unix_sock import UnixSock

_HEADER: Final = "Num       RefCount Protocol Flags    Type St Inode Path\n"
_SO_ACCEPTCON: Final = 1 << 16
_fsdecode = os.fsdecode


def proc_unix(unix: UnixNet) -> str:
    """The text of the file, oldest socket first."""
    return _HEADER + "".join(map(_line, unix.sockets))


def inode_of(sk: UnixSock) -> int:
    """The inode number of a socket, as fstat(2) tells it; 0 before accept() gave it one."""
    sock = sk.socket
    return 0 if sock is None or sock.file is None else sock.file.f_inode.i_ino


def name_of(sk: UnixSock) -> str:
    """The name in one piece of text: every NUL of an abstract one shown as ``@``, "" for an unnamed socket."""
    return sk.name if isinstance(sk.name, str) else _fsdecode(sk.name.replace(b"\0", b"@"))


def _line(sk: UnixSock) -> str:
    connected = sk.state == TCP_ESTABLISHED
    if sk.socket is not None:
        state = SS_CONNECTED if connected else SS_UNCONNECTED
    else:
        state = SS_CONNECTING if connected else SS_DISCONNECTING
    flags = _SO_ACCEPTCON if sk.state == TCP_LISTEN else 0
    references = 2 + (sk.peer is not None)
    name = name_of(sk)
    line = f"{0:016x}: {references:08X} {0:08X} {flags:08X} {sk.type:04X} {state:02X} {inode_of(sk):5}"
    return f"{line} {name}\n" if name else line + "\n"
