"""Events over real sockets: who may subscribe, and what is told to whom."""

from __future__ import annotations

import asyncio
import ipaddress
import xml.etree.ElementTree as ET

import pytest

from sekimori.testing.upnpclient import Answer, Listener, UpnpClient
from sekimori.wire.igddescription import Part, path_of
from sekimori.wire.igdservices import COMMON, FIREWALL6, FORWARDING, WANIP1, WANIP2, Service

from .house import CONSOLE, OUTSIDE, PHONE, House, entry, key

pytestmark = pytest.mark.loopback


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot be told is tried again without a wait."""
    monkeypatch.setattr("sekimori.doors.igd.subscriptions._AGAIN", 0.01)


async def subscribe(
    client: UpnpClient, callback: str, service: Service = WANIP1, timeout: str = "Second-300"
) -> Answer:
    fields = {"Callback": callback, "NT": "upnp:event", "Timeout": timeout}
    return await client.request("SUBSCRIBE", path_of(client.version, service, Part.EVENTS), fields)


def properties(event: Answer) -> dict[str, str]:
    root = ET.fromstring(event.body)
    return {child.tag: child.text or "" for each in root for child in each}


async def test_the_first_event_tells_all_and_the_next_what_changed(home1: House) -> None:
    client = home1.client()
    async with Listener(PHONE) as listener:
        answer = await subscribe(client, f"<{listener.callback}>")
        assert (answer.status, answer.fields["timeout"]) == (200, "Second-300")
        first = await listener.next()
        assert first.fields["sid"] == answer.fields["sid"]
        assert (first.fields["seq"], first.fields["nts"]) == ("0", "upnp:propchange")
        assert properties(first) == {
            "PossibleConnectionTypes": "IP_Routed",
            "ConnectionStatus": "Connected",
            "ExternalIPAddress": OUTSIDE,
            "PortMappingNumberOfEntries": "0",
        }
        await client.call(WANIP1, "AddPortMapping", **entry(3074))
        second = await listener.next()
        assert second.fields["seq"] == "1"
        assert properties(second) == {"PortMappingNumberOfEntries": "1"}
        home1.inside.outside[4] = ipaddress.ip_address("203.0.113.99")
        home1.door.reframe()
        assert properties(await listener.next()) == {"ExternalIPAddress": "203.0.113.99"}
        home1.inside.outside[4] = None
        home1.door.reframe()
        assert properties(await listener.next()) == {
            "ExternalIPAddress": "",
            "ConnectionStatus": "Disconnected",
        }


async def test_many_changes_are_few_events(home2: House) -> None:
    client = home2.client(version=2)
    async with Listener(PHONE) as listener:
        await subscribe(client, f"<{listener.callback}>", WANIP2)
        assert "SystemUpdateID" in properties(await listener.next())
        for port in range(4000, 4020):
            await client.call(WANIP2, "AddPortMapping", **entry(port))
        for port in range(4000, 4010):
            await client.call(WANIP2, "DeletePortMapping", **key(port))
        told = [properties(await listener.next())]
        while told[-1].get("PortMappingNumberOfEntries") != "10":
            told.append(properties(await listener.next()))
        assert len(told) < 10
        assert int(told[-1]["SystemUpdateID"]) == home2.world.commits[-1].revision


@pytest.mark.parametrize("service", [FORWARDING, COMMON, WANIP2, FIREWALL6])
async def test_every_service_tells_its_variables(home2: House, service: Service) -> None:
    async with Listener(PHONE) as listener:
        answer = await subscribe(home2.client(version=2), f"<{listener.callback}>", service)
        assert answer.status == 200
        assert set(properties(await listener.next())) == set(service.evented)


@pytest.mark.parametrize(
    "callback",
    [
        "<http://198.51.100.9:8080/>",  # CallStranger: whoever is to be flooded
        "<http://127.0.0.6:8080/>",  # another device
        "<http://127.0.0.1:8080/>",  # this gateway
        "<http://victim.example:8080/>",
        "<http://127.0.0.5:8080/><http://198.51.100.9:8080/>",
        "<http://127.0.0.5@198.51.100.9:8080/>",
        "<https://127.0.0.5:8080/>",
        "<http://127.0.0.5:22/>",
        "<http://127.0.0.5/>",
        "http://127.0.0.5:8080/",
        "<http://127.0.0.5:8080/" + "a" * 2000 + ">",  # CVE-2019-12107: a path beyond the buffer of the event
        "<>",
        "",
    ],
)
async def test_events_go_to_the_subscriber_and_nowhere_else(home1: House, callback: str) -> None:
    answer = await subscribe(home1.client(PHONE), callback)
    assert answer.status == 412
    assert "sid" not in answer.fields


async def test_a_redirection_is_not_followed_and_ends_the_subscription(home1: House) -> None:
    async with Listener(PHONE) as elsewhere:
        async with Listener(PHONE, f"Location: {elsewhere.callback}\r\n") as listener:
            listener.status = "307 Temporary Redirect"
            answer = await subscribe(home1.client(), f"<{listener.callback}>")
            for _ in range(3):
                event = await listener.next()
                assert event.fields["seq"] == "0"  # it was not taken, so it is the first still
            await home1.world.until(lambda: not home1.door._subscriptions)
            renewal = {"SID": answer.fields["sid"], "Timeout": "Second-300"}
            path = path_of(1, WANIP1, Part.EVENTS)
            assert (await home1.client().request("SUBSCRIBE", path, renewal)).status == 412
        assert elsewhere.events.empty()


async def test_a_callback_that_nobody_answers_ends_the_subscription(home1: House) -> None:
    async with Listener(PHONE) as gone:
        callback = gone.callback
    await subscribe(home1.client(), f"<{callback}>")
    await home1.world.until(lambda: not home1.door._subscriptions)


async def test_the_second_callback_is_tried_where_the_first_does_not_answer(home1: House) -> None:
    async with Listener(PHONE) as gone:
        dead = gone.callback
    async with Listener(PHONE) as listener:
        await subscribe(home1.client(), f"<{dead}><{listener.callback}>")
        assert properties(await listener.next())["ExternalIPAddress"] == OUTSIDE


async def test_only_the_subscriber_renews_and_ends(home1: House) -> None:
    path = path_of(1, WANIP1, Part.EVENTS)
    async with Listener(PHONE) as listener:
        answer = await subscribe(home1.client(), f"<{listener.callback}>")
        sid = {"SID": answer.fields["sid"]}
        other = home1.client(CONSOLE)
        assert (await other.request("SUBSCRIBE", path, sid)).status == 412
        assert (await other.request("UNSUBSCRIBE", path, sid)).status == 412
        renewed = await home1.client().request("SUBSCRIBE", path, {**sid, "Timeout": "Second-5"})
        assert (renewed.status, renewed.fields["timeout"]) == (200, "Second-60")
        both = {**sid, "NT": "upnp:event", "Callback": f"<{listener.callback}>"}
        assert (await home1.client().request("SUBSCRIBE", path, both)).status == 400
        assert (await home1.client().request("UNSUBSCRIBE", path, sid)).status == 200
        assert (await home1.client().request("UNSUBSCRIBE", path, sid)).status == 412


async def test_subscribers_have_a_limit_each_and_altogether(home1: House) -> None:
    async def status(address: str) -> int:
        # A port where nobody is: what it is sent fails, and that it stays is not what is asked.
        return (await subscribe(home1.client(address), f"<http://{address}:2869/>")).status

    assert [await status(PHONE) for _ in range(5)] == [200, 200, 200, 200, 503]
    assert await status(CONSOLE) == 200
    found = [await status(f"127.0.0.{number}") for number in range(10, 60)]
    assert found.count(200) >= 27
    assert len(home1.door._subscriptions or ()) <= 32


async def test_a_subscriber_that_hangs_holds_up_no_other(home1: House) -> None:
    hold = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.close()

    server = await asyncio.start_server(hang, CONSOLE, 0)
    port = server.sockets[0].getsockname()[1]
    await subscribe(home1.client(CONSOLE), f"<http://{CONSOLE}:{port}/>")
    async with Listener(PHONE) as listener:
        await subscribe(home1.client(), f"<{listener.callback}>")
        await listener.next()
        await home1.client().call(WANIP1, "AddPortMapping", **entry(3074))
        assert properties(await listener.next()) == {"PortMappingNumberOfEntries": "1"}
    hold.set()
    server.close()
    await server.wait_closed()
