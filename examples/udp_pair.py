"""Two UDP sockets: datagrams keep their boundaries, a truncated one is lost in part, nobody at home is an error.

    python examples/udp_pair.py
    python -m pysock run examples/udp_pair.py
"""

import socket


def main() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
    ):
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        a.settimeout(5)
        b.settimeout(5)
        for word in (b"one", b"two", b"", b"three"):
            a.sendto(word, b.getsockname())
        for _ in range(4):
            data, address = b.recvfrom(100)
            print(data, "from a" if address == a.getsockname() else "from somebody else")
        a.sendto(b"0123456789", b.getsockname())
        data, _, flags, _ = b.recvmsg(4)
        print(data, "truncated" if flags & socket.MSG_TRUNC else "whole")
        b.connect(a.getsockname())
        b.send(b"connected")
        print(a.recv(100))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lonely:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            address = gone.getsockname()
        lonely.settimeout(5)
        lonely.connect(address)
        lonely.send(b"anybody there?")
        try:
            lonely.recv(100)
        except ConnectionRefusedError as error:
            print(error)


if __name__ == "__main__":
    main()
