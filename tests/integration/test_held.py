"""Ten thousand requests held for one sleeping app, on connections that were open before it was let go."""

import pytest

from node import SCALE, eventually

HELD = max(100, int(10_000 * SCALE))
KIB_PER_WAITER = 40


def hold_and_release(node, app, release, starts):
    holder = node.holder(app, HELD)
    holder.wait_for("ready")
    idle_kib = node.memory_kib()
    holder.go()
    holder.wait_for("asked")
    eventually(lambda: node.metric("rooster_waiting") == HELD, 60, "all are held")
    held_kib = node.memory_kib()
    assert node.metric("rooster_app_waiting", app=app.name) == HELD
    assert app.log.count("listen") == starts - 1
    release()
    holder.go()
    result = holder.result()
    assert result["good"] == HELD, result
    assert result["statuses"] == {"200": HELD}
    assert app.log.count("start") == starts
    targets = {line[0] for line in app.log.lines("request") if line[0].startswith("/r/")}
    assert len(targets) == HELD
    assert node.metric("rooster_starts_total", app=app.name) == starts
    assert node.metric("rooster_waiting") == 0
    return idle_kib, held_kib


@pytest.mark.parametrize("workers", (1, 4))
def test_ten_thousand_held_cause_one_start_and_are_all_answered(make_node, workers):
    node = make_node(workers=workers)
    app = node.wake_app(options="--gate={gate}", rooster='wake_timeout = "120s"')
    node.start()
    empty_kib = node.memory_kib()
    _, held_kib = hold_and_release(node, app, app.gate.touch, starts=1)
    each = (held_kib - empty_kib) / HELD
    print(f"{each:.1f} KiB a waiter, its TLS connection included")
    if SCALE == 1:
        assert each <= KIB_PER_WAITER


def test_held_while_the_machine_is_just_stopping(make_node):
    node = make_node(workers=2)
    # It stops only when let go, and starts again at once.
    app = node.wake_app(options="--gate={gate} --stop-gate={gate}.stop",
                        rooster='wake_timeout = "120s"\nidle_timeout = "1s"', top='kill_timeout = "100s"')
    node.start()
    app.gate.touch()
    assert app.request("/first").status == 200
    eventually(lambda: app.log.count("signal") == 1, 10, "stopping")
    hold_and_release(node, app, (node.work / "app.gate.stop").touch, starts=2)
