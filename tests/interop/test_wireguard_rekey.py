"""The two minutes of a real rekey, begun by wireguard-go, and by ours beside it at the same time."""

import time

from wires import wait_until


def test_two_minutes_on_one_connection(link):
    links = [link("go", "ours"), link("ours", "go")]
    talks = []
    for two in links:
        two.join(server_knows=True)
        talks.append(two.talk())
    first = []
    for two, talk in zip(links, talks):
        talk.exchange(1000)
        first.append(two.devices[1].handshake())

    def renewed():
        for talk in talks:
            talk.exchange(1000)
        return all(two.devices[1].handshake() >= first[i] + 110 for i, two in enumerate(links))

    began = time.monotonic()
    wait_until(lambda: renewed() or time.sleep(0.5), "new sessions", patience=170)
    assert time.monotonic() - began > 100, "they are renewed by age"
    for talk in talks:
        talk.exchange(1_000_000)
