"""Our WireGuard device beside a real Linux kernel's, in qemu: the kernel is set up by the embeddable library."""

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

import wires
from wires import BUILD, INNER, PORTS, new_psk, wait_until

LINUX = Path(__file__).resolve().parents[2] / "build/_sources/linux"
QEMU = "qemu-system-x86_64"
GUEST_PORT = 51830
# In the order in which they need each other.
MODULES = """virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net
    libchacha chacha-x86_64 libpoly1305 poly1305-x86_64 libcurve25519-generic libcurve25519 curve25519-x86_64
    udp_tunnel ip6_udp_tunnel libchacha20poly1305 wireguard""".split()

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc && mount -t sysfs none /sys && mount -t devtmpfs none /dev
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
ip link set lo up && ip link set eth0 up && ip address add 10.0.2.15/24 dev eth0
/kernel_guest $(cat /words)
echo "guest: exit $?"
poweroff -f
"""


def require():
    wires.require()
    for tool in (QEMU, "cpio"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (scripts/setup test)")
    if os.uname().machine != "x86_64":
        pytest.skip("the guest's kernel is one for x86-64")


def pack(folder, words):
    """The guest's root: busybox, modules, our program, and what it is called with."""
    root = folder / "root"
    for name in ("bin", "proc", "sys", "dev", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    shutil.copy(BUILD / "kernel_guest", root / "kernel_guest")
    found = {path.stem: path for path in LINUX.glob("lib/modules/*/kernel/**/*.ko")}
    order = [name for name in MODULES if name in found]  # the others are built in
    assert {"wireguard", "virtio_net"} <= set(order), f"no kernel in {LINUX} (scripts/setup test fetches it)"
    for name in order:
        shutil.copy(found[name], root / "modules")
    (root / "modules/order").write_text("\n".join(order))
    (root / "words").write_text(" ".join(map(str, words)))
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    image = folder / "root.cpio"
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    with image.open("wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], input=names.encode(), stdout=out, cwd=root, check=True)
    return image


class Guest:
    """The machine. Its network is qemu's own: 10.0.2.2 is the loopback of the namespace it runs in."""

    def __init__(self, space, image):
        kernel = next(LINUX.glob("boot/vmlinuz-*"))
        self.lines = []
        self.process = space.start(
            QEMU, "-accel", "tcg,thread=single", "-cpu", "max", "-M", "q35,vmport=off", "-nodefaults", "-no-user-config",
            "-nographic", "-serial", "stdio", "-m", "512", "-kernel", str(kernel), "-initrd", str(image),
            "-append", "console=ttyS0 panic=-1 quiet reboot=t", "-no-reboot",
            "-netdev", f"user,id=n0,hostfwd=udp:127.0.0.1:{GUEST_PORT}-:{GUEST_PORT}",
            "-device", "virtio-net-pci,netdev=n0,romfile=",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def says(self, text, patience=240):
        """Waits for a line with `text`: emulated, on a busy machine, a boot may take a minute."""

        def look():
            said = [line for line in self.lines if text in line]
            assert said or self.process.poll() is None or self.reader.is_alive(), "\n".join(self.lines[-30:])
            return said

        try:
            return wait_until(look, f"the guest's {text!r}", patience)[0]
        except AssertionError:
            print("\n".join(self.lines[-30:]))
            raise

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def beside_kernel(tmp_path):
    """beside_kernel(guest_calls): a device of ours and a guest with the kernel's, that know each other."""
    closers = []

    def make(guest_calls):
        require()
        space = wires.Namespace()
        closers.append(space.close)
        ours = wires.Device("ours", 0, space)
        closers.append(ours.close)
        private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout.strip()
        public = subprocess.run(["wg", "pubkey"], input=private, check=True, capture_output=True,
                                text=True).stdout.strip()
        psk = new_psk()
        endpoint = [] if guest_calls else ["endpoint", f"127.0.0.1:{GUEST_PORT}"]
        ours.set("peer", public, "allowed-ips", f"{INNER[1]}/128", "preshared-key", "/dev/stdin", *endpoint, text=psk)
        to_us = f"10.0.2.2:{PORTS[0]}" if guest_calls else "-"
        guest = Guest(space, pack(tmp_path, [private, ours.public, psk, to_us, GUEST_PORT, INNER[1], INNER[0]]))
        closers.append(guest.close)
        return ours, guest

    yield make
    for closer in reversed(closers):
        closer()


def test_the_kernel_calls_us(beside_kernel):
    ours, guest = beside_kernel(guest_calls=True)
    echo = ours.space.python(wires.ECHO, INNER[0], stdout=subprocess.PIPE)
    try:
        assert echo.stdout.readline() == "ready\n"
        assert guest.says("guest: exit").endswith("exit 0"), "\n".join(guest.lines[-30:])
        for wanted in ("guest: echoed", "guest: pinged", "guest: handshake"):
            guest.says(wanted)
    finally:
        echo.kill()
        echo.wait()
    assert ours.handshake() > 0
    assert ours.received() > 1_000_000


def test_we_call_the_kernel(beside_kernel):
    ours, guest = beside_kernel(guest_calls=False)
    guest.says("guest: serving")
    talk = wires.Talk(ours.space, INNER[1])
    try:
        talk.exchange(1_000_000)
    finally:
        talk.close()
    assert guest.says("guest: served").endswith("served 1000000")
    assert guest.says("guest: exit").endswith("exit 0"), "\n".join(guest.lines[-30:])
    guest.says("guest: handshake")
