"""The developer's side of a node: a user without rights, who has a login and nothing else.

    Developer(node, stack)   stack "netns" or "lwip"; a private mount namespace has /dev/net/tun for everybody
"""

import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from node import BINARY, eventually, process_tree

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
# Its own /dev/net/tun for everybody; the host's stays as it is.
WITH_TUN = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
            'mount --bind "$0" /dev/net/tun && exec "$@"']
IS_ROOT = os.geteuid() == 0


def can_have(stack):
    """Without root only what the host's /dev/net/tun allows."""
    return stack == "lwip" or IS_ROOT or os.access("/dev/net/tun", os.R_OK | os.W_OK)


class Developer:
    def __init__(self, node, stack, *rights, within=()):
        if not can_have(stack):
            pytest.skip("/dev/net/tun is not for this user")
        self.node, self.stack = node, stack
        self.folder = Path(tempfile.mkdtemp(prefix="rooster-developer-"))
        self.programs = []
        prefix = list(within)
        if IS_ROOT:
            if stack == "netns":
                tun = self.folder / "tun"
                os.mknod(tun, stat.S_IFCHR | 0o666, os.makedev(10, 200))
                tun.chmod(0o666)
                prefix += [*WITH_TUN, str(tun)]
            prefix += AS_NOBODY
            os.chown(self.folder, NOBODY, NOBODY)
        self.prefix = prefix
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ROOSTER")}
        self.environment |= {"XDG_STATE_HOME": str(self.folder / "state"), "HOME": str(self.folder)}
        line = node.command("tokens", "create", *rights).stdout
        self.login = re.fullmatch(r"rooster login '(.*)'\n", line).group(1)

    def log_in(self, address="127.0.0.1"):
        self.run("login", self.login, "--connect-to", address)
        return self

    def run(self, *arguments, check=True, timeout=60, **environment):
        return self.run_program(str(BINARY), *arguments, check=check, timeout=timeout, **environment)

    def run_program(self, *command, check=True, timeout=60, cwd=None, **environment):
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, timeout=timeout,
                              env=self.environment | environment, cwd=cwd or self.folder)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def console(self, app, command, **options):
        return self.run("ssh", "console", f"--stack={self.stack}", "-a", app, "-C", command, **options)

    def write_peer_file(self):
        """A WireGuard peer's file, as an operator hands it out: UDP only, no login."""
        file = self.folder / "peer.conf"
        file.write_text(self.node.command("wireguard", "create", "default", "gru", "laptop", "stdout").stdout)
        file.chmod(0o600)
        if IS_ROOT:
            os.chown(file, NOBODY, NOBODY)
        return file

    def proxy(self, app, *mappings, **options):
        made = Proxy(self, app, *mappings, **options)
        self.programs.append(made)
        return made

    def close(self):
        try:
            for program in self.programs:
                program.end()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class Proxy:
    """A `rooster proxy` that runs. lines: what it said, both outputs, in the order they came."""

    def __init__(self, developer, app, *mappings, seconds=30, verbose=True):
        self.lines, self.port = [], None
        self.stack = developer.stack
        command = [*developer.prefix, str(BINARY), "proxy", f"--stack={self.stack}", "-a", app, *mappings]
        self.process = subprocess.Popen(command + (["-v"] if verbose else []), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env=developer.environment, cwd=developer.folder)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        line = self.wait_for(r"Proxying localhost:(\d+) to remote ", seconds)
        self.port = int(line.group(1))
        if verbose:
            self.wait_for(self.stack, 5)

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def find(self, pattern, since=0):
        for line in self.lines[since:]:
            if found := re.search(pattern, line):
                return found
        return None

    def wait_for(self, pattern, seconds=30, since=0):
        """The match of the first line from `since` on that has the pattern."""
        def look():
            found = self.find(pattern, since)
            assert found or self.process.poll() is None, f"proxy ended with {self.process.returncode}: {self.lines}"
            return found
        try:
            return eventually(look, seconds, pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}; the proxy said {self.lines}") from None

    def pid(self):
        """The process itself, behind setpriv and unshare, which become it."""
        return self.process.pid

    def end(self):
        """Ctrl-C, twice if need be; nothing of it is left."""
        if self.process.poll() is None:
            tree = process_tree(self.process.pid)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(4)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGINT)
                try:
                    self.process.wait(4)
                except subprocess.TimeoutExpired:
                    for pid in tree:
                        os.kill(pid, signal.SIGKILL)
                    self.process.wait(4)
                    raise AssertionError(f"the proxy did not end: {self.lines}") from None
        self.reader.join(5)
        return self.process.returncode
