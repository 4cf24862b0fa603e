"""The operating system's own functions, as they were before anybody patched a module.

The shim takes what it needs from here and from nowhere else: once pysock.patch() is active, a module's name leads back
to us. This module must therefore be imported before the first patch, and it is: patching imports it.
"""

from __future__ import annotations

import _socket
import _thread
import fcntl as _fcntl
import io as _io
import os as _os
import select as _select
import signal as _signal
import sys as _sys
import time as _time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as _Any

#: The C module below the stdlib's socket.py.
SOCKET = _socket
#: The C module `select`.
SELECT = _select

error = OSError
gaierror = _socket.gaierror
herror = _socket.herror
inet_ntop = _socket.inet_ntop
inet_pton = _socket.inet_pton
real_getaddrinfo = _socket.getaddrinfo
real_getnameinfo = _socket.getnameinfo
real_close = _socket.close
dup = _socket.dup
real_socket = _socket.socket
real_socketpair = _socket.socketpair

audit = _sys.audit

io_open = _io.open

os_close = _os.close
os_closerange = _os.closerange
os_dup = _os.dup
os_dup2 = _os.dup2
os_fstat = _os.fstat
os_get_blocking = _os.get_blocking
os_get_inheritable = _os.get_inheritable
os_read = _os.read
os_readv = _os.readv
os_sendfile = _os.sendfile
os_set_blocking = _os.set_blocking
os_set_inheritable = _os.set_inheritable
os_splice = _os.splice
os_write = _os.write
os_writev = _os.writev

select_epoll = _select.epoll
select_poll = _select.poll
select_select = _select.select

fcntl_fcntl = _fcntl.fcntl
fcntl_ioctl = _fcntl.ioctl

signal_signal = _signal.signal
signal_getsignal = _signal.getsignal
signal_set_wakeup_fd = _signal.set_wakeup_fd
pthread_kill = _signal.pthread_kill

time_time = _time.time
time_time_ns = _time.time_ns
time_monotonic = _time.monotonic
time_monotonic_ns = _time.monotonic_ns
time_perf_counter = _time.perf_counter
time_perf_counter_ns = _time.perf_counter_ns
time_sleep = _time.sleep
time_localtime = _time.localtime
time_gmtime = _time.gmtime
time_ctime = _time.ctime
time_asctime = _time.asctime
time_strftime = _time.strftime
time_clock_gettime = _time.clock_gettime
time_clock_gettime_ns = _time.clock_gettime_ns
#: Any: typeshed knows the names of the clocks, and what comes back as a class of its own.
time_get_clock_info: _Any = _time.get_clock_info

get_ident = _thread.get_ident
start_new_thread = _thread.start_new_thread
#: How threading starts threads from 3.13 on; None before.
start_joinable_thread = getattr(_thread, "start_joinable_thread", None)
