"""finished_skb: every field is set, without SkBuff's own constructor."""

from __future__ import annotations

from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff, finished_skb
from pysock.uapi.if_ether import ETH_P_IP


def fields() -> set[str]:
    return {name for cls in SkBuff.__mro__ for name in getattr(cls, "__slots__", ())}


def test_no_field_is_left_unset() -> None:
    skb = finished_skb(bytes(66), 14, 34, 3, (b"abc",), ETH_P_IP, None, 16)  # type: ignore[arg-type]
    plain = SkBuff(bytes(66), 0, 69, 3, (b"abc",))
    plain.protocol = ETH_P_IP
    plain.ip_summed = CHECKSUM_PARTIAL
    plain.csum_offset = 16
    plain.mac_header, plain.network_header, plain.transport_header = 0, 14, 34
    assert {name: getattr(skb, name) for name in fields()} == {name: getattr(plain, name) for name in fields()}


def test_it_is_a_packet_like_any_other() -> None:
    skb = finished_skb(b"h" * 54, 14, 34, 4, (b"pay", b"x"), ETH_P_IP, None, 16, 3)  # type: ignore[arg-type]
    assert isinstance(skb, SkBuff)
    assert skb_to_bytes(skb) == b"h" * 54 + b"payx"
    assert skb.gso_size == 3
    skb.priority = 5
    assert skb.priority == 5
