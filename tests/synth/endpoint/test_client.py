"""The client against a loopback server: bounded, paced, patient, honest about repeats, never past its budget."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from data_prep.chat_completions import EndpointError, read_response
from data_prep.outfile import OutputError
from data_prep.synth.endpoint import client as client_module
from data_prep.synth.endpoint.client import Budget, BudgetSpent, Client, Limits
from data_prep.synth.endpoint.store import Reply, Sent, Store
from tests.synth.endpoint.loopback import Faults, Loopback, loopback

QUICK = Limits(concurrency=4, timeout_s=1.0, first_pause_s=0.01)


def body(number: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 10}


def say(body: dict[str, Any]) -> str:
    return body["messages"][0]["content"].upper()


def ask(
    server: Loopback,
    store: Path,
    numbers: range,
    limits: Limits = QUICK,
    budget: Budget = Budget(),  # noqa: B008
) -> tuple[list[Reply | BaseException], Sent]:
    """All at once, in order; and what the store says of the sendings."""

    async def run() -> list[Reply | BaseException]:
        async with Client(server.url, "m", limits, opened, budget) as client:
            return await asyncio.gather(*(client.reply(body(n)) for n in numbers), return_exceptions=True)

    with Store(store) as opened:
        return asyncio.run(run()), opened.sent()


def texts(replies: list[Reply | BaseException]) -> list[str]:
    return [reply.content for reply in replies if isinstance(reply, Reply)]


@pytest.mark.parametrize("fault", ["429 later", "429", "500", "hang", "cut", "half a body"])
def test_every_request_is_answered_whatever_the_network_does(tmp_path: Path, fault: str) -> None:
    with loopback(say, Faults(network=0.3, hang_s=1.6, kinds=(fault,))) as server:
        replies, sent = ask(server, tmp_path / "s.sqlite", range(12))
        lost = server.faulted[fault] if fault in ("hang", "cut", "half a body") else 0
        assert texts(replies) == [f"QUESTION {n}" for n in range(12)]
        assert server.faulted[fault] > 0
        assert sent == Sent(1, 12 + server.faulted[fault], lost, server.faulted[fault] - lost)
        assert server.most_at_once <= QUICK.concurrency


def test_a_reply_that_came_is_never_asked_for_again(tmp_path: Path) -> None:
    with loopback(say) as server:
        first, _ = ask(server, tmp_path / "s.sqlite", range(5))
        again, sent = ask(server, tmp_path / "s.sqlite", range(8))
        assert len(server.bodies) == 8 and sent == Sent(2, 8, 0, 0)
        assert texts(again)[:5] == texts(first)


def test_two_rows_that_ask_the_same_at_the_same_time_send_it_once(tmp_path: Path) -> None:
    async def run(store: Store) -> None:
        async with Client(server.url, "m", QUICK, store, Budget()) as client:
            replies = await asyncio.gather(*(client.reply(body(1)) for _ in range(6)))
            assert len({reply.content for reply in replies}) == 1
            await client.reply(body(1), sample=1)  # another sample is another request

    with loopback(say, delay_s=0.05) as server, Store(tmp_path / "s.sqlite") as store:
        asyncio.run(run(store))
        assert len(server.bodies) == 2


def test_a_store_serves_one_run_at_a_time(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite"), pytest.raises(OutputError, match=r"locked.*end the run that uses it"):
        Store(tmp_path / "s.sqlite").__enter__()


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_text("no database, but as long as one would have to be" * 50)
    with pytest.raises(OutputError, match=r"s\.sqlite: is no usable store"):
        Store(tmp_path / "s.sqlite").__enter__()


def test_retry_after_holds_all_requests_back(tmp_path: Path) -> None:
    arrivals: list[float] = []

    def note(body: dict[str, Any]) -> str:
        arrivals.append(time.monotonic())
        return "fine"

    async def run(store: Store) -> None:
        async with Client(server.url, "m", QUICK, store, Budget()) as client:
            client._not_before = time.monotonic() + 0.5  # as a 429 with Retry-After: 0.5 sets it
            await asyncio.gather(*(client.reply(body(n)) for n in range(4)))

    with loopback(note) as server, Store(tmp_path / "s.sqlite") as store:
        begun = time.monotonic()
        asyncio.run(run(store))
    assert min(arrivals) - begun >= 0.5


def test_the_pace_stays_under_the_servers_limit_and_near_it(tmp_path: Path) -> None:
    limits = QUICK._replace(requests_per_minute=1200, concurrency=8)
    with loopback(say, per_minute=1200, delay_s=0.05) as server:
        begun = time.monotonic()
        replies, sent = ask(server, tmp_path / "s.sqlite", range(40), limits)
        seconds = time.monotonic() - begun
    assert len(texts(replies)) == 40 and server.over_limit == 0 and sent.retries == 0
    assert seconds >= 39 / 20  # 20 a second, the first at once


def test_tokens_are_paced_by_what_the_server_counted(tmp_path: Path) -> None:
    with loopback(say) as server:
        begun = time.monotonic()
        replies, _ = ask(server, tmp_path / "s.sqlite", range(10), QUICK._replace(tokens_per_minute=6000))
        seconds = time.monotonic() - begun
    used = sum(reply.prompt_tokens + reply.new_tokens for reply in replies[:-4] if isinstance(reply, Reply))
    assert seconds >= 0.8 * used / 100


def test_the_budget_is_never_exceeded_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    with loopback(say) as server:
        replies, _ = ask(server, store, range(20), budget=Budget(tokens=200))
        used = sum(r.prompt_tokens + r.new_tokens for r in replies if isinstance(r, Reply))
        assert 0 < used <= 200 and any(isinstance(reply, BudgetSpent) for reply in replies)
        more, _ = ask(server, store, range(20), budget=Budget(money=1.0, price_in=1.0, price_out=1.0))
        assert len(texts(more)) == 20 and len(server.bodies) == 20


def test_a_server_that_stays_down_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ATTEMPTS", 3)
    with loopback(say, Faults(network=1.0, kinds=("500",))) as server:
        replies, sent = ask(server, tmp_path / "s.sqlite", range(1))
    assert isinstance(replies[0], EndpointError)
    assert "failed 3 times" in str(replies[0]) and "same command again" in str(replies[0])
    assert sent == Sent(1, 3, 0, 2)


def test_a_request_that_never_succeeds_while_others_do_is_given_up_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ATTEMPTS", 3)
    monkeypatch.setattr(client_module, "MOST_ATTEMPTS", 4)

    def break_on_three(body: dict[str, Any]) -> str:
        if body["messages"][0]["content"].endswith(" 3"):
            raise ConnectionResetError
        return say(body)

    with loopback(break_on_three, delay_s=0.01) as server:
        replies, sent = ask(server, tmp_path / "s.sqlite", range(40), QUICK._replace(concurrency=2))
        assert len(server.bodies) == 43
        again, _ = ask(server, tmp_path / "s.sqlite", range(40))
    assert [r.finish_reason for r in replies if isinstance(r, Reply)].count("failed") == 1
    assert replies[3].finish_reason == "failed" and "failed 4 times" in replies[3].content  # type: ignore[union-attr]
    assert again == replies and len(server.bodies) == 43 and sent == Sent(1, 43, 3, 0)


@pytest.mark.parametrize(("status", "said"), [(402, "balance"), (307, "points to http://localhost/v2"), (405, "405")])
def test_a_refusal_that_is_not_about_the_request_ends_the_run_and_is_not_kept(status: int, said: str) -> None:
    request = httpx.Request("POST", "http://localhost/v1/chat/completions")
    response = httpx.Response(
        status, request=request, headers={"Location": "http://localhost/v2"} if status < 400 else {}
    )
    with pytest.raises(EndpointError, match=said):
        read_response(response)


def test_a_server_that_counts_no_tokens_is_held_to_the_budget_all_the_same(tmp_path: Path) -> None:
    with loopback(say, counts=False) as server:
        replies, _ = ask(server, tmp_path / "s.sqlite", range(40), budget=Budget(tokens=200))
    used = sum(r.prompt_tokens + r.new_tokens for r in replies if isinstance(r, Reply))
    assert 0 < used <= 200 and any(isinstance(reply, BudgetSpent) for reply in replies)


def test_a_request_that_the_server_refuses_is_answered_so_once_and_for_all(tmp_path: Path) -> None:
    with loopback(say, Faults(network=1.0, kinds=("400",))) as server:
        first, _ = ask(server, tmp_path / "s.sqlite", range(1))
        again, _ = ask(server, tmp_path / "s.sqlite", range(1))
    assert [r.finish_reason for r in first if isinstance(r, Reply)] == ["refused"] and again == first
    assert len(server.bodies) == 1
