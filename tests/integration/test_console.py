"""`rooster ssh console`, `dig` and `ping`, as an unprivileged user through the tunnel, and on the node itself."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

from developer import Developer
from node import BINARY, eventually, process_tree
from village import PATIENCE, make_village

__all__ = ["make_village"]
BOTH = "sh -c 'echo out; echo err >&2; exit 42'"


@pytest.fixture(params=["netns", "lwip"])
def stack(request):
    return request.param


def developer(village, stack, rights="connect,exec"):
    village.developers.append(Developer(village.node, stack, "--allow", rights).log_in())
    return village.developers[-1]


def ledger(village):
    status, body = village.node.admin_get("/v1/audit?app=echo")
    assert status == 200
    return json.loads(body)["audit"]


def test_a_command_wakes_its_machine_and_gives_its_exact_code(make_village, stack):
    village = make_village()
    someone = developer(village, stack)
    done = someone.console("echo", BOTH, check=False)
    assert (done.returncode, done.stdout) == (42, "out\n"), done
    assert done.stderr.splitlines()[-1] == "err", "errors stay apart"
    assert re.search(r"^Connecting to fdaa:\S+\.\.\. complete$", done.stderr, re.M), done.stderr
    assert eventually(village.starts, PATIENCE, "it runs, whether it is ready or not") == 1
    # Its namespaces are the machine's: its own address, the network's names.
    done = someone.console("echo", "sh -c 'cat /etc/resolv.conf; id -u'", check=False)
    assert done.stdout.startswith("nameserver fdaa::3\n"), done
    assert someone.console("echo", "sh -c 'kill -TERM $$'", check=False).returncode == 128 + 15
    assert someone.console("echo", "/no/such/program", check=False).returncode == 255
    assert village.starts() == 1

    entry = eventually(lambda: next((one for one in ledger(village) if one.get("exit_status") == 42), None), PATIENCE)
    assert entry["app"] == "echo" and entry["bytes_out"] == len("out\nerr\n") and entry["peer"]
    assert "secret" not in json.dumps(entry)


def test_standard_input_and_much_output_come_through_whole(make_village, stack):
    village = make_village()
    someone = developer(village, stack)
    text = "x" * 2_000_000
    command = [*someone.prefix, str(BINARY), "ssh", "console", "-q", f"--stack={stack}", "-a", "echo", "-C", "cat"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False,
                          env=someone.environment, cwd=someone.folder)
    assert done.returncode == 0 and done.stdout == text, (done.returncode, len(done.stdout), done.stderr[-500:])


def test_the_right_is_needed(make_village):
    village = make_village()
    without = developer(village, "lwip", "connect")
    done = without.console("echo", "true", check=False)
    assert done.returncode == 255 and "does not allow exec in echo" in done.stderr, done
    assert village.starts() == 0, "nothing is woken for whom it is refused"
    assert ledger(village) == []


def test_a_revoked_token_ends_its_commands(make_village):
    village = make_village()
    someone = developer(village, "lwip")
    command = [*someone.prefix, str(BINARY), "ssh", "console", "-q", "--stack=lwip", "-a", "echo", "-C",
               "sh -c 'trap : HUP; echo begun; while :; do sleep 0.1; done'"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env=someone.environment, cwd=someone.folder)
    try:
        assert process.stdout.readline() == "begun\n"
        running = len(process_tree(village.node.process.pid))
        token = re.search(r"#(\w+)-", someone.login).group(1)
        village.node.command("tokens", "revoke", token)
        eventually(lambda: len(process_tree(village.node.process.pid)) < running, PATIENCE, "the command is killed")
        entry = eventually(lambda: next((one for one in ledger(village) if one.get("end")), None), PATIENCE)
        assert entry["exit_status"] == 128 + 9, entry
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


class Terminal:
    """A shell in a machine, at a terminal of ours."""

    def __init__(self, command, environment, folder):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, environment)
        self.text = ""

    def read(self, pattern, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"no {pattern} in {self.text!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:
                    break
        found = re.search(pattern, self.text)
        assert found, f"no {pattern} in {self.text!r}"
        self.text = self.text[found.end():]
        return found

    def type(self, text):
        os.write(self.fd, text.encode())

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_a_shell_has_a_terminal_its_size_and_ctrl_c(make_village):
    village = make_village()
    someone = developer(village, "lwip")
    terminal = Terminal([*someone.prefix, str(BINARY), "ssh", "console", "--stack=lwip", "-a", "echo"],
                        someone.environment | {"TERM": "vt100"}, someone.folder)
    terminal.read(r"complete\r\n")
    terminal.type("echo $TERM $((6 * 7))\r")
    terminal.read(r"vt100 42")
    terminal.resize(33, 99)  # goes its own way, beside what is typed
    sizes = []
    while not sizes or sizes[-1] != "33 99":
        assert len(sizes) < 100, sizes
        terminal.type("stty size\r")
        sizes.append(terminal.read(r"[\r\n](\d+ \d+)\r\n").group(1))
    terminal.type("echo begun; sleep 1000\r")
    terminal.read(r"[\r\n]begun\r\n")
    terminal.type("\x03")
    terminal.read(r"\^C[^$]*\$ ")
    terminal.type("echo back $((1 + 1))\r")
    terminal.read(r"back 2")
    terminal.type("exit 9\r")
    assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 9


def test_on_the_node_the_admin_socket_does(make_village):
    village = make_village()
    done = village.node.command("ssh", "console", "-a", "echo", "-C", BOTH, check=False)
    assert (done.returncode, done.stdout) == (42, "out\n"), done
    done = subprocess.run([str(BINARY), "proxy", "-c", str(village.node.folder / "rooster.toml"), "0:5432", "-a", "echo",
                           "--", "sh", "-c", 'echo "$ROOSTER_PROXY_1 $ROOSTER_PROXY_1_PORT"; exit 7'],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7, done
    port = re.search(r"Proxying localhost:(\d+) to remote \[echo\.internal\]:5432\n", done.stdout).group(1)
    assert done.stdout.endswith(f"localhost:{port} {port}\n")
    assert village.node.command("proxy", "0:1", "-a", "nobody", check=False).returncode == 1


def test_names_and_pings_come_through_the_tunnel_and_wake_nothing(make_village, stack):
    village = make_village()
    someone = developer(village, stack)
    way = f"--stack={stack}"
    address = someone.run("dig", way, "-s", "echo.internal").stdout.strip()
    assert re.fullmatch(r"fdaa:[0-9a-f:]+", address), address
    assert someone.run("dig", way, "-s", "txt", "_apps.internal").stdout == '"echo"\n'
    done = someone.run("dig", way, "nobody.internal", check=False)
    assert done.returncode == 1 and done.stderr == "Error: lookup failed: NXDOMAIN\n", done
    done = someone.run("ping", way, "-n", "2", "-i", "100ms", "echo.internal")
    assert len(re.findall(rf"^12 bytes from {address} \(echo\.internal\), seq=[01] time=[\d.]+ms$", done.stdout,
                          re.M)) == 2, done.stdout
    assert "(gateway), seq=0" in someone.run("ping", way, "-n", "1").stdout
    assert village.starts() == 0


def test_the_check_tells_each_step(make_village):
    village = make_village()
    someone = developer(village, "lwip")
    done = someone.run("proxy", "--stack=lwip", "--check", "5432", "-a", "echo")
    steps = dict(reversed(line.split()[:2]) for line in done.stdout.splitlines())
    assert steps == dict.fromkeys(["login", "tls", "token", "udp", "ws", "tunnel", "dns", "target", "port"], "ok"), done
    done = someone.run("proxy", "--stack=lwip", "--check", "5432", "-a", "nobody", check=False)
    assert done.returncode == 1 and re.search(r"^FAILED  target ", done.stdout, re.M), done
