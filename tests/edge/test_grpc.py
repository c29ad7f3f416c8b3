"""gRPC end to end: HTTP/2 from the visitor to the upstream, messages as bytes, no generated code."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from harness.agents import Agent
from harness.process import PATIENCE
from harness.site import Site


class Service(grpc.GenericRpcHandler):
    """`Echo` one to one, `Count` one to many, `Sum` many to one, `Talk` many to many, `Fail`, `Wait`."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return {
            "/test.Service/Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "/test.Service/Count": grpc.unary_stream_rpc_method_handler(self.count),
            "/test.Service/Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "/test.Service/Talk": grpc.stream_stream_rpc_method_handler(self.talk),
            "/test.Service/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/test.Service/Wait": grpc.unary_stream_rpc_method_handler(self.wait),
        }.get(call.method)

    def echo(self, asked: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-length", str(len(asked))),))
        return asked

    def count(self, asked: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for n in range(int(asked)):
            yield str(n).encode()

    def sum(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return str(sum(int(one) for one in asked)).encode()

    def talk(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for one in asked:
            yield one[::-1]

    def fail(self, asked: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")

    def wait(self, asked: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        yield b"first"
        self.cancelled.wait(PATIENCE)


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def agent(site: Site, service: Service) -> Iterator[Agent]:
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[service])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield site.agents.http(f"http://127.0.0.1:{port}", "--upstream-protocol", "http2")
    server.stop(None).wait()


@pytest.fixture(scope="module")
def channel(site: Site, agent: Agent) -> Iterator[grpc.Channel]:
    host = agent.url.split("://")[1]
    name = host.split(":")[0]
    trust = grpc.ssl_channel_credentials(root_certificates=site.edge.ca.read_bytes())
    address = "{}:{}".format(*site.edge.https)
    options = [("grpc.ssl_target_name_override", name), ("grpc.default_authority", host)]
    with grpc.secure_channel(address, trust, options=options) as channel:
        yield channel


def test_a_call_and_its_answer(channel: grpc.Channel) -> None:
    echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Service/Echo")
    for message in (b"", b"hello", bytes(1 << 20)):
        answer, call = echo.with_call(message, timeout=PATIENCE)
        assert answer == message
        assert call.code() is grpc.StatusCode.OK
        assert dict(call.trailing_metadata())["x-length"] == str(len(message))


def test_an_answer_of_many_messages(channel: grpc.Channel) -> None:
    count: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/test.Service/Count")
    assert [int(one) for one in count(b"1000", timeout=PATIENCE)] == list(range(1000))


def test_a_call_of_many_messages(channel: grpc.Channel) -> None:
    numbers = (str(n).encode() for n in range(1000))
    add: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary("/test.Service/Sum")
    assert add(numbers, timeout=PATIENCE) == str(sum(range(1000))).encode()


def test_a_conversation_needs_no_end_to_be_heard(channel: grpc.Channel) -> None:
    heard = threading.Semaphore(1)

    def said() -> Iterator[bytes]:
        for n in range(20):
            assert heard.acquire(timeout=PATIENCE), "the answer to the last message never came"
            yield f"message {n}".encode()

    talk: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream("/test.Service/Talk")
    answers = []
    for answer in talk(said(), timeout=PATIENCE):
        answers.append(answer[::-1].decode())
        heard.release()
    assert answers == [f"message {n}" for n in range(20)]


def test_a_failure_keeps_its_status(channel: grpc.Channel) -> None:
    fail: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Service/Fail")
    nothing: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Service/Nothing")
    with pytest.raises(grpc.RpcError) as failed:
        fail(b"", timeout=PATIENCE)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "not today"
    with pytest.raises(grpc.RpcError) as failed:
        nothing(b"", timeout=PATIENCE)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_visitor_who_cancels_is_heard_by_the_upstream(channel: grpc.Channel, service: Service) -> None:
    wait: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/test.Service/Wait")
    call = wait(b"", timeout=PATIENCE)
    assert next(iter(call)) == b"first"
    call.cancel()
    assert service.cancelled.wait(PATIENCE)


def test_calls_run_side_by_side(channel: grpc.Channel) -> None:
    echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Service/Echo")
    running = [(n, echo.future(str(n).encode() * 1000, timeout=PATIENCE)) for n in range(200)]
    assert all(call.result() == str(n).encode() * 1000 for n, call in running)


def test_small_messages_wait_for_a_slow_visitor(channel: grpc.Channel) -> None:
    """They are no flood, however many of them are on their way."""
    count: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/test.Service/Count")
    calls = [count(b"20000", timeout=4 * PATIENCE) for _ in range(4)]
    heard = [iter(call) for call in calls]
    assert [next(one) for one in heard] == [b"0"] * 4
    for one in heard:  # the others wait meanwhile
        assert sum(1 for _ in one) == 19_999
