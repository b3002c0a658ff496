"""A gRPC server (python3-grpcio) without generated code: messages are bytes.

    /test.Calls/Unary    the request again; `fail` ends with INVALID_ARGUMENT and details
    /test.Calls/Down     the request again as many times as it says
    /test.Calls/Up       how many messages and bytes came
    /test.Calls/Both     each message as it comes
    /test.Calls/Hang     nothing; writes `hang` and `cancelled` to the log
"""

import sys
import threading
from concurrent import futures

import grpc


class Calls(grpc.GenericRpcHandler):
    def __init__(self, log):
        self.log = log

    def note(self, word):
        if self.log:
            with open(self.log, "a") as out:
                out.write(f"{word} 0\n")

    def unary(self, request, context):
        if request == b"fail":
            context.set_trailing_metadata((("x-why", "asked for it"),))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "it said: fail %")
        return request

    def down(self, request, context):
        count, _, piece = request.partition(b" ")
        for _ in range(int(count)):
            yield piece

    def up(self, requests, context):
        sizes = [len(request) for request in requests]
        return f"{len(sizes)} {sum(sizes)}".encode()

    def both(self, requests, context):
        yield from requests

    def hang(self, request, context):
        over = threading.Event()
        context.add_callback(lambda: (self.note("cancelled"), over.set()))
        self.note("hang")
        over.wait(60)
        return b""

    def service(self, call):
        name = call.method.rpartition("/")[2]
        return {"Unary": grpc.unary_unary_rpc_method_handler(self.unary),
                "Down": grpc.unary_stream_rpc_method_handler(self.down),
                "Up": grpc.stream_unary_rpc_method_handler(self.up),
                "Both": grpc.stream_stream_rpc_method_handler(self.both),
                "Hang": grpc.unary_unary_rpc_method_handler(self.hang)}.get(name)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Calls(sys.argv[2] if len(sys.argv) > 2 else None),))
    assert server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
