"""A command that starts only after nobody waits for it any more: it ends, and its machine may sleep again."""

import json
import os
import signal
import socket
from pathlib import Path

import node as nodes

PATIENCE = 30


def execute(node, machine, *command):
    """Everything that the node says until it hangs up."""
    body = json.dumps({"command": command}).encode()
    head = (f"POST /v1/apps/app/machines/{machine}/exec HTTP/1.1\r\nHost: admin\r\nConnection: Upgrade\r\n"
            f"Upgrade: rooster-exec/1\r\nContent-Length: {len(body)}\r\n\r\n")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(node.admin))
        client.sendall(head.encode() + body)
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return answer


def is_the_command(pid):
    try:
        return b"98765" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_command_that_starts_too_late_is_killed(make_node):
    node = make_node()
    app = node.wake_app("app", service='auto_stop_machines = "off"')
    node.start()
    assert app.request().status == 200
    machine = json.loads(node.command("machine", "list", "--json").stdout)[0]["id"]
    os.kill(node.keeper_pid(), signal.SIGSTOP)
    try:
        execute(node, machine, "/bin/sleep", "98765")  # until the server's own patience with the keeper ends
    finally:
        os.kill(node.keeper_pid(), signal.SIGCONT)
    assert b"second" in execute(node, machine, "/bin/echo", "second")  # the keeper takes them in order
    nodes.eventually(lambda: not any(map(is_the_command, node.pids())), PATIENCE, "the command ends")
    assert app.request().status == 200
