"""Captured packets as lines, in the manner of tcpdump(8).

    00:00:00.000412 lo    In  IP 127.0.0.1.39147 > 127.0.0.1.8080: Flags [P.], seq 1:6, ack 1, win 512, length 5

Times are UTC. `python -m pysock.tools.tcpdump FILE...` prints pcapng files.
"""

from __future__ import annotations

import sys

from pysock.lab.pcapng import Packet, read_file
from pysock.wire import decode
from pysock.wire.errors import Malformed
from pysock.wire.pcapng import LINKTYPE_ETHERNET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pysock.wire.header import Header

_DIRECTIONS = {True: "In", False: "Out", None: "?"}
_DAY = 86_400


def layers(packet: Packet) -> list[Header]:
    """The headers of a captured packet, outermost first."""
    if packet.linktype == LINKTYPE_ETHERNET:
        return decode.decode_frame(packet.frame)
    return decode.decode_packet(packet.frame)


def clock(time_ns: int) -> str:
    """``hh:mm:ss.uuuuuu``, UTC."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    seconds %= _DAY
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{nanoseconds // 1000:06}"


def line(packet: Packet) -> str:
    """One line about ``packet``."""
    text = decode.describe_layers(layers(packet))
    return f"{clock(packet.time_ns)} {packet.dev:<5} {_DIRECTIONS[packet.inbound]:<3} {text}"


def lines(packets: Iterable[Packet]) -> Iterator[str]:
    """One line a packet."""
    return map(line, packets)


def main(argv: list[str]) -> int:
    """Print the packets of pcapng files; 1 when one can't be read, 2 when called wrongly."""
    if not argv or any(name.startswith("-") for name in argv):
        print("usage: python -m pysock.tools.tcpdump FILE...", file=sys.stderr)
        return 2
    for name in argv:
        try:
            for text in lines(read_file(name)):
                print(text)
        except (OSError, Malformed) as exc:
            print(f"{name}: {exc}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
