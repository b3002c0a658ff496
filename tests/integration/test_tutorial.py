"""The tutorial of examples/tutorial, whole: a sleeping app, its sleeping database, and a developer without rights."""

import os
import shutil
import socket
import subprocess
import time

import pytest

from developer import IS_ROOT, NOBODY, Developer, can_have
from node import IS_SANITIZED, ROOT, eventually

EXAMPLE = ROOT / "examples" / "tutorial"
SETTINGS = '[wireguard]\nlisten = "127.0.0.1:0"\nendpoint = "127.0.0.1:0"\ninterface = "tut{}"'
IDLE = 10 if IS_SANITIZED else 5
UPGRADE = "/usr/bin/python3 -m alembic upgrade head"


def write_apps(node, is_root):
    """The example's apps in the node's folder; each start writes a line of its own."""
    for part in ("database", "fastzero"):
        folder = node.folder / part
        shutil.copytree(EXAMPLE / part, folder, ignore=shutil.ignore_patterns("__pycache__"))
        counted = folder / "counted"
        counted.write_text(f'#!/bin/sh\necho start >>"{node.work}/{part}.starts"\nexec "$@"\n')
        counted.chmod(0o755)
    for name in ("fastzeroapp", "fastzerodb"):
        text = (EXAMPLE / "apps" / f"{name}.toml").read_text()
        text = text.replace('app = "./start"', 'app = "./counted ./start"')
        text = text.replace('app = "/usr/bin/python3', 'app = "./counted /usr/bin/python3')
        text = text.replace('idle_timeout = "20s"', f'idle_timeout = "{IDLE}s"')
        assert "./counted" in text and f'"{IDLE}s"' in text
        if is_root and name == "fastzerodb":
            text += 'user = "postgres"\n'
        (node.folder / "apps" / f"{name}.toml").write_text(text)
    if is_root:
        shutil.chown(node.folder / "database", "postgres")


def starts(node):
    """How often (app, database) were started, as they themselves counted."""
    files = [node.work / f"{part}.starts" for part in ("fastzero", "database")]
    return tuple(len(file.read_text().splitlines()) if file.exists() else 0 for file in files)


def awake(node):
    return {app for app in ("fastzeroapp", "fastzerodb")
            if '"started"' in node.command("machine", "list", "-a", app, "--json").stdout}


@pytest.fixture(params=["root", "nobody"])
def tutorial(request, make_node):
    node = make_node(settings=SETTINGS.format(os.getpid()))
    if request.param == "root" and not IS_ROOT:
        pytest.skip("not root")
    write_apps(node, request.param == "root")
    if request.param == "nobody" and IS_ROOT:
        node.run_as("nobody")
    node.start()
    developers = []

    def make_developer(stack):
        developers.append(Developer(node, stack, "--allow", "connect,exec").log_in())
        return developers[-1]

    # Each stack has each way; and without /dev/net/tun there is one.
    stacks = [stack for stack in ("netns", "lwip") if can_have(stack)]
    first, second = (stacks * 2)[:2] if request.param == "root" else (stacks * 2)[::-1][:2]
    yield node, make_developer(first), make_developer(second)
    for developer in developers:
        developer.close()


def psql(port):
    """A session that stays open: psql waits for its next line."""
    process = subprocess.Popen(["psql", "-qAtX", f"postgresql://fastzero:fastzero@localhost:{port}/fastzero"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(question):
        process.stdin.write(question + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    return process, ask


def test_the_tutorial_from_the_first_request_to_sleep(tutorial):
    node, one, other = tutorial
    host = "fastzeroapp.app.dev"
    assert starts(node) == (0, 0)

    # The first request wakes the app, and its query the database, which has no table.
    answer = node.request(host, "/users", timeout=90)
    assert answer.status == 500 and answer.fault is None, answer
    assert starts(node) == (1, 1) and awake(node) == {"fastzeroapp", "fastzerodb"}
    eventually(lambda: not awake(node), 60, "both sleep")

    # The first way: a local port, and Alembic on the laptop.
    proxy = one.proxy("fastzerodb", "0:5432")
    url = f"postgresql+psycopg2://fastzero:fastzero@localhost:{proxy.port}/fastzero"
    done = one.run_program("/usr/bin/python3", "-B", "-m", "alembic", "upgrade", "head",
                           cwd=node.folder / "fastzero", DATABASE_URL=url)
    assert "migrated: " in done.stdout and str(proxy.port) in done.stdout
    assert starts(node) == (1, 2)
    process, ask = psql(proxy.port)
    assert ask("select count(*) from users;") == "0"
    assert node.request(host, "/users", "POST", {"Content-Type": "application/json"}, b'{"username": "ana"}',
                        timeout=90).status == 201
    assert starts(node) == (2, 2)

    # The app sleeps by itself, the database not: somebody is connected.
    eventually(lambda: awake(node) == {"fastzerodb"}, 60, "the app sleeps")
    held_until = time.monotonic() + 2 * IDLE
    eventually(lambda: time.monotonic() > held_until, 60)
    assert awake(node) == {"fastzerodb"}
    assert ask("select username from users;") == "ana"
    process.communicate(timeout=30)
    eventually(lambda: not awake(node), 60, "both sleep")
    assert starts(node) == (2, 2)
    assert proxy.end() == 0

    # The second way: the command inside the app's machine, whose DATABASE_URL is the node's own.
    done = other.console("fastzeroapp", UPGRADE.replace("upgrade head", "downgrade base"), timeout=90)
    assert "@fastzerodb.flycast:5432" in done.stdout, done
    assert starts(node) == (3, 3)
    assert node.request(host, "/users", timeout=90).status == 500
    done = other.console("fastzeroapp", UPGRADE, timeout=90)
    assert "@fastzerodb.flycast:5432" in done.stdout, done
    answer = node.request(host, "/users", "POST", {"Content-Type": "application/json"}, b'{"username": "bia"}',
                          timeout=90)
    assert answer.status == 201 and answer.json() == {"id": 1, "username": "bia"}
    eventually(lambda: not awake(node), 60, "both sleep")

    # Nobody reaches the database from outside, by name or by port.
    assert node.request("fastzerodb.app.dev", "/").status in (404, 421, 502)
    with socket.socket() as outside:
        assert outside.connect_ex(("127.0.0.1", 5432)) != 0
    assert not awake(node)
