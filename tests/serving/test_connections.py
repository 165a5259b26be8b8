"""Clients that are slow, leave, or speak no HTTP; a full queue; a deadline."""

import json
import socket
import threading
import time

import pytest

from tests.serving.running_server import LANES, eventually, running

PATH = "/v1/completions"
# As long as the context allows: seconds of work.
LONG = {"prompt": "the weather", "max_tokens": 4000, "ignore_eos": True}


def request_bytes(body, path=PATH):
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def idle(server):
    """Nothing runs, waits or holds memory, by the engine's own account."""
    names = ("k2_running", "k2_waiting", "k2_open_requests")
    return all(server.metric(name) == 0 for name in names)


@pytest.fixture
def quiet(server):
    """The server, with nothing to do before and after the test."""
    assert eventually(lambda: idle(server))
    yield server
    assert eventually(lambda: idle(server))


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_lanes(quiet, stream):
    generated = quiet.metric("k2_generated_tokens_total")
    aborted = quiet.metric("k2_aborted_total")
    with quiet.connect() as connection:
        connection.sendall(request_bytes({**LONG, "n": 4, "stream": stream}))
        assert eventually(lambda: quiet.metric("k2_running") == 4)
    assert eventually(lambda: idle(quiet))
    assert eventually(lambda: quiet.metric("k2_aborted_total") == aborted + 4)
    assert quiet.metric("k2_generated_tokens_total") < generated + 4 * LONG["max_tokens"]


def test_a_client_that_waits_in_the_queue_and_leaves_frees_its_place(quiet):
    with quiet.connect() as first, quiet.connect() as second:
        first.sendall(request_bytes({**LONG, "n": LANES}))
        assert eventually(lambda: quiet.metric("k2_running") == LANES)
        second.sendall(request_bytes(LONG))
        assert eventually(lambda: quiet.metric("k2_waiting") == 1)
        second.close()
        assert eventually(lambda: quiet.metric("k2_waiting") == 0)
        assert quiet.metric("k2_running") == LANES


def test_a_stream_that_waits_shows_that_it_is_alive(quiet, monkeypatch):
    monkeypatch.setattr("openk2.serving.answering.SILENCE", 0.02)
    with quiet.connect() as first, quiet.connect() as second:
        first.sendall(request_bytes({**LONG, "n": LANES}))
        assert eventually(lambda: quiet.metric("k2_running") == LANES)
        second.sendall(request_bytes({**LONG, "stream": True}))
        data = b""
        while data.count(b": the request waits or runs\n\n") < 2:
            data += second.recv(4096)
        assert data.startswith(b"HTTP/1.1 200 ") and b"data:" not in data


def test_a_full_queue_is_429_and_empties(engine):
    with running(engine, max_queue=2) as server:
        with server.connect() as connection:
            connection.sendall(request_bytes({**LONG, "n": LANES + 2}))
            assert eventually(lambda: server.metric("k2_open_requests") == 1)
            answer = server.post(PATH, {"prompt": "x", "max_tokens": 1})
            assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")
            assert int(answer.headers["retry-after"]) >= 1
        assert eventually(lambda: server.post(PATH, {"prompt": "x"}).status == 200)
        assert eventually(lambda: idle(server))


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_is_504(engine, stream):
    with running(engine, timeout=0.3) as server:
        answer = server.post(PATH, {**LONG, "n": 2, "stream": stream})
        if stream:
            # The status went out with the first token; the error is the stream's last event.
            assert answer.status == 200
            last = answer.body.decode().strip().split("\n\n")[-1]
            error = json.loads(last.removeprefix("data: "))["error"]
        else:
            assert answer.status == 504
            error = answer.error
        assert error["code"] == "timeout" and "0.3 seconds" in error["message"]
        assert eventually(lambda: idle(server))


def received(connection):
    """All that the server sends until it closes."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass  # it closed while the client was still sending
    return data


def test_slow_clients_are_cut_off_and_others_do_not_notice(engine):
    whole = request_bytes({"prompt": "x", "max_tokens": 1})
    head, body = whole.split(b"\r\n\r\n")
    with running(engine, body_timeout=0.4) as server:
        silent, dripping, halfway = (server.connect() for _ in range(3))
        dripping.sendall(b"POST /v1/comp")
        halfway.sendall(head + b"\r\n\r\n" + body[:5])
        started = time.monotonic()
        ending = threading.Thread(target=lambda: [drip(dripping) for _ in range(60)])
        ending.start()
        assert server.post(PATH, {"prompt": "x", "max_tokens": 1}).status == 200
        answers = [received(one) for one in (silent, dripping, halfway)]
        assert time.monotonic() - started < 5
        ending.join()
        for answer in answers:
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
        for one in (silent, dripping, halfway):
            one.close()


def drip(connection):
    """One more byte of a head that never ends."""
    time.sleep(0.01)
    try:
        connection.sendall(b"x")
    except OSError:
        return


def test_a_second_request_that_drips_is_cut_off_as_well(engine):
    with running(engine, body_timeout=0.3) as server, server.connect() as connection:
        connection.sendall(request_bytes({"prompt": "x", "max_tokens": 1}))
        assert eventually(lambda: connection.recv(65536).startswith(b"HTTP/1.1 200"))
        connection.sendall(b"GET /hea")
        assert b"HTTP/1.1 408 " in received(connection)


def test_a_body_that_nobody_reads_may_not_drip_either(engine):
    """The 404 comes at once, and what the client still has to say is not waited for."""
    with running(engine, body_timeout=0.3) as server, server.connect() as connection:
        connection.sendall(b"POST /no HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n")
        assert eventually(lambda: connection.recv(65536).startswith(b"HTTP/1.1 404 "))
        ending = threading.Thread(target=lambda: [drip(connection) for _ in range(100)])
        ending.start()
        started = time.monotonic()
        received(connection)
        assert time.monotonic() - started < 0.9
        ending.join()


def test_a_client_that_does_not_read_its_stream_is_cut_off(engine):
    """Its socket's buffers fill, and then it is aborted rather than waited for."""
    with running(engine, body_timeout=0.3) as server:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        asked = {**LONG, "n": LANES, "stream": True, "logprobs": 20}
        connection.sendall(request_bytes(asked))
        assert eventually(lambda: server.metric("k2_running") > 0)
        aborted = server.metric("k2_aborted_total")
        assert eventually(lambda: idle(server), 60)
        assert server.metric("k2_aborted_total") > aborted
        connection.close()


def test_too_many_connections(engine):
    with running(engine, connections=3) as server:
        held = [server.connect() for _ in range(3)]
        time.sleep(0.05)
        answer = server.get("/health")
        assert (answer.status, "3 connections" in answer.error["message"]) == (503, True)
        for one in held:
            one.close()
        assert eventually(lambda: server.get("/health").status == 200)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET /" + b"a" * 100_000,
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        bytes(range(256)),
    ],
    ids=["TLS", "long", "length", "chunks", "bytes"],
)
def test_what_is_no_http_is_answered_and_closed(quiet, rubbish):
    with quiet.connect() as connection:
        connection.sendall(rubbish)
        connection.shutdown(1)
        answer = received(connection)
        assert answer[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 405 ", b""), answer
    assert quiet.get("/health").json == {"status": "ok"}


def test_requests_are_counted_by_route_and_code(quiet):
    def count(line):
        lines = quiet.get("/metrics").body.decode().splitlines()
        return sum(float(one.split()[-1]) for one in lines if one.startswith(line))

    wrong = 'k2_http_requests_total{code="400",route="/v1/completions"}'
    other = 'k2_http_requests_total{code="404",route="other"}'
    before = count(wrong), count(other)
    quiet.post(PATH, b"{")
    quiet.get("/one/that/a/client/made/up")
    assert (count(wrong), count(other)) == (before[0] + 1, before[1] + 1)
    assert "made" not in quiet.get("/metrics").body.decode()


def test_first_tokens_are_timed(quiet):
    name = "k2_time_to_first_token_seconds_count"
    before = quiet.metric(name)
    quiet.post(PATH, {"prompt": "x", "max_tokens": 2, "n": 2, "ignore_eos": True})
    assert quiet.metric(name) == before + 2
