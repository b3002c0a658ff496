"""`rooster proxy` through what happens to networks, gateways and apps; with what it says about it."""

import contextlib
import os
import subprocess
import threading
import time

import pytest

from developer import IS_ROOT
from node import eventually
from outage import Laptop, UdpRelay
from village import PATIENCE, connect, echo, make_village, works

__all__ = ["make_village"]


@pytest.mark.parametrize("stack", ["netns", "lwip"])
def test_a_restarted_gateway_is_said_and_new_connections_work(make_village, stack):
    village = make_village()
    proxy = village.proxy(stack)
    with connect(proxy.port) as sock:
        assert echo(sock)
        since = len(proxy.lines)
        village.node.stop()
        village.node.start()
        up = time.monotonic()
        assert eventually(lambda: works(proxy.port), PATIENCE, "a new connection")
        took = time.monotonic() - up
        assert took < PATIENCE / 2, f"{took:.1f} s after the node was up; {proxy.lines}"
        proxy.wait_for(r"^connection to \S+ lost: the gateway restarted$", PATIENCE, since)
        assert not echo(sock)
    assert village.starts() == 2
    assert proxy.end() == 0


def test_a_killed_gateway_too(make_village):
    village = make_village()
    proxy = village.proxy("lwip")
    with connect(proxy.port) as sock:
        assert echo(sock)
        since = len(proxy.lines)
        village.node.kill_all()
        village.node.start()
        assert eventually(lambda: works(proxy.port), PATIENCE, "a new connection")
        proxy.wait_for(r"^connection to \S+ lost: the gateway restarted$", PATIENCE, since)


def test_the_laptop_changes_its_address(make_village):
    if not IS_ROOT:
        pytest.skip("not root")
    with contextlib.ExitStack() as made:
        laptop = Laptop(os.getpid() % 16000)
        made.callback(laptop.close)
        village = make_village(address=laptop.gateway)
        proxy = village.proxy("netns", laptop.enter())

        # The proxy's port is in the laptop; programs there reach it through this.
        held = laptop_echo(laptop, proxy.port)
        made.callback(held.kill)
        assert ask(held) == "hello"
        laptop.there("ip", "addr", "del", f"{laptop.address}/24", "dev", "wire")
        laptop.there("ip", "addr", "add", f"{laptop.net}.77/24", "dev", "wire")
        # What is open goes on: the private network has not moved.
        assert ask(held) == "hello"
        held.communicate(timeout=PATIENCE)
        again = laptop_echo(laptop, proxy.port)
        made.callback(again.kill)
        assert ask(again) == "hello"
        assert proxy.find("failed|lost") is None, proxy.lines
        assert proxy.end() == 0


def laptop_echo(laptop, port):
    program = ("import socket,sys\n"
               f"s=socket.create_connection(('127.0.0.1',{port}),60)\n"
               "for line in sys.stdin:\n  s.sendall(line.encode()); print(s.recv(100).decode().strip(), flush=True)\n")
    return subprocess.Popen([*laptop.enter(), "/usr/bin/python3", "-c", program], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


def ask(program):
    program.stdin.write("hello\n")
    program.stdin.flush()
    return program.stdout.readline().strip()


@pytest.mark.parametrize("stack", ["netns", "lwip"])
def test_lost_packets_are_said_and_break_nothing(make_village, stack):
    with contextlib.ExitStack() as made:
        relay = UdpRelay(("127.0.0.1", 1))
        made.callback(relay.close)
        village = make_village(endpoint=f"127.0.0.1:{relay.port}")
        relay.target = ("127.0.0.1", village.port)
        proxy = village.proxy_by_file(stack)  # it knows no other way than UDP
        with connect(proxy.port) as sock:
            assert echo(sock)
            relay.lossy = True
            answers = []
            waiting = [threading.Thread(target=lambda: answers.append(echo(sock, b"late\n"))),
                       threading.Thread(target=lambda: answers.append(works(proxy.port)))]
            for thread in waiting:
                thread.start()
            proxy.wait_for(r"^no answer from the gateway for \d+m?s; reconnecting$", PATIENCE)
            assert relay.dropped > 3
            relay.lossy = False
            proxy.wait_for(r"^the tunnel works again, after \d+m?s$", PATIENCE)
            for thread in waiting:
                thread.join(PATIENCE)
            assert answers == [True, True], proxy.lines
            assert echo(sock), proxy.lines
        assert proxy.find("^connection to .* (failed|lost)") is None, proxy.lines


def test_a_stopped_target_is_said_and_started_again(make_village):
    village = make_village()
    proxy = village.proxy("netns" if IS_ROOT else "lwip")
    with connect(proxy.port) as sock:
        assert echo(sock)
        since = len(proxy.lines)
        machine = village.machine()
        village.node.command("machine", "stop", machine)
        assert not echo(sock)
    # As the app's kernel put it: its end, or a reset.
    proxy.wait_for(r"^connection to \S+ (lost: the app closed it, or its machine stopped$|ended: )", PATIENCE, since)
    assert eventually(lambda: works(proxy.port), PATIENCE)
    assert village.starts() == 2


@pytest.mark.parametrize("stack", ["netns", "lwip"])
def test_a_thousand_short_connections_and_five_hundred_at_once(make_village, stack):
    village = make_village()
    proxy = village.proxy(stack)
    began = time.monotonic()
    failed = []

    def many(count):
        for _ in range(count):
            if not works(proxy.port):
                failed.append(1)

    threads = [threading.Thread(target=many, args=(125,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    took = time.monotonic() - began
    print(f"1000 short connections by {stack}: {took:.2f} s")
    assert not failed, (len(failed), proxy.lines)
    # As fast as they come: none was turned away and tried again.
    assert village.node.metric("rooster_faults_total", fault="peer_limit") == 0
    with contextlib.ExitStack() as open_ones:
        all_of_them = [open_ones.enter_context(connect(proxy.port)) for _ in range(500)]
        for sock in all_of_them:
            sock.sendall(b"at once\n")
        for sock in all_of_them:
            assert sock.recv(100) == b"at once\n", proxy.lines
    assert proxy.find("^connection to .* (failed|lost)") is None, proxy.lines
    assert village.starts() == 1
