"""The documents that describe our gateway: its devices (root description) and its services (SCPD).

Sources: UPnP Device Architecture 1.1 §2.3 and §2.5, InternetGatewayDevice:1 and :2. Windows, Xbox and
PlayStation refuse a version 2. So each version is a gateway of its own, with its own UUIDs and paths, and
nothing of one occurs in the other's documents.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, get_args
from uuid import UUID, uuid5

from sekimori.wire.igdservices import Action, IgdVersion, Service, Variable, services_of
from sekimori.wire.igdxml import element, escape

__all__ = [
    "ROUTES",
    "Gateway",
    "Part",
    "Route",
    "config_id",
    "default_connection",
    "path_of",
    "root_description",
    "root_path",
    "service_description",
]

_DECLARATION: Final = '<?xml version="1.0"?>\r\n'


@dataclass(frozen=True, slots=True)
class Gateway:
    """Who the gateway says it is."""

    uuid: UUID
    """Stays the same for as long as this is the same gateway on the same network."""
    friendly_name: str
    manufacturer: str
    model_name: str
    model_description: str = ""
    model_number: str = ""
    manufacturer_url: str = ""
    model_url: str = ""
    presentation_url: str = ""
    """Where a person finds its web page; empty for none."""

    def udn(self, version: IgdVersion, device: str) -> str:
        """`uuid:…` of one of the devices of one version."""
        return f"uuid:{uuid5(self.uuid, f'{device}:{version}')}"


class Part(StrEnum):
    """What a path of the gateway is for."""

    ROOT = "root.xml"
    SCPD = "scpd.xml"
    CONTROL = "control"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a path leads. `service` is None for the root description only."""

    part: Part
    version: IgdVersion
    service: Service | None


def root_path(version: IgdVersion) -> str:
    """The path of the root description."""
    return f"/v{version}/{Part.ROOT}"


def path_of(version: IgdVersion, service: Service, part: Part) -> str:
    """The path of a service's description, or where it is called or subscribed to."""
    return f"/v{version}/{service.name}/{part}"


def _routes() -> dict[str, Route]:
    found: dict[str, Route] = {}
    versions: tuple[IgdVersion, ...] = get_args(IgdVersion)
    for version in versions:
        found[root_path(version)] = Route(Part.ROOT, version, None)
        for _device, services in services_of(version):
            for service in services:
                for part in (Part.SCPD, Part.CONTROL, Part.EVENTS):
                    found[path_of(version, service, part)] = Route(part, version, service)
    return found


ROUTES: Final = MappingProxyType(_routes())
"""Every path of both versions."""


def root_description(gateway: Gateway, version: IgdVersion) -> bytes:
    """The root description, with URLs relative to where it is fetched."""
    number = config_id(gateway, version)
    inner = _spec_version(version) + _devices(gateway, version)
    # configId came with version 1.1 of the architecture (§2.3), which only version 2 speaks of.
    attribute = f' configId="{number}"' if version == 2 else ""
    return _document(element(f'root xmlns="urn:schemas-upnp-org:device-1-0"{attribute}', inner))


def service_description(version: IgdVersion, service: Service) -> bytes:
    """The SCPD: the service's actions and state variables."""
    actions = "".join(_action(each) for each in service.actions.values())
    variables = "".join(_variable(each) for each in service.variables.values())
    inner = _spec_version(version) + element("actionList", actions) + element("serviceStateTable", variables)
    return _document(element('scpd xmlns="urn:schemas-upnp-org:service-1-0"', inner))


def config_id(gateway: Gateway, version: IgdVersion) -> int:
    """A number of 24 bits that is another one when the description is another one (§1.2.2)."""
    return zlib.crc32(_devices(gateway, version).encode()) & 0xFF_FFFF


def default_connection(gateway: Gateway, version: IgdVersion) -> str:
    """The value of Layer3Forwarding's DefaultConnectionService."""
    device, services = services_of(version)[-1]
    return f"{gateway.udn(version, device)}:{device}:{version},{_service_id(services[0])}"


def _devices(gateway: Gateway, version: IgdVersion) -> str:
    """The root device with the others inside it."""
    nested = ""
    for name, services in reversed(services_of(version)):
        root = name == "InternetGatewayDevice"
        parts = (
            element("deviceType", f"urn:schemas-upnp-org:device:{name}:{version}"),
            element("friendlyName", escape(gateway.friendly_name) if root else name),
            element("manufacturer", escape(gateway.manufacturer)),
            _optional("manufacturerURL", gateway.manufacturer_url),
            _optional("modelDescription", gateway.model_description),
            element("modelName", escape(gateway.model_name)),
            _optional("modelNumber", gateway.model_number),
            _optional("modelURL", gateway.model_url),
            element("UDN", gateway.udn(version, name)),
            element("serviceList", *(_service(version, each) for each in services)),
            element("deviceList", nested) if nested else "",
            _optional("presentationURL", gateway.presentation_url) if root else "",
        )
        nested = element("device", *parts)
    return nested


def _service(version: IgdVersion, service: Service) -> str:
    return element(
        "service",
        element("serviceType", service.service_type),
        element("serviceId", _service_id(service)),
        element("SCPDURL", path_of(version, service, Part.SCPD)),
        element("controlURL", path_of(version, service, Part.CONTROL)),
        element("eventSubURL", path_of(version, service, Part.EVENTS)),
    )


def _service_id(service: Service) -> str:
    return f"urn:upnp-org:serviceId:{service.service_id}"


def _action(action: Action) -> str:
    arguments = [
        element(
            "argument",
            element("name", each.name),
            element("direction", direction),
            element("relatedStateVariable", each.variable.name),
        )
        for direction, group in (("in", action.inward), ("out", action.outward))
        for each in group
    ]
    listed = element("argumentList", *arguments) if arguments else ""
    return element("action", element("name", action.name), listed)


def _variable(variable: Variable) -> str:
    inner = element("name", variable.name) + element("dataType", variable.data_type)
    if variable.allowed:
        values = (element("allowedValue", each) for each in variable.allowed)
        inner += element("allowedValueList", *values)
    if variable.bounds:
        least, most = variable.bounds
        inner += element("allowedValueRange", element("minimum", str(least)), element("maximum", str(most)))
    return element(f'stateVariable sendEvents="{"yes" if variable.evented else "no"}"', inner)


def _spec_version(version: IgdVersion) -> str:
    return element("specVersion", element("major", "1"), element("minor", str(version - 1)))


def _optional(name: str, text: str) -> str:
    return element(name, escape(text)) if text else ""


def _document(root: str) -> bytes:
    return f"{_DECLARATION}{root}\r\n".encode()
