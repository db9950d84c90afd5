"""Any server that speaks OpenAI's chat protocol as a judge, with limits on requests and cost."""

from __future__ import annotations

import logging
import threading
import urllib.parse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from helpers.llm.replay import AskingError
from helpers.llm.writing import Order, Written

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)

NO_KEY = "no-key"
TEMPLATE_TOKENS = 64  # most tokens that a server's own chat template adds to a prompt


class ServerError(AskingError):
    """The server refused, failed for longer than the retries lasted, or sent what is no answer."""


class LimitError(AskingError):
    """One more request might have gone beyond the limit on requests or on cost."""


class OpenAIServer:
    """A chat model behind an OpenAI-compatible server.

    Time-outs, cut connections and the codes 408, 409, 429 and 5xx are tried again by the `openai` client, after an
    exponential back-off with jitter, or after the time that ``Retry-After`` names where that is two minutes or less.
    Other 4xx codes are not. Every attempt counts as a request.

    Args:
        base_url: Address up to and with ``/v1``.
        model: The server's name of the model.
        api_key: Sent to this server only; none is sent from the environment. It is never logged or filed.
        revision: Revision for the journal, which a server does not tell.
        temperature: Of the replies; at 0 most servers answer alike when asked twice.
        max_requests: Most requests of this object's life, attempts that failed included.
        max_cost: Most money of this object's life, in the unit of ``prices``. A request is sent only where its dearest
            outcome keeps within: a token for each byte of the prompt, and the longest reply.
        prices: Price of a million prompt tokens and of a million reply tokens.
        retries: How often a request is tried again.
        timeout: Seconds to wait for a reply.
        workers: Requests at a time.

    Raises:
        ValueError: For an address that is no http address, a limit below 0, or a ``max_cost`` without ``prices``.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        revision: str = "unknown",
        temperature: float = 0.0,
        max_requests: int | None = None,
        max_cost: float | None = None,
        prices: tuple[float, float] | None = None,
        retries: int = 5,
        timeout: float = 120.0,
        workers: int = 4,
    ) -> None:
        self.address = _address(base_url)
        for what, limit in {"max_requests": max_requests, "max_cost": max_cost, "retries": retries}.items():
            if limit is not None and limit < 0:
                raise ValueError(f"{what}={limit} should be 0 or more")
        if max_cost is not None and prices is None:
            raise ValueError("max_cost needs prices: those of a million prompt tokens and a million reply tokens")
        self.name, self.revision = model, revision
        self.settings = {"temperature": temperature}
        self.max_requests, self.max_cost, self.prices = max_requests, max_cost, prices
        self.retries, self.timeout, self.workers = retries, timeout, workers
        self.requests, self.cost = 0, 0.0
        self.tokens = {"prompt": 0, "reply": 0}
        self._lock, self._thread = threading.Lock(), threading.local()
        self._base_url, self._key = base_url, api_key

    def __repr__(self) -> str:
        return f"OpenAIServer({self.address!r}, {self.name!r}, requests={self.requests}, cost={self.cost:g})"

    def reply(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """Return the server's reply to each prompt; an empty one is an empty text.

        Raises:
            LimitError: Before the request that might go beyond a limit.
            ServerError: For an answer that is an error, or none. Both carry in ``answered`` what was answered.
        """
        orders = [Order(prompt, max_tokens) for prompt in prompts]
        return self._all(orders, lambda written: written.text)

    def write(self, orders: Sequence[Order]) -> list[Written]:
        """Return what the server writes for each order; errors as `reply`.

        A schema is sent as ``response_format``, a seed as ``seed``. Not every server keeps to them, or says so.
        """
        return self._all(orders, lambda written: written)

    def _all(self, orders: Sequence[Order], convert: Callable[[Written], Any]) -> list[Any]:
        """Send orders, several at a time."""
        answered: dict[int, Any] = {}
        failures: list[AskingError] = []
        with self._client() as client, ThreadPoolExecutor(max_workers=self.workers) as pool:

            def work(index: int) -> None:
                if failures:  # one failure ends the work: those under way are waited for
                    return
                try:
                    answered[index] = convert(self._ask(client, orders[index]))
                except AskingError as error:
                    failures.append(error)

            list(pool.map(work, range(len(orders))))
        if failures:
            first = failures[0]
            kept = f"{len(answered)} of {len(orders)} prompts were answered before"
            raise type(first)(f"{first}; {kept}", answered)
        return [answered[index] for index in range(len(orders))]

    def _client(self) -> openai.OpenAI:
        """Return a client that asks `_book_attempt` before each attempt."""
        import openai

        hooks = {"request": [self._book_attempt], "response": [self._refund_failure]}
        return openai.OpenAI(
            base_url=self._base_url,
            api_key=self._key or NO_KEY,
            max_retries=self.retries,
            timeout=self.timeout,
            http_client=openai.DefaultHttpxClient(event_hooks=hooks),
        )

    def _book_attempt(self, request: object) -> None:
        """Count an attempt at its dearest outcome, or stop before it is sent."""
        with self._lock:
            if self.max_requests is not None and self.requests >= self.max_requests:
                raise LimitError(f"the limit of {self.max_requests} requests to {self.address} is reached")
            dearest = self._thread.dearest
            if self.max_cost is not None and self.cost + dearest > self.max_cost:
                raise LimitError(
                    f"the next request to {self.address} may cost {dearest:g}, and {self.cost:g} of the limit of "
                    f"{self.max_cost:g} is spent"
                )
            self.requests += 1
            self.cost += dearest

    def _refund_failure(self, response: Any) -> None:
        """Take back what an attempt was booked at: an error is not billed. One that timed out may be."""
        if response.status_code >= 400:
            with self._lock:
                self.cost -= self._thread.dearest

    def _ask(self, client: openai.OpenAI, order: Order) -> Written:
        """Send one prompt, check the answer and book what it cost."""
        self._thread.dearest = self._price(len(order.prompt.encode()) + TEMPLATE_TOKENS, order.max_tokens)
        answer, problem = self._send(client, order)
        if problem is None:
            counts = _counts(answer)
            self._book_answer(counts)
            written, problem = _written(answer, counts)
        if problem is not None:
            # Before the text is cut, or half a key could be left at its end.
            problem = problem.replace(self._key, "***") if self._key else problem
            raise ServerError(f"{self.address}, model {self.name!r}: {problem[:300]}")
        return written

    def _send(self, client: openai.OpenAI, order: Order) -> tuple[object, str | None]:
        """Return the answer and None, or None and what went wrong.

        Errors are turned into text here and not chained: those of the client hold the request with its headers.
        """
        import openai

        turns = [{"role": "user", "content": order.prompt}]
        options = {"model": self.name, "max_tokens": order.max_tokens, "temperature": self.settings["temperature"]}
        if order.seed is not None:
            options["seed"] = order.seed
        if order.schema is not None:
            wanted = {"name": "answer", "strict": True, "schema": dict(order.schema)}
            options["response_format"] = {"type": "json_schema", "json_schema": wanted}
        try:
            return client.chat.completions.create(messages=turns, **options), None
        except AskingError:
            raise
        except openai.APITimeoutError:
            return None, f"no reply within {self.timeout:g} seconds ({self.retries} retries)"
        except openai.APIConnectionError:
            return None, f"cannot connect, or the connection was cut ({self.retries} retries)"
        except openai.APIStatusError as error:
            return None, f"error {error.status_code} ({error.message})"
        except (openai.APIError, ValueError) as error:
            return None, f"what it sent is not JSON ({type(error).__name__}: {error})"

    def _book_answer(self, counts: tuple[int | None, int | None]) -> None:
        """Replace an answer's dearest outcome by the tokens that the server counted, where it counts."""
        if None in counts:
            return
        with self._lock:
            self.cost += self._price(*counts) - self._thread.dearest
            self.tokens = {"prompt": self.tokens["prompt"] + counts[0], "reply": self.tokens["reply"] + counts[1]}

    def _price(self, prompt_tokens: int, reply_tokens: int) -> float:
        """Return what so many tokens cost; nothing where there are no prices."""
        a, b = self.prices or (0.0, 0.0)
        return (prompt_tokens * a + reply_tokens * b) / 1e6


def _counts(answer: object) -> tuple[int | None, int | None]:
    """Return how many prompt tokens and reply tokens the server counted; None twice where it did not count both."""
    usage = getattr(answer, "usage", None)
    counts = tuple(getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
    return counts if all(isinstance(count, int) for count in counts) else (None, None)


def _written(answer: object, counts: tuple[int | None, int | None]) -> tuple[Written, str | None]:
    """Return the text of an answer and None, or nothing and what is wrong with it. No text is an empty text."""
    choices = getattr(answer, "choices", None)
    first = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(first, "message", None)
    if message is None:
        return Written(""), f"what it sent is no chat completion: {answer!r}"
    content = getattr(message, "content", None)
    is_whole = getattr(first, "finish_reason", None) != "length"
    return Written(content if isinstance(content, str) else "", is_whole, *counts), None


def _address(base_url: str) -> str:
    """Return the address without what nobody should read in a log.

    Raises:
        ValueError: For another scheme, or an address with a name, a password or a query in it.
    """
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url should be an http or https address, got one that begins with {base_url[:8]!r}")
    if parts.username or parts.password or parts.query:
        raise ValueError("base_url should hold no name, password or query; give the key as api_key")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
