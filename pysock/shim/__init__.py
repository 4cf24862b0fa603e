"""shim: the Python faces. Unmodified programs meet pysock here and nowhere else.

What lives here:

    csocket.py   stands in for C's `_socket`: the module;  sockobj.py its class;  sockmsg.py sendmsg and recvmsg
    args.py address.py timed.py defaults.py      arguments, addresses, timeouts
    rights.py    SCM_RIGHTS with descriptors that are not ours
    names.py hosts.py destination.py             name resolution, which never leaves the process
    loader.py    the stdlib's own socket.py, loaded a second time over `csocket`: what `import pysock as socket` shows
    cselect.py   stands in for C's `select`: poll and select;  epollobj.py epoll;  fdarg.py  their arguments
    foreign.py   the operating system's descriptors among ours
    patching.py  pysock.patch(): puts all of it in place of what programs imported, and takes it back
    rebind.py    how names in other modules change hands
    osseam.py splice.py ioseam.py timeseam.py signalseam.py threadseam.py      os, fcntl, open, time, signal, threading
    asyncseam.py asyncio, which resolves names at once
    forkseam.py  what a child process gets
    mirror.py    pysock.mirror(): for pollers that nobody can patch
    tls.py tlswire.py tlserrors.py tlsseam.py      TLS on our sockets, and how `ssl` comes to it
    nativeseam.py                     the operating system's own sockets under patch
    state.py     whose call it is: the current task, and the default kernel of a program that never named one
    real.py      the operating system's functions, as they were before anybody patched a module
    runner.py    `python -m pysock run`

What it may import: everything below (syscalls, vfs, core, uapi). Nothing here imports a family or a driver.

How data passes through: `socket.send(data)` of the stdlib's class is `sockobj.socket.send`, which hands ``(task, fd,
data, flags)`` to `sys_sendto`. What comes back is bytes, or OSError with Linux's errno, which Python has already made
the right class of.
"""
