"""uvicorn's HTTP/1.1 connection, with an end to a client's slowness.

By itself it waits for ever for a request's head and for a client to take what was written.
"""

from asyncio import TimerHandle, Transport
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from openk2.serving.api_errors import ApiError

__all__ = ["patient_protocol"]


def patient_protocol(seconds: float, connections: int) -> type[H11Protocol]:
    """A protocol class for uvicorn that waits `seconds` for a client and has so many of them."""

    class PatientProtocol(H11Protocol):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self._head: TimerHandle | None = None
            self._writing: TimerHandle | None = None

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections:
                self._refuse(ApiError(503, f"more than {connections} connections"))
            else:
                self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # Either a head that is not complete yet, or the rest of a body that nobody reads,
            # because the answer (a 404, a 401) did not depend on it.
            unfinished = self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE
            if not unfinished:
                self._cancel_head()
            elif self._head is None:
                self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel_head()
            super().connection_lost(exc)
            self.resume_writing()

        def send_400_response(self, msg: str) -> None:
            self._refuse(ApiError(400, msg, code="invalid_http"))

        def pause_writing(self) -> None:
            super().pause_writing()
            self._writing = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None
            super().resume_writing()

        def _await_head(self) -> None:
            late = ApiError(408, f"the request's head did not arrive within {seconds:g} seconds")
            self._head = self.loop.call_later(seconds, self._refuse, late)

        def _cancel_head(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def _refuse(self, error: ApiError) -> None:
            if not self.transport.is_closing():
                response = error.response()
                head = f"HTTP/1.1 {error.status} \r\nConnection: close\r\n"
                fields = b"".join(b"%b: %b\r\n" % field for field in response.raw_headers)
                self.transport.write(head.encode() + fields + b"\r\n" + response.body)
                self.transport.close()

    return PatientProtocol
