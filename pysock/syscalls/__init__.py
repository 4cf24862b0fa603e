"""syscalls: the facade. One function a system call: a Task and numbers in, results or OSError(errno) out.

What lives here:

    socket.py      socket, socketpair, bind, listen, accept, connect, names, shutdown, options
    message.py     send, recv: sendto, recvfrom, sendmsg, recvmsg, sendmmsg, recvmmsg
    file.py        read, write, close, dup, fcntl, ioctl, fstat
    poll.py        poll, select, epoll, eventfd
    socketcall.py  the multiplexer of old: one number, one argument list
    buffer.py      program's buffers to bytes, and back;  scm.py  fds in messages;  again.py  before EAGAIN is
    told

What it may import: everything below the shim.

How a call passes through: `kernel.enter` takes the lock, looks at the clock and runs due timers; the fd is
looked up; the file's or the socket's operations do the work; `kernel.leave` runs the softirqs that it caused,
gives the lock up and wakes whoever was woken. Calls that usually need no time (a receive that finds data, a
dup) only take the lock.

Rules that hold for all of them:

* The fd is looked up under the lock, so no other thread can close it between lookup and use. A call that
  sleeps gives the lock up: closing the fd then wakes it (see vfs/file.py).
* Arguments of the wrong type raise TypeError before anything else happens, as in CPython.
* EPIPE comes as an exception and SIGPIPE does not exist; EINTR never comes: Python runs signal handlers while
  a thread sleeps, and what they raise comes out of the call.
* Timeouts are ns, None or a negative number means for ever.
"""
