"""What goes wrong between a laptop and its gateway, made on loopback or in a namespace of the test's own."""

import select
import socket
import subprocess
import threading

from node import eventually


class UdpRelay:
    """UDP between peers and `target`. lossy: nothing passes. refuse(): the port is closed, as a firewall's reject."""

    def __init__(self, target):
        self.target, self.lossy, self.dropped = target, False, 0
        self.front = self.bind(0)
        self.port = self.front.getsockname()[1]
        self.back, self.peers, self.running = {}, {}, True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def bind(self, port):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.bind(("127.0.0.1", port))
        made.setblocking(False)
        return made

    def refuse(self):
        self.front, closed = None, self.front
        closed.close()

    def accept(self):
        self.front = self.bind(self.port)

    def run(self):
        while self.running:
            front = self.front
            try:
                sockets = [*self.peers, *([front] if front else [])]
                ready = select.select(sockets, [], [], 0.05)[0]
                for one in ready:
                    self.forward(one, front)
            except (OSError, ValueError):  # closed meanwhile
                continue

    def forward(self, one, front):
        for _ in range(256):
            try:
                data, sender = one.recvfrom(65536)
            except BlockingIOError:
                return
            except ConnectionRefusedError:  # the gateway restarts
                continue
            if self.lossy:
                self.dropped += 1
            elif one is front:
                self.way_to(sender).send(data)
            elif front is not None:
                front.sendto(data, self.peers[one])

    def way_to(self, sender):
        if sender not in self.back:
            made = self.bind(0)
            made.connect(self.target)
            self.back[sender], self.peers[made] = made, sender
        return self.back[sender]

    def close(self):
        self.running = False
        self.thread.join(5)
        for one in (*self.peers, self.front):
            if one:
                one.close()


class Laptop:
    """A network namespace with one wire to ours. gateway: our address on it, for the node to listen on."""

    def __init__(self, number):
        self.name = f"rs{number}"
        self.net = f"10.{64 + number // 250 % 64}.{number % 250}"
        self.gateway, self.address = f"{self.net}.1", f"{self.net}.2"
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"],
                                       stdout=subprocess.PIPE, text=True)
        try:
            assert self.holder.stdout.readline() == "ready\n"
            self.here("ip", "link", "add", self.name, "type", "veth", "peer", "name", "wire", "netns",
                      str(self.holder.pid))
            self.here("ip", "addr", "add", f"{self.gateway}/24", "dev", self.name)
            self.here("ip", "link", "set", self.name, "up")
            self.there("ip", "link", "set", "lo", "up")
            self.there("ip", "link", "set", "wire", "up")
            self.there("ip", "addr", "add", f"{self.address}/24", "dev", "wire")
        except BaseException:
            self.close()
            raise

    def here(self, *words, check=True):
        return subprocess.run(words, check=check, capture_output=True, timeout=30).returncode

    def there(self, *words, check=True):
        return self.here(*self.enter(), *words, check=check)

    def enter(self):
        return ["nsenter", "-t", str(self.holder.pid), "--net", "--"]

    def close(self):
        """The wire goes with its namespace."""
        self.holder.kill()
        self.holder.wait()
        self.here("ip", "link", "del", self.name, check=False)
