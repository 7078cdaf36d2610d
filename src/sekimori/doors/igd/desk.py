"""What is answered to each request: descriptions, calls and subscriptions."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from sekimori.doors.igd.asking import Asking
from sekimori.doors.igd.control import Control
from sekimori.doors.igd.subscriptions import Subscriptions
from sekimori.doors.igd.talk import Request, Response
from sekimori.model.mapping import Owner
from sekimori.wire.errors import BadPacket
from sekimori.wire.gena import (
    BadSubscription,
    Renew,
    decode_subscribe_untrusted,
    decode_unsubscribe_untrusted,
    subscribed_fields,
)
from sekimori.wire.httpmessage import read_host_untrusted
from sekimori.wire.igddescription import (
    ROUTES,
    Gateway,
    Part,
    Route,
    root_description,
    service_description,
)
from sekimori.wire.igdservices import IgdVersion
from sekimori.wire.soap import CONTENT_TYPE

__all__ = ["Desk", "wants_version_1"]

_ALLOWED: Final[Mapping[Part, tuple[str, ...]]] = {
    Part.ROOT: ("GET",),
    Part.SCPD: ("GET",),
    Part.CONTROL: ("POST",),
    Part.EVENTS: ("SUBSCRIBE", "UNSUBSCRIBE"),
}
_XML: Final = ("Content-Type", CONTENT_TYPE)
_VERSION_1: Final = re.compile(r"microsoft|fdssdp|xbox|playstation", re.IGNORECASE)


def wants_version_1(agent: str) -> bool:
    """Whether a program, by what it calls itself, is one that refuses a gateway of version 2."""
    return _VERSION_1.search(agent) is not None


class Desk:
    """Answers requests.

    Args:
        versions: those that the gateway offers.
        gateway: who we say we are.
        control: serves calls.
        subscriptions: keeps subscriptions.
    """

    def __init__(
        self,
        versions: tuple[IgdVersion, ...],
        gateway: Gateway,
        control: Control,
        subscriptions: Subscriptions,
    ) -> None:
        self._versions = versions
        self._control = control
        self._subscriptions = subscriptions
        self._turns: dict[Owner, tuple[asyncio.Lock, int]] = {}
        self._documents: dict[tuple[IgdVersion, str], bytes] = {}
        for route in ROUTES.values():
            if route.part is Part.ROOT:
                self._documents[route.version, ""] = root_description(gateway, route.version)
            elif route.part is Part.SCPD and route.service is not None:
                document = service_description(route.version, route.service)
                self._documents[route.version, route.service.name] = document

    async def answer_untrusted(self, who: Asking, request: Request) -> Response:
        """The response to a request."""
        if not _is_meant(request, who):
            return Response(400)
        route = self._find_untrusted(request)
        if route is None:
            return Response(404)
        if request.method not in _ALLOWED[route.part]:
            return Response(405, (("Allow", ", ".join(_ALLOWED[route.part])),))
        match route.part:
            case Part.CONTROL:
                return await self._call_untrusted(who, route, request)
            case Part.EVENTS:
                return self._subscribe_untrusted(who, route, request)
            case _:
                service = "" if route.service is None else route.service.name
                return Response(200, (_XML,), self._documents[route.version, service])

    def _find_untrusted(self, request: Request) -> Route | None:
        """What a path leads to. A program that refuses version 2 does not get to see it: it would show a
        device that does not work beside the one of version 1 that does.
        """
        try:
            path = urlsplit(request.target).path  # some write the whole URL
        except ValueError:
            return None
        route = ROUTES.get(path)
        if route is None or route.version not in self._versions:
            return None
        hidden = route.version == 2 and route.part is Part.ROOT
        return None if hidden and wants_version_1(request.said("user-agent") or "") else route

    async def _call_untrusted(self, who: Asking, route: Route, request: Request) -> Response:
        soapaction = request.said("soapaction")
        async with self._turn(who.device):
            try:
                status, body = await self._control.answer_untrusted(who, route, soapaction, request.body)
            except BadPacket:
                return Response(400)
        return Response(status, (_XML, ("Ext", "")), body)

    def _subscribe_untrusted(self, who: Asking, route: Route, request: Request) -> Response:
        try:
            if request.method == "UNSUBSCRIBE":
                self._subscriptions.end(decode_unsubscribe_untrusted(request.fields), who)
                return Response(200)
            asked = decode_subscribe_untrusted(request.fields, who.asker.address)
            if isinstance(asked, Renew):
                self._subscriptions.renew(asked, who)
                return Response(200, subscribed_fields(asked.sid, asked.seconds))
            made = self._subscriptions.begin(asked, who, route)
        except BadSubscription as bad:
            return Response(bad.status)
        if made is None:
            return Response(503)
        # Its first event follows the answer, which tells which subscription the event belongs to (§4.1.2).
        return Response(200, subscribed_fields(made.sid, asked.seconds), then=made.wake.set)

    @contextlib.asynccontextmanager
    async def _turn(self, device: Owner) -> AsyncIterator[None]:
        """The calls of one device are carried out one after the other: where they meet those of others, at
        the gate, each device waits with one at most, whatever it asks for.
        """
        lock, waiting = self._turns.get(device, (asyncio.Lock(), 0))
        self._turns[device] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(device)
            if waiting > 1:
                self._turns[device] = lock, waiting - 1


def _is_meant(request: Request, who: Asking) -> bool:
    """Whether the Host field names the very address that was connected to. A browser that was led here by a
    name (DNS rebinding) says that name.
    """
    try:
        address, _ = read_host_untrusted(request.said("host") or "")
    except BadPacket:
        return False
    return address == who.here
