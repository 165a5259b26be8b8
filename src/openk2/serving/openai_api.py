"""The server as an ASGI application.

    GET  /                     the chat page
    GET  /health               200 while the engine works
    GET  /metrics              Prometheus
    GET  /v1/models, /v1/models/{id}
    POST /v1/completions, /v1/chat/completions
    POST /tokenize, /detokenize

Everything else is 404, and every error has OpenAI's shape.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

import openk2
from openk2.core.errors import UserError
from openk2.serving import chat, completions, tokenization
from openk2.serving.access import LOOPBACK_NAMES, AccessControl
from openk2.serving.api_errors import ApiError, bad_request
from openk2.serving.exchange import Desk
from openk2.serving.metrics import Metrics, RequestCounter
from openk2.serving.page import page_router
from openk2.serving.service import ServerSettings, Service
from openk2.tokenizer import ChatFormat

if TYPE_CHECKING:
    from openk2.inference.engine_process import EngineProcess

__all__ = ["create_app"]

WATCH = 0.5  # seconds between looks at the engine's process
STOPPED = "the engine has stopped"

router = APIRouter()


def create_app(
    engine: "EngineProcess",
    settings: ServerSettings,
    lanes: int,
    on_engine_death: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The application over a running engine, which the caller closes after it.

    `lanes` is how many sequences the engine generates at a time. The application's
    `state.service` is there from its start-up on.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = service = _service(engine, settings, lanes, app.state.metrics)
        watch = asyncio.create_task(_watch(service, on_engine_death))
        yield
        watch.cancel()

    def open_requests() -> int:
        return len(app.state.service.desk.open)

    metrics = Metrics(engine, open_requests)
    middleware = [Middleware(RequestCounter, metrics=metrics)]
    if settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            )
        )
    hosts = LOOPBACK_NAMES if settings.host in LOOPBACK_NAMES else None
    middleware.append(
        Middleware(
            AccessControl,
            api_key=settings.api_key,
            hosts=hosts,
            origins=settings.cors_origins,
        )
    )
    # Its documentation pages load scripts from elsewhere.
    app = FastAPI(
        title="OpenK2", lifespan=lifespan, middleware=middleware, openapi_url=None, docs_url=None
    )
    app.state.metrics = metrics
    for part in (router, completions.router, chat.router, tokenization.router, page_router()):
        app.include_router(part)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    return app


def _service(
    engine: "EngineProcess", settings: ServerSettings, lanes: int, metrics: Metrics
) -> Service:
    desk = Desk(engine, lanes + settings.max_queue, settings.timeout, metrics)
    chat_format = ChatFormat(engine.tokenizer, settings.thinking, settings.declarations)
    parts = (openk2.__version__, engine.model_name, engine.tokenizer.fingerprint)
    fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
    return Service(settings, desk, chat_format, f"openk2-{fingerprint}")


async def _watch(service: Service, on_engine_death: Callable[[], None]) -> None:
    """An engine that has died answers no one; without this its clients would wait."""
    while service.desk.engine.alive:
        await asyncio.sleep(WATCH)
    service.desk.close(ApiError(503, STOPPED, code="engine_stopped"))
    on_engine_death()


@router.get("/health")
async def health(request: Request) -> dict[str, str]:
    service: Service = request.app.state.service
    if service.desk.closed is not None:
        raise service.desk.closed
    if not service.desk.engine.alive:
        raise ApiError(503, STOPPED, code="engine_stopped")
    return {"status": "ok"}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    text = request.app.state.metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4")


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    return {"object": "list", "data": [_model(request.app.state.service)]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    service: Service = request.app.state.service
    service.check_model(name)
    return _model(service)


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.model,
        "object": "model",
        "created": service.started,
        "owned_by": "openk2",
        "max_model_len": service.context,
    }


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _user_error(request: Request, error: Exception) -> Response:
    return bad_request(str(error)).response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    known = {
        404: (f"there is no {where}", "not_found"),
        405: (f"{where} is not allowed", "method_not_allowed"),
    }
    message, code = known.get(error.status_code, (str(error.detail), None))
    return ApiError(error.status_code, message, code=code, headers=error.headers).response()


async def _bug(request: Request, error: Exception) -> Response:
    return ApiError(500, "a bug in the server; its log has the details").response()
