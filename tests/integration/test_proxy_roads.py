"""Where UDP is blocked `rooster proxy` goes on by WebSocket, and comes back to UDP; open connections stay."""

import contextlib
import threading
import time

import pytest

from outage import UdpRelay
from village import PATIENCE, connect, echo, make_village, works

__all__ = ["make_village"]
WAY_BACK = 150  # a probe by UDP each 60 s; two in a row must be answered


@pytest.mark.parametrize(("stack", "is_dropped"), [("netns", True), ("lwip", False)])
def test_udp_blocked_from_the_start(make_village, stack, is_dropped):
    with contextlib.ExitStack() as made:
        relay = UdpRelay(("127.0.0.1", 1))
        made.callback(relay.close)
        village = make_village(endpoint=f"127.0.0.1:{relay.port}")
        relay.target = ("127.0.0.1", village.port)
        relay.lossy = is_dropped
        if not is_dropped:
            relay.refuse()
        proxy = village.proxy(stack)
        proxy.wait_for("^connected by a tunnel to .* over WebSocket", PATIENCE)
        assert works(proxy.port)


def test_udp_blocked_meanwhile_and_the_way_back(make_village):
    with contextlib.ExitStack() as made:
        cases = []
        for stack, is_dropped in (("netns", True), ("lwip", False)):
            relay = UdpRelay(("127.0.0.1", 1))
            made.callback(relay.close)
            village = make_village(endpoint=f"127.0.0.1:{relay.port}")
            relay.target = ("127.0.0.1", village.port)
            proxy = village.proxy(stack)
            proxy.wait_for("^connected by a tunnel to .* over UDP", PATIENCE)
            cases.append((relay, is_dropped, proxy, made.enter_context(connect(proxy.port))))
        # At the same time, as the way back is looked for only now and then.
        for relay, is_dropped, _, sock in cases:
            assert echo(sock)
            relay.lossy = is_dropped
            if not is_dropped:
                relay.refuse()
        senders = [threading.Thread(target=echo, args=(sock, b"by WebSocket\n")) for *_, sock in cases]
        blocked = time.monotonic()
        for sender in senders:
            sender.start()
        # The open connections find out by themselves: nothing new is dialled before it is said.
        for sender, (_, _, proxy, sock) in zip(senders, cases):
            proxy.wait_for("^UDP does not get through; going on by WebSocket$", PATIENCE)
            print(f"noticed after {time.monotonic() - blocked:.1f} s")
            sender.join(PATIENCE)
            assert not sender.is_alive(), proxy.lines
            assert echo(sock), proxy.lines
            assert works(proxy.port)
        for relay, is_dropped, _, _ in cases:
            relay.lossy = False
            if not is_dropped:
                relay.accept()
        began = time.monotonic()
        for _, _, proxy, sock in cases:
            proxy.wait_for("^UDP gets through again; going on by UDP$", WAY_BACK)
            assert echo(sock) and works(proxy.port)
            assert proxy.find("^connection to .* (failed|lost)") is None, proxy.lines
        print(f"back by UDP after {time.monotonic() - began:.1f} s")
