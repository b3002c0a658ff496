"""A disk that takes nothing for a while: what was promised meanwhile is kept once it does, and nothing more is promised."""

import contextlib
import os
import shutil
import sqlite3

import pytest

import node as nodes

PATIENCE = 30


def create(node, name):
    return node.command("wireguard", "create", "default", "gru", name, str(node.folder / f"{name}.conf"), check=False)


def test_peers_made_while_the_disk_refuses_are_kept_later(make_node):
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root, for a private network")
    wireguard = f'[wireguard]\nlisten = "127.0.0.1:{nodes.free_port()}"\ninterface = "disk{os.getpid() % 100000}"\n'
    node = make_node(listen=wireguard)
    node.start()
    with contextlib.closing(sqlite3.connect(node.folder / "data" / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else writes now
        assert create(node, "promised").returncode == 0
        refused = nodes.eventually(lambda: "can't be kept" in node.output(), PATIENCE, "the disk's refusal is seen")
        assert refused and create(node, "refused").returncode != 0
        other.execute("ROLLBACK")
    nodes.eventually(lambda: create(node, "later").returncode == 0, PATIENCE, "the registry is written again")
    node.stop()
    node.start()
    listed = node.command("wireguard", "list").stdout
    assert "promised" in listed and "later" in listed and "refused" not in listed, listed
