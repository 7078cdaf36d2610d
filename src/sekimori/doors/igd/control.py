"""Calls of actions: read, carried out, and answered in SOAP."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

import structlog

from sekimori.doors.igd.asking import Asking
from sekimori.doors.igd.connection import Connection
from sekimori.doors.igd.line import Line
from sekimori.doors.igd.pinholes import Pinholes
from sekimori.gate.fairness import Fairness
from sekimori.model.errors import Problem
from sekimori.wire.igdcall import answer_body, read_arguments_untrusted, service_called_untrusted
from sekimori.wire.igddescription import Route
from sekimori.wire.igdfaults import BadCall, Fault
from sekimori.wire.igdservices import FIREWALL6, WANIP1, IgdVersion, Service, Value
from sekimori.wire.soap import decode_call_untrusted, encode_fault

__all__ = ["Control"]

_MINUTE: Final = 60.0
_LINES: Final = 30
_REMEMBERED: Final = 1024
_log = structlog.get_logger("igd")


class Control:
    """Serves the calls of every service.

    Args:
        connection: WANIPConnection.
        pinholes: WANIPv6FirewallControl.
        line: the other two.
        clock: seconds of a clock that only goes on.
    """

    def __init__(
        self, connection: Connection, pinholes: Pinholes, line: Line, clock: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._pinholes = pinholes
        self._line = line
        self._clock = clock
        # Of one device and one code a line a minute, and of everything together not many more.
        self._seldom = Fairness(1 / _MINUTE, 1, _REMEMBERED)
        self._lines = Fairness(_LINES / _MINUTE, _LINES, 1)

    async def answer_untrusted(
        self, who: Asking, route: Route, soapaction: str | None, body: bytes
    ) -> tuple[int, bytes]:
        """The status and body of the answer to a call.

        Raises:
            BadPacket: it is no call.
        """
        assert route.service is not None
        try:
            call = decode_call_untrusted(body, soapaction)
            service = service_called_untrusted(route.service, call.service_type)
            action, values = read_arguments_untrusted(service, call.action, call.arguments)
            found = await self._carry_out(who, route.version, service, action.name, values)
            return 200, answer_body(call.service_type, action, found)
        except BadCall as bad:
            _log.debug("call_refused", device=str(who.device), fault=bad.fault.code, why=str(bad))
            return 500, encode_fault(bad.fault)

    async def _carry_out(
        self, who: Asking, version: IgdVersion, service: Service, action: str, values: Mapping[str, Any]
    ) -> Mapping[str, Value]:
        called: IgdVersion = 1 if service.version == 1 else 2
        try:
            if service.name == WANIP1.name:
                return await self._connection.call(who, called, action, values)
            if service.name == FIREWALL6.name:
                return await self._pinholes.call(who, action, values)
            return self._line.call(version, action)
        except Problem as problem:
            self._tell(who, problem)
            if service.name == FIREWALL6.name:
                fault = self._pinholes.fault(problem)
            else:
                fault = self._connection.fault(problem, called, values)
            raise BadCall(fault, problem.title()) from None
        except BadCall:
            raise
        except Exception:  # a fault of ours; the device is not to wait for an answer in vain
            _log.exception("call_broke", device=str(who.device), action=action)
            raise BadCall(Fault.ACTION_FAILED, "a fault of ours") from None

    def _tell(self, who: Asking, problem: Problem) -> None:
        now, thing = self._clock(), (who.device, problem.code)
        if self._is_due(thing, now):
            what = {"device": str(who.device), "source": str(who.asker.address), "code": problem.code}
            _log.info("lease_refused", why=problem.title(), **what)

    def _is_due(self, thing: Hashable, now: float) -> bool:
        return self._seldom.admits(thing, now) and self._lines.admits("all", now)
