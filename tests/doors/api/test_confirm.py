"""What has to be confirmed, over the API: told with the outcome, listed, confirmed, and on the stream."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sekimori.client import Client
from sekimori.doors.api.caller import read_caller_untrusted
from sekimori.doors.api.confirm import ConfirmedBody, PendingBody
from sekimori.doors.api.gateway import GatewayOutcome
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_instant

SSH = "198.51.100.10 50122 203.0.113.5 22"
ANEW = "198.51.100.10 50123 203.0.113.5 22"
WHENCE = {"within": 30, "source": "198.51.100.10", "destination": "203.0.113.5", "port": 22}


@pytest.fixture
def admin(served: Any) -> Client:
    return Client(served.path, caller=SSH)


@pytest.fixture
def anew(served: Any) -> Client:
    return Client(served.path, caller=ANEW)


async def test_an_outcome_tells_until_when(served: Any, admin: Client) -> None:
    planned = await served.call(admin.enable_gateway, firewall=True, plan=True)
    GatewayOutcome.model_validate(planned, strict=True)
    assert planned["confirm"] == {"revision": None, "deadline": None, **WHENCE}
    done = await served.call(admin.enable_gateway, firewall=True)
    GatewayOutcome.model_validate(done, strict=True)
    deadline = format_instant(served.world.clock.now() + 30)
    assert done["confirm"] == {"revision": 1, "deadline": deadline, **WHENCE}
    answer = await served.call(admin.pending)
    PendingBody.model_validate(answer, strict=True)
    (pending,) = answer["pending"]
    assert pending == {**done["confirm"], "actor": str(served.world.contexts[0].actor)}


async def test_what_cuts_nobody_off_has_nothing_to_tell(served: Any, admin: Client) -> None:
    assert (await served.call(admin.enable_gateway))["confirm"] is None
    assert (await served.call(served.client.enable_gateway, firewall=True))["confirm"] is None
    assert await served.call(admin.pending) == {"pending": [], "settled": []}


async def test_it_is_confirmed_by_another_connection_only(served: Any, admin: Client, anew: Client) -> None:
    with pytest.raises(Problem) as caught:
        await served.call(anew.confirm)
    assert (caught.value.code, caught.value.exit_code) == ("nothing-to-confirm", 4)
    await served.call(admin.ban, "198.51.100.0/24")
    with pytest.raises(Problem) as caught:
        await served.call(admin.confirm)
    assert (caught.value.code, caught.value.exit_code) == ("confirm-same-connection", 5)
    answer = await served.call(anew.confirm)
    ConfirmedBody.model_validate(answer, strict=True)
    assert answer == {"confirmed": [1]}
    answer = await served.call(admin.pending)
    PendingBody.model_validate(answer, strict=True)
    (settled,) = answer["settled"]
    assert (answer["pending"], settled["revision"], settled["how"]) == ([], 1, "confirmed")
    assert (settled["taken_back_by"], settled["left"]) == (None, [])


async def test_what_was_taken_back_is_told(served: Any, admin: Client) -> None:
    await served.call(admin.ban, "198.51.100.0/24")
    served.world.clock.advance(30)
    await served.world.gate_within.confirming.revert_overdue()
    answer = await served.call(admin.pending)
    PendingBody.model_validate(answer, strict=True)
    (settled,) = answer["settled"]
    assert (settled["how"], settled["taken_back_by"], settled["within"]) == ("reverted", 2, 30)


async def test_the_stream_tells_all_three(served: Any, admin: Client, anew: Client) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        for name, data in admin.events():
            loop.call_soon_threadsafe(begun.set)
            if name in ("pending", "confirmed", "reverted"):
                told.append((name, data))
            if name == "reverted":
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(listen))
        await begun.wait()
        await served.call(admin.ban, "198.51.100.10")
        await served.call(anew.confirm)
        await served.call(admin.unban, "198.51.100.10")
        await served.call(admin.enable_gateway, firewall=True)
        served.world.clock.advance(30)
        await served.world.gate_within.confirming.revert_overdue()
    assert [(name, data["revision"]) for name, data in told] == [
        ("pending", 1),
        ("confirmed", 1),
        ("pending", 3),
        ("reverted", 3),
    ]
    assert told[0][1]["source"] == "198.51.100.10"
    assert told[-1][1]["taken_back_by"] == 4


@pytest.mark.parametrize("body", [{"revision": 1}, [], b"no"])
async def test_what_cannot_be_read_confirms_nothing(served: Any, admin: Client, body: object) -> None:
    await served.call(admin.ban, "198.51.100.10")
    status, _, answer = await served.send("POST", "/v1/confirm", body)
    assert (status, answer["code"]) == (422, "bad-request")
    assert list(served.world.ledger.pending) == [1]


def test_an_address_mapped_into_ipv6_is_the_one_of_ipv4() -> None:
    read = read_caller_untrusted("::ffff:198.51.100.10 50122 ::ffff:203.0.113.5 22")
    assert read == read_caller_untrusted("198.51.100.10 50122 203.0.113.5 22")
