"""A command that starts only after nobody waits for it any more: it ends, and its machine may sleep again."""

import json
import os
import signal
import socket
from pathlib import Path

import node as nodes

PATIENCE = 30


def test_a_command_that_starts_too_late_is_killed(make_node):
    node = make_node()
    app = node.wake_app("app", service='auto_stop_machines = "off"')
    node.start()
    assert app.request().status == 200
    machine = json.loads(node.command("machine", "list", "--json").stdout)[0]["id"]
    mark = node.work / "mark"
    body = json.dumps({"command": ["/bin/sh", "-c", f"echo $$ > {mark}; exec sleep 98765"]}).encode()
    head = (f"POST /v1/apps/app/machines/{machine}/exec HTTP/1.1\r\nHost: admin\r\nConnection: Upgrade\r\n"
            f"Upgrade: rooster-exec/1\r\nContent-Length: {len(body)}\r\n\r\n")
    os.kill(node.keeper_pid(), signal.SIGSTOP)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(node.admin))
            client.sendall(head.encode() + body)
            answer = b""
            while piece := client.recv(4096):  # the server's own patience with the keeper ends
                answer += piece
        assert answer.startswith(b"HTTP/1.1 101") and not mark.exists()
    finally:
        os.kill(node.keeper_pid(), signal.SIGCONT)
    nodes.eventually(mark.exists, PATIENCE, "the command starts")
    sleeps = lambda: any(b"98765" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in node.pids())
    nodes.eventually(lambda: not sleeps(), PATIENCE, "the command ends")
    assert app.request().status == 200
