"""Cables, hubs and switches on their own (core/wire.py, core/wire_switch.py)."""

from __future__ import annotations

from support.devices import boot
from support.e100 import MAC, OTHER, Station, to

from pysock.core.wire import ABLE_100FULL, ABLE_ALL, DAMAGE_CRC, Cable, WirePort
from pysock.core.wire_switch import AGEING, QUEUE, TABLE, Hub, Switch

MS = 1_000_000


def switch(timed: bool = False, ports: int = 3) -> tuple[Switch, list[Station]]:
    middle = Switch(boot() if timed else None, ports)
    return middle, [Station(port) for port in middle.ports]


def test_an_immediate_cable() -> None:
    cable = Cable()
    one, two = Station(cable.a), Station(cable.b)
    assert cable.a.transmit(to())
    assert (one.got, two.got, one.done) == ([], [to()], 0)


def test_bits_take_time_and_the_wire_takes_one_frame_at_a_time() -> None:
    kernel = boot()
    cable = Cable(kernel, mbit=100, delay=2 * MS)
    one, two = Station(cable.a), Station(cable.b)
    arrivals: list[int] = []
    cable.a.lane.sink = lambda frame, damage: arrivals.append(kernel.now)
    start = kernel.enter()
    assert not cable.a.transmit(to(size=1226))  # 1250 bytes with preamble, FCS and gap: 100 us
    kernel.leave()
    kernel.sleep(100_000)
    assert (one.done, arrivals) == (1, [])
    kernel.sleep(2 * MS)
    assert arrivals == [start + 100_000 + 2 * MS]
    assert two.done == 0


def test_cutting_a_cable_loses_what_is_on_it() -> None:
    kernel = boot()
    cable = Cable(kernel, delay=MS)
    one, two = Station(cable.a), Station(cable.b)
    cable.a.transmit(to())
    kernel.sleep(MS // 2)
    cable.a.transmit(to())
    cable.set_link(False)
    assert one.done == 2  # the sender is told, or it would wait for ever
    kernel.sleep(10 * MS)
    assert two.got == []
    assert cable.a.lane.lost == 2
    assert not cable.a.link()
    assert cable.a.transmit(to())
    cable.set_link(True)
    cable.a.transmit(to())
    kernel.sleep(10 * MS)
    assert two.got == [to()]


def test_tampering() -> None:
    cable = Cable()
    damages: list[int] = []
    Station(cable.a)
    two = Station(cable.b)

    def sink(frame: bytes, damage: int) -> None:
        damages.append(damage)
        two.receive(frame, damage)

    cable.a.lane.sink = sink
    cable.a.lane.tamper = lambda frame: None
    cable.a.transmit(to())
    cable.a.lane.tamper = lambda frame: (frame[::-1], DAMAGE_CRC)
    cable.a.transmit(to())
    assert (two.got, damages) == ([to()[::-1]], [DAMAGE_CRC])


def test_abilities_are_seen_by_the_other_end() -> None:
    cable = Cable(mbit=100)
    one, two = Station(cable.a), Station(cable.b)
    assert cable.a.partner() == cable.b.partner() == ABLE_ALL
    two.abilities = ABLE_100FULL
    two.link_changed()
    assert cable.a.partner() == ABLE_100FULL
    cable.b.detach()
    assert (cable.a.link(), cable.a.partner()) == (False, 0)
    assert one.got == []


def test_a_socket_in_the_wall() -> None:
    port = WirePort()
    Station(port)
    assert (port.link(), port.partner(), port.transmit(to())) == (False, 0, True)


def test_a_hub_repeats_to_all_others() -> None:
    hub = Hub(None, 3)
    stations = [Station(port) for port in hub.ports]
    hub.ports[0].transmit(to())
    assert [len(station.got) for station in stations] == [0, 1, 1]


def test_a_switch_learns() -> None:
    middle, (a, b, c) = switch()
    frame = to(MAC)
    middle.ports[0].transmit(frame)  # OTHER is behind port 0; MAC is unknown: flooded
    middle.ports[1].transmit(OTHER + MAC + frame[12:])
    middle.ports[0].transmit(frame)
    assert (len(a.got), len(b.got), len(c.got)) == (1, 2, 1)
    middle.ports[2].transmit(OTHER + OTHER + frame[12:])  # OTHER moved
    middle.ports[1].transmit(OTHER + MAC + frame[12:])
    assert (len(a.got), len(c.got)) == (1, 2)


def test_a_switch_keeps_link_local_groups_and_forgets() -> None:
    middle, (a, b, c) = switch(timed=True)
    kernel = middle._kernel
    assert kernel is not None
    middle.ports[0].transmit(b"\x01\x80\xc2\0\0\0" + to()[6:])
    kernel.sleep(MS)
    assert b.got == c.got == []
    kernel.sleep(AGEING + MS)
    middle.ports[1].transmit(OTHER + MAC + to()[12:])  # OTHER was heard too long ago
    kernel.sleep(MS)
    assert (len(a.got), len(c.got)) == (1, 1)


def test_the_table_of_a_switch_is_bounded() -> None:
    middle, _ = switch()
    for n in range(TABLE + 10):
        middle.ports[0].transmit(MAC + b"\x02\0" + n.to_bytes(4, "big") + to()[12:])
    assert len(middle.table) == TABLE


def test_a_loop_of_immediate_switches_ends() -> None:
    one, two = Switch(None, 3), Switch(None, 3)

    class Trunk(Station):
        other: Trunk

        def receive(self, frame: bytes, damage: int) -> None:
            self.other.port.transmit(frame)

    for n in (0, 1):
        left, right = Trunk(one.ports[n]), Trunk(two.ports[n])
        left.other, right.other = right, left
    end = Station(two.ports[2])
    Station(one.ports[2])
    one.ports[2].transmit(to(b"\xff" * 6))
    assert len(end.got) >= 1
    assert one.loops + two.loops > 0


def test_a_way_out_has_a_bounded_queue() -> None:
    middle, (_, b, c) = switch(timed=True)
    kernel = middle._kernel
    assert kernel is not None
    for n in range(QUEUE + 50):
        middle.forward(middle.ports[0], to(b"\xff" * 6, b"%d" % n))
    kernel.sleep(1000 * MS)
    assert len(b.got) == len(c.got) == QUEUE + 1
    assert middle.ports[1].outbound.lost == 49


def test_a_port_that_is_switched_off() -> None:
    middle, (_, b, c) = switch()
    middle.ports[1].set_enabled(False)
    assert not middle.ports[1].link()
    middle.ports[0].transmit(to(b"\xff" * 6))
    assert middle.ports[1].transmit(to(b"\xff" * 6))
    assert (len(b.got), len(c.got)) == (0, 1)
    middle.ports[1].set_enabled(True)
    middle.ports[0].transmit(to(b"\xff" * 6))
    assert len(b.got) == 1
    middle.ports[1].detach()
    middle.ports[0].transmit(to(b"\xff" * 6))
    assert (len(b.got), len(c.got)) == (1, 3)
