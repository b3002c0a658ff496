"""The private zones as other programs see them: kdig, dig and dnspython ask a name server with a fixed directory."""

import os
import random
import re
import socket
import struct
import subprocess
import sys

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename
import pytest

PATIENCE = 20
HOST = "127.0.0.1"
M1, M2, D1 = (f"fdaa:2:78b0:a7b:1:0:{n}:2" for n in ("1", "2", "d1"))
# name, type, the answers as every client prints them, the code. None: an empty answer with a SOA.
TABLE = [
    ("web.internal", "AAAA", [M1, M2]),
    ("wEb.InTernal", "AAAA", [M1, M2]),
    ("global.web.internal", "AAAA", [M1, M2]),
    ("iad.web.internal", "AAAA", [M1]),
    ("m2.vm.web.internal", "AAAA", [M2]),
    ("app.process.web.internal", "AAAA", [M1, M2]),
    ("worker.process.web.internal", "AAAA", None),
    ("top5.nearest.of.web.internal", "AAAA", [M1, M2]),
    ("primary.role.kv._metadata.web.internal", "AAAA", [M1]),
    ("db.internal", "AAAA", [D1]),
    ("web.internal", "A", None),
    ("vms.web.internal", "TXT", ['"m1 iad,m2 gru"']),
    ("all.vms.web.internal", "TXT", ['"m1 iad,m2 gru,m3 ord"']),
    ("regions.web.internal", "TXT", ['"gru,iad"']),
    ("all.regions.web.internal", "TXT", ['"gru,iad,ord"']),
    ("vms.db.internal", "TXT", None),
    ("_apps.internal", "TXT", ['"db,large,web"']),
    ("_peer.internal", "TXT", ['"laptop"']),
    ("laptop._peer.internal", "AAAA", ["fdaa:2:78b0:a7b:1:0:a:102"]),
    ("_api.internal", "AAAA", ["fdaa:2:78b0::3"]),
    ("web.flycast", "AAAA", ["fdaa:2:78b0:0:1::a"]),
    ("internal", "NS", ["_api.internal."]),
    (dns.reversename.from_address(M1).to_text(), "PTR", ["m1.vm.web.internal."]),
    (dns.reversename.from_address("fdaa:2:78b0:0:1::b").to_text(), "PTR", ["db.flycast."]),
]
MISSING = ["nobody.internal", "lhr.web.internal", "m9.vm.web.internal", "nobody._peer.internal", "nobody.flycast",
           "interactive-1._peer.internal"]


class Village:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([os.path.join(os.environ["ROOSTER_FAKES"], "dns_village"), *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def close(self):
        self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0

    def ask(self, name, kind, over=dns.query.udp, **options):
        return over(dns.message.make_query(name, kind, **options), HOST, timeout=PATIENCE, port=self.port)


@pytest.fixture(scope="module")
def village():
    made = Village()
    yield made
    made.close()


def printed(program, village, name, kind, *options):
    """(code, answers' data) as kdig or dig print them."""
    command = [program, f"@{HOST}", "-p", str(village.port), "+tries=1" if program == "dig" else "+retry=0",
               f"+timeout={PATIENCE}", *options, name, kind]
    out = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE + 10, check=True).stdout
    code = re.search(r"status: (\w+)", out).group(1)
    section = re.search(r";; ANSWER SECTION:\n(.*?)(?:\n\n|\Z)", out, re.S)
    lines = section.group(1).splitlines() if section else []
    return code, sorted(line.split(None, 4)[4] for line in lines)


@pytest.mark.parametrize("program", ["kdig", "dig"])
@pytest.mark.parametrize("options", [(), ("+tcp",), ("+noedns",)])
def test_command_line_clients_read_every_record(village, program, options):
    for name, kind, answers in TABLE:
        assert printed(program, village, name, kind, *options) == ("NOERROR", answers or []), (name, kind)
    for name in MISSING:
        assert printed(program, village, name, "AAAA", *options) == ("NXDOMAIN", []), name


@pytest.mark.parametrize("over", [dns.query.udp, dns.query.tcp])
def test_dnspython_reads_every_record(village, over):
    for name, kind, answers in TABLE:
        reply = village.ask(name, kind, over)
        assert reply.rcode() == dns.rcode.NOERROR and reply.flags & dns.flags.AA
        assert sorted(item.to_text() for rrset in reply.answer for item in rrset) == (answers or []), name
        assert {rrset.ttl for rrset in reply.answer + reply.authority} == {5}
        assert bool(reply.authority) == (answers is None)
    for name in MISSING:
        reply = village.ask(name, "AAAA", over)
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert reply.authority[0].rdtype == dns.rdatatype.SOA


def test_a_stub_resolver_comes_again_over_tcp(village):
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [HOST], village.port, PATIENCE
    assert len(resolver.resolve("large.internal", "AAAA")) == 500
    assert printed("kdig", village, "large.internal", "AAAA")[1][0].startswith("fdaa:")
    assert len(printed("dig", village, "large.internal", "AAAA")[1]) == 500


@pytest.mark.parametrize("size", [512, 600, 1232, 4096, 65535])
def test_a_datagram_is_never_larger_than_asked_for(village, size):
    for name in ("large.internal", "vms.large.internal", "web.internal"):
        for kind in ("AAAA", "TXT"):
            query = dns.message.make_query(name, kind, use_edns=0, payload=size)
            wire = raw(village, query.to_wire())
            assert len(wire) <= min(size, 1232)
            assert dns.message.from_wire(wire).edns == 0


def test_long_texts_join_to_the_whole_list(village):
    reply = village.ask("vms.large.internal", "TXT", dns.query.tcp)
    strings = reply.answer[0][0].strings
    assert len(reply.answer[0]) == 1 and max(map(len, strings)) == 255
    items = b"".join(strings).decode().split(",")
    assert items[0] == "00000000000000 gru" and len(items) == 500
    reply = village.ask("all._instances.internal", "TXT", dns.query.tcp)
    items = b"".join(reply.answer[0][0].strings).decode().split(";")
    assert f"instance=d1,app=db,ip={D1},region=gru" in items and len(items) == 504


def test_the_question_comes_back_in_its_case(village):
    reply = village.ask("wEB.iNtErNaL", "AAAA")
    assert reply.question[0].name.to_text() == "wEB.iNtErNaL."
    assert reply.answer[0].name.to_text() == "wEB.iNtErNaL."


def test_edns_is_answered_in_kind(village):
    assert village.ask("web.internal", "AAAA", use_edns=False).edns == -1
    reply = village.ask("web.internal", "AAAA", use_edns=0, want_dnssec=True)
    assert reply.edns == 0 and reply.payload == 1232 and reply.ednsflags & dns.flags.DO
    query = dns.message.make_query("web.internal", "AAAA", use_edns=0)
    query.use_edns(1)
    reply = dns.query.udp(query, HOST, timeout=PATIENCE, port=village.port)
    assert reply.rcode() == dns.rcode.BADVERS


def test_other_names_need_a_resolver_behind(village):
    assert village.ask("example.com", "A").rcode() == dns.rcode.REFUSED
    query = dns.message.make_query("version.bind", "TXT", "CH")
    assert dns.query.udp(query, HOST, timeout=PATIENCE, port=village.port).rcode() == dns.rcode.REFUSED


def test_many_questions_on_one_connection(village):
    with socket.create_connection((HOST, village.port), timeout=PATIENCE) as connection:
        queries = [dns.message.make_query(name, kind) for name, kind, _ in TABLE] * 10
        for query in queries:
            dns.query.send_tcp(connection, query)
        replies = {}
        for _ in queries:
            reply, _ = dns.query.receive_tcp(connection)
            replies[reply.id] = reply
    assert all(query.is_response(replies[query.id]) for query in queries)


def raw(village, wire):
    """What comes back for these bytes; None for silence, known by the answer to a later question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect((HOST, village.port))
        client.send(wire)
        probe = dns.message.make_query("_api.internal", "AAAA", use_edns=False)
        probe.id = (struct.unpack(">H", wire[:2].ljust(2, b"\0"))[0] + 1) % 65536
        client.send(probe.to_wire())
        first = client.recv(65535)
        if struct.unpack(">H", first[:2])[0] == probe.id:
            return None
        client.recv(65535)
        return first


def test_mangled_queries_are_answered_readably(village):
    dice = random.Random(20261121)
    silent = 0
    for _ in range(1500):
        name, kind, _ = dice.choice(TABLE)
        wire = bytearray(dns.message.make_query(name, kind, use_edns=dice.choice([0, False])).to_wire())
        for _ in range(dice.randrange(4)):
            wire[dice.randrange(len(wire))] = dice.randrange(256)
        if dice.random() < 0.2:
            del wire[dice.randrange(len(wire)):]
        answer = raw(village, bytes(wire))
        may_be_silent = len(wire) < 12 or wire[2] & 0x80
        assert (answer is None) == bool(may_be_silent), bytes(wire).hex()
        silent += answer is None
        if answer is None:
            continue
        assert answer[:2] == wire[:2] and len(answer) <= 1232
        if not wire[2] & 0x78:  # dnspython knows no other opcodes
            assert dns.message.from_wire(answer).flags & dns.flags.QR
    assert 20 < silent < 1000


def start_dnsmasq(folder):
    """A resolver of another make on a free port, which somebody else may take first: then another one."""
    for _ in range(5):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=",
             f"--port={port}", f"--pid-file={folder}/pid", "--bind-interfaces", f"--listen-address={HOST}",
             "--local=/example/", "--host-record=both.example,192.0.2.7,2001:db8::7",
             "--host-record=rebind.example,fdaa::7", "--txt-record=text.example,one,two",
             "--mx-host=mail.example,both.example,10", "--srv-host=_db._tcp.example,both.example,5432,1,2",
             "--local-ttl=77", "--neg-ttl=600"], stderr=subprocess.DEVNULL)
        query = dns.message.make_query("both.example", "A")
        for _ in range(100):
            if process.poll() is not None:
                break
            try:
                dns.query.udp(query, HOST, timeout=0.2, port=port)
                return process, port
            except (dns.exception.Timeout, OSError):
                continue
        process.kill()
        process.wait(PATIENCE)
    raise AssertionError("dnsmasq does not answer")


def test_names_from_upstream_come_without_private_addresses(tmp_path):
    upstream, port = start_dnsmasq(tmp_path)
    village = Village("0", f"{HOST}:{port}")
    try:
        seen = lambda name, kind: sorted(
            item.to_text() for rrset in village.ask(name, kind).answer for item in rrset)
        assert seen("both.example", "A") == ["192.0.2.7"]
        assert seen("both.example", "AAAA") == ["2001:db8::7"]
        assert seen("rebind.example", "AAAA") == []
        assert seen("text.example", "TXT") == ['"one" "two"']
        assert seen("mail.example", "MX") == ["10 both.example."]
        assert seen("_db._tcp.example", "SRV") == ["1 2 5432 both.example."]
        assert village.ask("none.example", "A").rcode() == dns.rcode.NXDOMAIN
        assert village.ask("web.internal", "AAAA").flags & dns.flags.AA
        assert printed("kdig", village, "both.example", "A") == ("NOERROR", ["192.0.2.7"])
        assert printed("dig", village, "both.example", "AAAA", "+tcp") == ("NOERROR", ["2001:db8::7"])
    finally:
        village.close()
        upstream.terminate()
        upstream.wait(PATIENCE)


def test_answers_leave_from_an_address_that_only_a_route_makes_local():
    """As in the hub: nobody has the address, a route makes all of fdaa::/16 local."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(["unshare", "--net", *user, sys.executable, "-B", __file__], capture_output=True, text=True,
                          timeout=4 * PATIENCE)
    assert (done.returncode, done.stdout.split()) == (0, ["NOERROR", "2", "NOERROR", "2"]), done.stderr


def ask_any_address():
    """Inside a network namespace of its own."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "-6", "route", "add", "local", "fdaa::/16", "dev", "lo", "table", "main"], check=True)
    village = Village("0", "-", "::")
    query = dns.message.make_query("web.internal", "AAAA")
    for over in (dns.query.udp, dns.query.tcp):
        reply = over(query, "fdaa:2:78b0::3", timeout=PATIENCE, port=village.port)
        print(dns.rcode.to_text(reply.rcode()), len(reply.answer[0]))
    village.close()


if __name__ == "__main__":
    ask_any_address()
