"""The operating system's own functions, as they were before anybody patched a module.

The shim takes what it needs from here and from nowhere else: once pysock.patch() is active, a module's name leads back to us.
This module must therefore be imported before the first patch, and it is: patching imports it.
"""

from __future__ import annotations

import _socket
import _thread
import fcntl as _fcntl
import os as _os
import select as _select
import signal as _signal
import sys as _sys
import time as _time

#: The C module below the stdlib's socket.py.
SOCKET = _socket

error = OSError
gaierror = _socket.gaierror
herror = _socket.herror
inet_ntop = _socket.inet_ntop
inet_pton = _socket.inet_pton
real_getaddrinfo = _socket.getaddrinfo
real_getnameinfo = _socket.getnameinfo
real_close = _socket.close
real_socket = _socket.socket

audit = _sys.audit

os_close = _os.close
os_fstat = _os.fstat
os_getpid = _os.getpid

select_epoll = _select.epoll
select_poll = _select.poll
select_select = _select.select

fcntl = _fcntl.fcntl
ioctl = _fcntl.ioctl

signal_signal = _signal.signal
signal_getsignal = _signal.getsignal
signal_set_wakeup_fd = _signal.set_wakeup_fd

sleep = _time.sleep
get_ident = _thread.get_ident
