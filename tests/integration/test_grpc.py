"""gRPC from end to end: Debian's python3-grpcio at both ends, TLS and HTTP/2 to the edge, h2c to the app, a wake first."""

import os
import threading

import grpc
import pytest

from node import eventually

OPTIONS = "[http_service.http_options]\nh2_backend = true\n"


@pytest.fixture
def calls(make_node):
    """calls(...) -> (app, channel) of a sleeping app."""
    channels = []

    def make(command=None, **options):
        node = make_node(**options)
        command = command or f"/usr/bin/python3 -B {node.folder}/fakes/grpc_app.py {{port}} {node.work}/app.log"
        app = node.app("app", command=command, more=OPTIONS)
        node.start()
        return app, connect(app)

    def connect(app):
        credentials = grpc.ssl_channel_credentials(app.node.ca.read_bytes())
        channels.append(grpc.secure_channel(
            f"127.0.0.1:{app.node.https}", credentials,
            options=[("grpc.ssl_target_name_override", app.host), ("grpc.default_authority", app.host),
                     ("grpc.enable_retries", 0)]))
        return channels[-1]

    make.connect = connect
    yield make
    for channel in channels:
        channel.close()


def pieces(count, size=1000):
    return [os.urandom(size) for _ in range(count)]


def test_every_kind_of_call_after_a_wake(calls):
    app, channel = calls()
    message = os.urandom(300_000)
    assert channel.unary_unary("/test.Calls/Unary")(message, timeout=30) == message
    down = channel.unary_stream("/test.Calls/Down")(b"500 " + b"x" * 1000, timeout=30)
    assert [len(piece) for piece in down] == [1000] * 500
    up = pieces(300, 5000)
    assert channel.stream_unary("/test.Calls/Up")(iter(up), timeout=30) == b"300 1500000"


def test_a_bidirectional_stream_is_not_held_back(calls):
    app, channel = calls()
    gate = threading.Semaphore(1)

    def ask():
        for number in range(50):
            assert gate.acquire(timeout=20)  # the answer to the one before is here
            yield str(number).encode()

    got = []
    for answer in channel.stream_stream("/test.Calls/Both")(ask(), timeout=60):
        got.append(int(answer))
        gate.release()
    assert got == list(range(50))


def test_the_apps_status_and_trailers_arrive(calls):
    app, channel = calls()
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/test.Calls/Unary")(b"fail", timeout=30)
    assert failed.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert failed.value.details() == "it said: fail %"
    assert dict(failed.value.trailing_metadata())["x-why"] == "asked for it"
    with pytest.raises(grpc.RpcError) as missing:
        channel.unary_unary("/test.Calls/Nothing")(b"", timeout=30)
    assert missing.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_reaches_the_app_as_a_cancel(calls):
    app, channel = calls()
    channel.unary_unary("/test.Calls/Unary")(b"", timeout=30)  # it is awake
    with pytest.raises(grpc.RpcError) as late:
        channel.unary_unary("/test.Calls/Hang")(b"", timeout=1)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: app.log.count("cancelled") == 1, what="the app hears of it")


def test_a_cancel_reaches_the_app(calls):
    app, channel = calls()
    call = channel.unary_unary("/test.Calls/Hang").future(b"")
    eventually(lambda: app.log.count("hang") == 1, 30, what="the call is at the app")
    call.cancel()
    eventually(lambda: app.log.count("cancelled") == 1, what="the app hears of it")
    assert channel.unary_unary("/test.Calls/Unary")(b"on", timeout=30) == b"on"


def test_our_own_errors_are_statuses(calls):
    app, channel = calls(command="/bin/false")
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/test.Calls/Unary")(b"", timeout=30)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert dict([*(refused.value.trailing_metadata() or ()), *(refused.value.initial_metadata() or ())])["rooster-fault"]


def test_many_calls_wake_once_and_share_the_connection(calls):
    app, channel = calls()
    channels = [channel] + [calls.connect(app) for _ in range(4)]
    futures = [one.unary_unary("/test.Calls/Unary").future(str(number).encode(), timeout=60)
               for number in range(20) for one in channels]
    assert sorted({int(future.result()) for future in futures}) == list(range(20))
