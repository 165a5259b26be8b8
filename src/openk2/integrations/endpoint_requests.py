"""One request until it is answered: its turn, its cost, its attempts."""

import time
from dataclasses import dataclass

import tenacity

from openk2.core.errors import UserError
from openk2.core.generation import Completion
from openk2.integrations.adaptive_concurrency import AdaptiveConcurrency
from openk2.integrations.endpoint_failures import (
    EndpointUnavailable,
    RetryPolicy,
    TransientFailure,
)
from openk2.integrations.openai_transport import OpenAITransport
from openk2.integrations.openai_wire import read_answers
from openk2.integrations.token_budget import Budget, Usage

__all__ = ["EndpointRequests"]


@dataclass
class EndpointRequests:
    """Requests to one endpoint; `sent` counts HTTP requests, `retries` those after a failure."""

    transport: OpenAITransport
    concurrency: AdaptiveConcurrency
    budget: Budget
    policy: RetryPolicy
    sent: int = 0
    retries: int = 0

    async def ask(
        self, route: str, body: bytes, choices: int, max_tokens: int | None
    ) -> list[Completion]:
        """The choices that the endpoint gives, 1 to `choices`, of at most `max_tokens` each.

        Raises UserError for a request that is refused, BudgetExceeded for one that is too dear, and
        EndpointUnavailable after the last attempt.
        """
        # No token is shorter than a byte, and JSON's own signs pay for those of the chat format.
        bound = Usage(len(body), choices * (max_tokens or 0))
        busy = 0.0

        async def attempt() -> list[Completion]:
            nonlocal busy
            async with (
                self.concurrency.slot() as slot,
                self.budget.reserved(bound) as bill,
            ):
                self.sent += 1
                started = time.monotonic()
                try:
                    text = await self.transport.post(route, body)
                    answers, usage = read_answers(route, len(body), text, choices)
                except UserError:
                    bill.settle(Usage())
                    raise
                except TransientFailure as failure:
                    if failure.free:
                        bill.settle(Usage())
                    if failure.overloaded:
                        slot.overloaded(failure.retry_after)
                    raise
                finally:
                    busy += time.monotonic() - started
                slot.succeeded()
                bill.settle(usage)
                return answers

        def stop(state: tenacity.RetryCallState) -> bool:
            took = busy + state.idle_for + state.upcoming_sleep
            return state.attempt_number >= self.policy.attempts or took > self.policy.total_time

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TransientFailure),
            wait=self._wait,
            stop=stop,
            before_sleep=self._count_retry,
        )
        try:
            return await retrying(attempt)
        except tenacity.RetryError as error:
            raise EndpointUnavailable(
                f"{self.transport.where}: no answer after {error.last_attempt.attempt_number} "
                f"attempts, {busy:.3g} seconds of them spent waiting for it; the last: "
                f"{error.last_attempt.exception()}; see whether the endpoint is up and keeps up"
            ) from error

    def _wait(self, state: tenacity.RetryCallState) -> float:
        backoff = tenacity.wait_random_exponential(
            multiplier=self.policy.first_wait, max=self.policy.longest_wait
        )
        failure = state.outcome.exception() if state.outcome else None
        wanted = failure.retry_after if isinstance(failure, TransientFailure) else 0.0
        return max(backoff(state), wanted)

    def _count_retry(self, _: tenacity.RetryCallState) -> None:
        self.retries += 1
