"""Our WireGuard device beside wireguard-go and the plain `wg` tool."""

import os
import subprocess
import time

import pytest

import wires
from wires import INNER, OUTER, PORTS, new_psk, wait_until

PAIRS = [("ours", "go"), ("go", "ours"), ("ours", "ours")]
in_pairs = pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
with_go = pytest.mark.parametrize("kinds", PAIRS[:2], ids="-".join)


@in_pairs
def test_bytes_go_both_ways(link, kinds):
    two = link(*kinds)
    two.join()
    two.talk().exchange(3_000_000)
    client, server = two.devices
    assert abs(client.handshake() - server.handshake()) <= 1
    assert server.show("endpoints") == f"{OUTER[0]}:{PORTS[0]}"
    assert server.received() > 3_000_000


@in_pairs
def test_with_a_preshared_key(link, kinds):
    two = link(*kinds)
    two.join(psk=new_psk())
    two.talk().exchange(100_000)


@with_go
def test_another_preshared_key_is_no_link(link, kinds):
    two = link(*kinds)
    two.join(psk=new_psk())
    two.devices[1].set("peer", two.devices[0].public, "preshared-key", "/dev/stdin", text=new_psk())
    talk = two.talk(patience=4)
    assert not talk.is_open()
    assert two.devices[0].handshake() == 0
    two.devices[1].set("peer", two.devices[0].public, "preshared-key", "/dev/stdin",
                       text=two.devices[0].show("preshared-keys"))
    two.talk().exchange(1000)  # the control: it was the key


@with_go
def test_cookies_under_load(link, kinds):
    two = link(*kinds)
    two.join()
    two.spaces[0].run("ip", "address", "add", "10.9.0.9/24", "dev", "v0")
    flood = two.flood("10.9.0.9")
    time.sleep(1.5)  # ours counts the initiations of a second, wireguard-go those that wait
    two.talk(patience=180).exchange(10_000)  # the flood may crowd out some of the tries, one each 5 s
    assert flood.end() > 0, "no cookies were sent to the flood"
    if kinds[0] == "ours":
        assert two.devices[0].statistics()["cookies_received"] > 0
    else:
        assert two.devices[1].statistics()["cookies_sent"] > 0


@with_go
def test_a_cookie_opens_the_door(link, kinds):
    """The flood comes from the client's own address: it gets in by the cookie it was sent there."""
    two = link(*kinds)
    two.join()
    flood = two.flood(OUTER[0])
    time.sleep(1.5)
    two.talk(patience=180).exchange(10_000)
    flood.end()


def test_a_rekey_is_not_noticed(link):
    """Our clock goes on by two minutes: the next packet makes a new session, under the same connection."""
    two = link("ours", "go")
    two.join()
    client, server = two.devices
    talk = two.talk()
    talk.exchange(10_000)
    first = server.handshake()
    time.sleep(1.1)  # `wg` shows whole seconds
    client.forward(60)
    talk.exchange(10_000)
    assert server.handshake() == first
    client.forward(61)
    talk.exchange(10_000)

    def renewed():
        talk.exchange(1000)
        return server.handshake() > first

    wait_until(renewed, "a second handshake")
    talk.exchange(1_000_000)


@with_go
def test_a_client_that_moves_is_followed(link, kinds):
    two = link(*kinds)
    two.join()
    client, server = two.devices
    talk = two.talk()
    talk.exchange(10_000)
    client.set("listen-port", 40001)
    talk.exchange(200_000)
    wait_until(lambda: server.show("endpoints") == f"{OUTER[0]}:40001", "the new port")


def test_an_address_that_goes_is_not_kept_as_source(link):
    two = link("ours", "go")
    two.join()
    talk = two.talk()
    talk.exchange(10_000)
    two.spaces[0].run("ip", "address", "del", f"{OUTER[0]}/24", "dev", "v0")
    two.spaces[0].run("ip", "address", "add", "10.9.0.77/24", "dev", "v0")
    talk.exchange(200_000)
    wait_until(lambda: two.devices[1].show("endpoints") == f"10.9.0.77:{PORTS[0]}", "the new address")


@with_go
def test_a_server_that_moves_is_found_when_it_speaks(link, kinds):
    two = link(*kinds)
    two.join()
    client, server = two.devices
    talk = two.talk()
    talk.exchange(10_000)
    server.set("listen-port", 40002)
    server.set("peer", client.public, "persistent-keepalive", 1)
    wait_until(lambda: client.show("endpoints") == f"{OUTER[1]}:40002", "the server's new port")
    talk.exchange(200_000)


@with_go
def test_initiated_from_either_side(link, kinds):
    two = link(*kinds)
    two.devices[0].add(two.devices[1], endpoint=False)
    two.devices[1].add(two.devices[0], keepalive=1)
    wait_until(lambda: two.devices[0].handshake() > 0, "a handshake")
    two.talk().exchange(10_000)


def test_strangers_hear_nothing(link):
    two = link("go", "ours")
    ours = two.devices[1]
    two.devices[0].add(ours)  # ours doesn't know it
    program = """
        import os, socket, sys
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out.settimeout(1.5)
        for size in (0, 1, 31, 32, 64, 92, 148, 1000):
            for kind in range(6):
                out.sendto((bytes([kind, 0, 0, 0]) + os.urandom(1000))[:size], (sys.argv[1], int(sys.argv[2])))
        try:
            print("answer", out.recv(2048)[:4])
        except TimeoutError:
            print("silence")
    """
    noise = two.spaces[0].python(program, OUTER[1], PORTS[1], stdout=subprocess.PIPE)
    assert noise.communicate(timeout=wires.PATIENCE)[0] == "silence\n"
    assert not two.talk(patience=3).is_open()
    counts = ours.statistics()
    assert counts["unknown_peer"] > 0 and counts["wrong_mac"] > 0 and counts["cookies_sent"] == 0


def test_wg_shows_and_sets_ours(link):
    two = link("ours", "go")
    ours, other = two.devices
    psk = new_psk()
    two.join(psk=psk, keepalive=25)
    two.talk().exchange(10_000)
    line = ours.space.run("wg", "show", ours.name, "dump").splitlines()
    assert line[0].split("\t") == [ours.private, ours.public, str(PORTS[0]), "off"]
    fields = line[1].split("\t")
    assert fields[:4] == [other.public, psk, f"{OUTER[1]}:{PORTS[1]}", f"{INNER[1]}/128"]
    assert int(fields[4]) > 0 and int(fields[5]) > 0 and int(fields[6]) > 0 and fields[7] == "25"
    shown = ours.space.run("wg", "show", ours.name)
    for part in ("public key: " + ours.public, "latest handshake:", "transfer:", "persistent keepalive: every 25 seconds"):
        assert part in shown, shown

    # Allowed IPs move to the peer that got them last.
    third = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
    ours.set("peer", third, "allowed-ips", f"{INNER[1]}/128,10.1.0.0/16")
    owners = dict(row.split("\t") for row in
                  ours.space.run("wg", "show", ours.name, "allowed-ips").splitlines())
    assert owners == {other.public: "(none)", third: f"10.1.0.0/16 {INNER[1]}/128"} or \
        owners == {other.public: "(none)", third: f"{INNER[1]}/128 10.1.0.0/16"}
    ours.set("peer", third, "remove")
    ours.set("peer", other.public, "allowed-ips", f"{INNER[1]}/128", "persistent-keepalive", "off")
    assert ours.show("persistent-keepalive") == "off"
    two.talk().exchange(1000)


def test_wg_setconf_and_showconf(link, tmp_path):
    two = link("ours", "go")
    ours, other = two.devices
    other.add(ours, endpoint=False)
    written = tmp_path / "ours.conf"
    written.write_text(f"""[Interface]
PrivateKey = {ours.private}
ListenPort = 51999

[Peer]
PublicKey = {other.public}
AllowedIPs = {INNER[1]}/128
Endpoint = {OUTER[1]}:{PORTS[1]}
PersistentKeepalive = 15
""")
    os.chmod(tmp_path, 0o755)
    ours.space.run("wg", "setconf", ours.name, "/dev/stdin", text=written.read_text())
    two.talk().exchange(1000)
    shown = ours.space.run("wg", "showconf", ours.name)
    for wanted in written.read_text().split("\n"):
        assert wanted.strip() in shown, shown
    ours.space.run("wg", "syncconf", ours.name, "/dev/stdin", text=written.read_text())
    two.talk().exchange(1000)
