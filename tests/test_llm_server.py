"""A server as a judge: one on loopback that plays every kind of failure, and a real one."""

import importlib.util
import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers import llm, models, weights


class Stub(ThreadingHTTPServer):
    """Plays a script: each request takes the next step, and the last step stays."""

    daemon_threads = True

    def __init__(self, steps):
        super().__init__(("127.0.0.1", 0), Handler)
        self.steps, self.seen, self.lock, self.closing = list(steps), [], threading.Lock(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


def completion(text, usage=True):
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    body["choices"] = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]
    return body | ({"usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}} if usage else {})


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with self.server.lock:
            self.server.seen.append((prompt, self.headers["Authorization"]))
            step = self.server.steps.pop(0) if len(self.server.steps) > 1 else self.server.steps[0]
        if step == "slow":
            self.server.closing.wait(20)
        if step in ("cut", "slow"):
            self.connection.close()
            return
        status, content, headers = step(prompt) if callable(step) else step
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def echo(prompt):
    return 200, completion(f"re: {prompt}"), {}


def error(status, message="no", **headers):
    return status, {"error": {"message": message}}, headers


def no_proxies(monkeypatch):
    """Let no proxy of this machine stand between the client and loopback."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def stub(monkeypatch):
    no_proxies(monkeypatch)
    servers = []

    def make(*steps, **options):
        server = Stub(steps or [echo])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server, llm.OpenAIServer(server.url, "m", **{"retries": 3, "workers": 1, "timeout": 5.0} | options)

    yield make
    for server in servers:
        server.closing.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def naps(monkeypatch):
    """How long was slept before each retry; no time passes."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def test_replies_come_in_order_from_several_threads(stub):
    server, judge = stub(echo, workers=4)
    asked = [f"prompt {n}" for n in range(20)]
    assert judge.reply(asked, max_tokens=5) == [f"re: {prompt}" for prompt in asked]
    assert len(server.seen) == judge.requests == 20
    assert judge.tokens == {"prompt": 200, "reply": 40}
    assert isinstance(judge, llm.Backend)


def test_429_waits_as_long_as_the_server_says(stub, naps):
    server, judge = stub(error(429, **{"Retry-After": "7"}), error(429, **{"Retry-After": "3"}), echo)
    assert judge.reply(["a"], max_tokens=5) == ["re: a"]
    assert naps == [7, 3]
    assert len(server.seen) == judge.requests == 3


@pytest.mark.parametrize(
    "failure", [error(500), error(503), "cut", (502, "<html>bad gateway</html>", {"Content-Type": "text/html"})]
)
def test_passing_failures_are_tried_again_after_longer_and_longer_waits(stub, naps, failure):
    _, judge = stub(failure, failure, failure, echo)
    assert judge.reply(["a"], max_tokens=5) == ["re: a"]
    assert len(naps) == 3
    assert naps[0] < naps[1] < naps[2]
    assert judge.requests == 4


@pytest.mark.parametrize(
    ("failure", "message"), [(error(500), "error 500"), ("cut", "cannot connect, or the connection was cut")]
)
def test_lasting_failures_end_with_the_servers_name(stub, naps, failure, message):
    server, judge = stub(failure, retries=2)
    with pytest.raises(llm.ServerError, match=rf"http://127\.0\.0\.1:{server.server_port}/v1, model 'm': {message}"):
        judge.reply(["a"], max_tokens=5)
    assert len(server.seen) == 3


def test_a_slow_reply_times_out_and_says_so(stub, naps):
    _, judge = stub("slow", retries=1, timeout=0.2)
    with pytest.raises(llm.ServerError, match=r"no reply within 0\.2 seconds \(1 retries\)"):
        judge.reply(["a"], max_tokens=5)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_request_that_is_wrong_is_not_repeated(stub, naps, status):
    server, judge = stub(error(status, "wrong model"))
    with pytest.raises(llm.ServerError, match=rf"error {status} .*wrong model"):
        judge.reply(["a"], max_tokens=5)
    assert len(server.seen) == 1
    assert naps == []


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ((200, '{"choices": [', {}), "is not JSON"),
        ((200, "\x00\x01 garbage", {}), "is not JSON"),
        ((200, "<html>hello</html>", {"Content-Type": "text/html"}), "is no chat completion"),
        ((200, {"choices": []}, {}), "is no chat completion"),
        ((200, {"hello": 1}, {}), "is no chat completion"),
        ((200, {"choices": "none"}, {}), "is no chat completion"),
        ((200, "[]", {}), "is no chat completion"),
        ((200, "null", {}), "is no chat completion"),
    ],
)
def test_what_is_no_answer_is_an_error_that_names_the_server(stub, step, message):
    server, judge = stub(step)
    with pytest.raises(llm.ServerError, match=rf"127\.0\.0\.1:{server.server_port}.*{message}"):
        judge.reply(["a"], max_tokens=5)


@pytest.mark.parametrize(("content", "expected"), [("", ""), (None, ""), ("§$%&", "§$%&"), ("<b>1</b>", "<b>1</b>")])
def test_empty_and_garbled_replies_are_text_for_the_parser(stub, content, expected):
    _, judge = stub((200, completion(content), {}))
    assert judge.reply(["a"], max_tokens=5) == [expected]


def test_the_limit_on_requests_stops_before_the_next_and_keeps_the_answers(stub, tmp_path):
    server, judge = stub(echo, max_requests=3)
    journal = llm.Journal(tmp_path / "j.jsonl")
    with pytest.raises(llm.LimitError, match=r"limit of 3 requests .* 3 of 5 prompts were answered"):
        llm.Journalled(judge, journal).reply(list("abcde"), max_tokens=5)
    assert len(server.seen) == 3
    assert len(llm.Journal(journal.path)) == 3
    _, more = stub(echo)
    assert llm.Journalled(more, journal).reply(list("abcde"), max_tokens=5) == [f"re: {p}" for p in "abcde"]
    assert more.requests == 2


def test_retries_count_against_the_limit(stub, naps):
    server, judge = stub(error(500), max_requests=2)
    with pytest.raises(llm.LimitError, match="limit of 2 requests"):
        judge.reply(["a"], max_tokens=5)
    assert len(server.seen) == 2


def test_the_limit_on_cost_is_never_passed(stub):
    # An answer costs (10 + 2 * 10) / 1e6; before it is known, it may cost (bytes + 64 + 5 * 10) / 1e6 = 115e-6.
    server, judge = stub(echo, max_cost=200e-6, prices=(1.0, 10.0))
    with pytest.raises(llm.LimitError, match=r"may cost 0\.000115, and 9e-05 of the limit of 0\.0002 is spent"):
        judge.reply(list("abcdefgh"), max_tokens=5)
    assert len(server.seen) == 3
    assert judge.cost == pytest.approx(90e-6)


def test_what_may_have_been_billed_counts_and_what_was_refused_does_not(stub, naps):
    prices = {"prices": (1.0, 10.0)}
    _, refused = stub(error(500), error(429), echo, **prices)
    refused.reply(["a"], max_tokens=5)
    assert refused.cost == pytest.approx(30e-6)
    _, cut = stub("cut", echo, **prices)
    cut.reply(["a"], max_tokens=5)
    assert cut.cost == pytest.approx(145e-6)
    _, silent = stub((200, completion("x", usage=False), {}), **prices)
    silent.reply(["a"], max_tokens=5)
    assert silent.cost == pytest.approx(115e-6)


def test_one_failure_keeps_what_other_threads_were_answered(stub):
    def picky(prompt):
        return error(400, "bad prompt") if prompt == "p5" else echo(prompt)

    _, judge = stub(picky, workers=3)
    with pytest.raises(llm.ServerError, match="bad prompt") as caught:
        judge.reply([f"p{n}" for n in range(9)], max_tokens=5)
    assert len(caught.value.answered) >= 5
    assert all(text == f"re: p{at}" for at, text in caught.value.answered.items())


def test_the_key_reaches_the_server_and_nothing_else(stub, tmp_path, caplog, monkeypatch):
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    with caplog.at_level(logging.DEBUG):
        server, judge = stub(echo, error(401, f"wrong key {key} " + "x" * 400), api_key=key)
        journal = llm.Journal(tmp_path / "j.jsonl")
        filed = llm.Journalled(judge, journal)
        filed.reply(["a"], max_tokens=5)
        with pytest.raises(llm.ServerError, match=r"wrong key \*\*\*") as caught:
            filed.reply(["b"], max_tokens=5)
        other, keyless = stub(echo)
        keyless.reply(["a"], max_tokens=5)
    assert {authorization for _, authorization in server.seen} == {f"Bearer {key}"}
    assert {authorization for _, authorization in other.seen} == {"Bearer no-key"}
    texts = [caplog.text, str(caught.value), repr(judge), journal.path.read_text(), repr(caught.value.__cause__)]
    assert not [text for text in texts if key in text or "of-the-environment" in text]


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://x/v1", {}, "should be an http or https address"),
        ("localhost:80", {}, "should be an http or https address"),
        ("http://me:secret@x/v1", {}, "should hold no name, password or query"),
        ("http://x/v1?key=secret", {}, "should hold no name, password or query"),
        ("http://x/v1", {"max_requests": -1}, "max_requests=-1"),
        ("http://x/v1", {"max_cost": 1.0}, "max_cost needs prices"),
    ],
)
def test_bad_settings_of_a_server_are_named(url, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        llm.OpenAIServer(url, "m", **options)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="needs xllamacpp, which serves GGUF files")
def test_a_real_server_of_the_packaged_weights_answers(tmp_path, monkeypatch):
    import xllamacpp

    no_proxies(monkeypatch)

    entry = models.spec("smollm2-135m")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights.package_folder(entry.package) / entry.gguf)
    params.n_ctx, params.n_parallel, params.port, params.warmup, params.verbosity = 1024, 2, 0, False, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    assert server.listening_address.startswith("http://127.0.0.1:")
    judge = llm.OpenAIServer(f"{server.listening_address}/v1", "smollm2-135m", workers=2)
    filed = llm.Journalled(judge, llm.Journal(tmp_path / "j.jsonl"))
    asked = ["Say hello.", "What is two plus two?", "Say hello."]
    replies = filed.reply(asked, max_tokens=12)
    assert all(reply.strip() for reply in replies)
    assert replies[0] == replies[2]
    assert judge.requests == 2
    assert 20 < judge.tokens["prompt"] < 200
    assert 2 <= judge.tokens["reply"] <= 24
    assert filed.reply(asked, max_tokens=12) == replies
    assert judge.requests == 2
    del server
