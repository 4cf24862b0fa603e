"""A program that uses urgent data in every way the stdlib offers says the same on pysock as on the real kernel."""

from __future__ import annotations

import subprocess
import sys

from support.patience import PATIENCE

PROGRAM = """
import fcntl, select, socket, struct

SIOCATMARK = 0x8905

def mark(sock):
    return struct.unpack("i", fcntl.ioctl(sock, SIOCATMARK, bytes(4)))[0]

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
sock, _ = listener.accept()
poll = select.poll()
poll.register(sock, select.POLLPRI)
epoll = select.epoll()
epoll.register(sock, select.EPOLLPRI)
print(select.select([], [], [sock], 0)[2] == [sock], poll.poll(0), epoll.poll(0))
client.sendall(b"abc")
client.send(b"!", socket.MSG_OOB)
client.sendall(b"def")
print(select.select([], [], [sock], 60)[2] == [sock], [bits for _, bits in poll.poll(60_000) + epoll.poll(60)])
print(mark(sock), sock.recv(10), mark(sock), sock.recv(1, socket.MSG_OOB))
print(select.select([], [], [sock], 0)[2], sock.recv(3, socket.MSG_WAITALL), mark(sock))
sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
client.send(b"x?", socket.MSG_OOB)
print(sock.recv(10), mark(sock), sock.recv(10), mark(sock))
sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
client.send(b"z", socket.MSG_OOB)
select.select([], [], [sock], 60)
data, ancillary, flags, _ = sock.recvmsg(1, 0, socket.MSG_OOB)
print(data, flags == socket.MSG_OOB)
for closing in (epoll, client, sock, listener):
    closing.close()
"""


def run(*how: str) -> str:
    result = subprocess.run([sys.executable, *how], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert not result.stderr
    return result.stdout


def test_same_on_both(tmp_path: object) -> None:
    path = f"{tmp_path}/urgent.py"
    with open(path, "w") as out:
        out.write(PROGRAM)
    ours = run("-m", "pysock", "run", path)
    assert ours == run(path)
    assert ours.count("\n") == 6
