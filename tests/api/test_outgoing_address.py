"""Which addresses tenants can make the server connect to: those of the public internet, and those that are allowed."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tertulia.api.outgoing_address import OutgoingRule, is_public, literal

PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
    "2001:200::1",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]

NOT_PUBLIC = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd00:ec2::254"],
    "link-local": ["169.254.0.1", "169.254.169.254", "fe80::1", "fe80::1%2"],
    "site-local": ["fec0::1"],
    "behind a provider's translation": ["100.64.0.1", "100.100.100.200", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "broadcast": ["255.255.255.255"],
    "reserved": ["240.0.0.1", "4000::1", "::2", "100::1"],
    "for documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "for benchmarks": ["198.18.0.1", "198.19.255.255"],
    "for protocols": ["192.0.0.192", "192.88.99.1", "2001:2::1", "5f00::1"],
    "of the cloud's own host": ["168.63.129.16"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:101:101::1"],
    "translated": ["64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1.1.1.1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001::1"],
}


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))
    assert OutgoingRule().permits(ip_address(text))


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NOT_PUBLIC.items() for text in texts])
def test_an_address_that_reaches_somewhere_else_is_not(kind: str, text: str) -> None:
    assert not is_public(ip_address(text)), kind
    assert not OutgoingRule().permits(ip_address(text)), kind


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "10.255.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "fd12::1", "1.1.1.1"]
)
def test_an_allowed_network_is_permitted_in_every_form_of_its_addresses(text: str) -> None:
    assert OutgoingRule(("10.0.0.0/8", "fd12::/16")).permits(ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "192.168.1.1", "fd13::1", "169.254.169.254", "2002:a00:1::1"])
def test_allowing_one_network_allows_no_other(text: str) -> None:
    assert not OutgoingRule(("10.0.0.0/8", "fd12::/16")).permits(ip_address(text))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "intranet", ""])
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it as 10\.0\.0\.0/8"):
        OutgoingRule((text,))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_every_spelling_of_an_address_is_known_as_one(host: str, address: str) -> None:
    assert literal(host) == ip_address(address)


@pytest.mark.parametrize("host", ["localhost", "example.org", "127.0.0.1.example.org", "a" * 300, "a..b", ""])
def test_a_name_is_no_address(host: str) -> None:
    assert literal(host) is None
