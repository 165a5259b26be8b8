"""Who may use the server: keys, and web pages of other origins."""

import pytest

from tests.serving.running_server import running

KEY = "sk-ключ-1"
BEARER = f"Bearer {KEY}".encode().decode("latin-1")


@pytest.fixture(scope="module")
def locked(engine):
    with running(engine, api_key=KEY) as server:
        yield server


def test_the_key_opens(locked):
    assert locked.get("/v1/models", Authorization=BEARER).status == 200
    assert locked.get("/v1/models", Authorization=BEARER.replace("Bearer", "bearer")).status == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic " + KEY[:3],
        BEARER + "x",
        "Bearer \xff",
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/chat/completions", "/nothing"])
def test_nothing_else_does(locked, header, path):
    headers = {} if header is None else {"Authorization": header}
    answer = locked.get(path, **headers)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert KEY not in answer.body.decode()


def test_the_page_and_the_health_need_no_key(locked):
    assert locked.get("/").status == locked.get("/health").status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_a_name_that_was_made_to_point_here_is_refused(server, host):
    answer = server.get("/v1/models", Host=host)
    assert (answer.status, answer.error["code"]) == (403, "host_not_allowed")


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:1", "127.0.0.1:8000", "[::1]:8000", "[::1]"]
)
def test_the_loopbacks_names_are_accepted(server, host):
    assert server.get("/v1/models", Host=host).status == 200


def test_other_origins_are_refused_and_the_pages_own_is_not(server):
    own = server.url
    assert server.get("/v1/models", Origin=own).status == 200
    for origin in ("https://evil.example", "null", "http://localhost:1"):
        answer = server.get("/v1/models", Origin=origin)
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in answer.headers


def test_an_origin_that_is_allowed_gets_its_headers(engine):
    origin = "https://app.example"
    with running(engine, cors_origins=(origin,), api_key=KEY) as server:
        answer = server.get("/v1/models", Origin=origin, Authorization=BEARER)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == origin
        ask = {"Access-Control-Request-Method": "POST", "Origin": origin}
        preflight = server.request(
            "OPTIONS",
            "/v1/chat/completions",
            headers={**ask, "Access-Control-Request-Headers": "authorization, content-type"},
        )
        assert preflight.status == 200
        assert (
            server.get("/v1/models", Origin="https://x.example", Authorization=BEARER).status == 403
        )
