"""The gateway's documents: the version reaches every part, and everything that is named is there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from uuid import UUID

import pytest

from sekimori.wire.httpmessage import HttpUrl
from sekimori.wire.igddescription import (
    ROUTES,
    Gateway,
    Part,
    Route,
    config_id,
    default_connection,
    path_of,
    root_description,
    root_path,
    service_description,
)
from sekimori.wire.igdroot import connections, parse_root_untrusted
from sekimori.wire.igdservices import FIREWALL6, WANIP1, WANIP2, WANPPP1, find_service, services_of
from sekimori.wire.igdxml import read_xml_untrusted
from sekimori.wire.ssdp import targets_of

GATEWAY = Gateway(
    UUID("7d3b2a5e-1c53-4b5e-9f40-0d1f6f3a9c11"),
    "Gate <b>&\x1b",
    "Sekimori",
    "Sekimori",
    presentation_url="http://192.168.1.1/",
)
LOCATION = HttpUrl(ip_address("192.168.1.1"), 5000, "/v1/root.xml")


@pytest.mark.parametrize("version", [1, 2])
def test_the_root_names_every_device_and_service_once(version) -> None:
    document = read_xml_untrusted(root_description(GATEWAY, version))
    kinds = [each.text for each in document.walk() if each.name in ("deviceType", "serviceType", "UDN")]
    announced = {each.st for each in targets_of(GATEWAY, version)} - {"upnp:rootdevice"}
    assert set(kinds) == announced
    assert len(kinds) == len(announced)
    assert document.namespace == "urn:schemas-upnp-org:device-1-0"
    device = document.child("device")
    assert device is not None
    assert device.said("friendlyName") == "Gate <b>&"
    assert device.said("presentationURL") == "http://192.168.1.1/"


def test_nothing_of_version_2_is_in_the_documents_of_version_1() -> None:
    documents = [root_description(GATEWAY, 1)] + [
        service_description(1, service) for _device, services in services_of(1) for service in services
    ]
    for document in documents:
        for word in (b":2<", b"/v2/", b"AddAnyPortMapping", b"IPv6", b"SystemUpdateID", b"<minor>1"):
            assert word not in document
    assert b"InternetGatewayDevice:2<" in root_description(GATEWAY, 2)
    assert b"<minor>1</minor>" in service_description(2, WANIP2)
    assert GATEWAY.udn(1, "WANDevice") != GATEWAY.udn(2, "WANDevice")


@pytest.mark.parametrize("version", [1, 2])
def test_every_url_of_the_root_leads_somewhere(version) -> None:
    document = read_xml_untrusted(root_description(GATEWAY, version))
    parts = {"SCPDURL": Part.SCPD, "controlURL": Part.CONTROL, "eventSubURL": Part.EVENTS}
    services = [each for each in document.walk() if each.name == "service"]
    assert len(services) == 2 + version
    for each in services:
        for name, part in parts.items():
            route = ROUTES[each.said(name)]
            assert (route.part, route.version) == (part, version)
            assert route.service is find_service(each.said("serviceType"))
    assert ROUTES[root_path(version)] == Route(Part.ROOT, version, None)
    assert path_of(2, FIREWALL6, Part.CONTROL) == "/v2/WANIPv6FirewallControl/control"


@pytest.mark.parametrize("version", [1, 2])
def test_our_own_client_finds_the_connection(version) -> None:
    root = parse_root_untrusted(root_description(GATEWAY, version), LOCATION)
    (connection,) = connections(root.services)
    wanted = {1: WANIP1, 2: WANIP2}[version]
    assert connection.service_type == wanted.service_type
    assert str(connection.control) == f"http://192.168.1.1:5000/v{version}/WANIPConnection/control"
    assert default_connection(GATEWAY, version) == (
        f"{connection.device}:WANConnectionDevice:{version},urn:upnp-org:serviceId:WANIPConn1"
    )


@pytest.mark.parametrize("service", [WANIP1, WANIP2, FIREWALL6])
def test_a_service_description_has_the_table_and_no_more(service) -> None:
    document = read_xml_untrusted(service_description(2, service))
    actions, table = document.child("actionList"), document.child("serviceStateTable")
    assert actions is not None
    assert table is not None
    assert [each.said("name") for each in actions.children] == list(service.actions)
    assert [each.said("name") for each in table.children] == list(service.variables)
    for described in actions.children:
        action = service.actions[described.said("name")]
        listed = described.child("argumentList")
        found = [
            tuple(each.said(name) for name in ("name", "direction", "relatedStateVariable"))
            for each in (listed.children if listed else ())
        ]
        assert found == [
            *((each.name, "in", each.variable.name) for each in action.inward),
            *((each.name, "out", each.variable.name) for each in action.outward),
        ]


def test_variables_tell_their_values_bounds_and_events() -> None:
    document = service_description(2, WANIP2)
    assert (
        b'<stateVariable sendEvents="no"><name>PortMappingProtocol</name><dataType>string</dataType>'
        b"<allowedValueList><allowedValue>TCP</allowedValue><allowedValue>UDP</allowedValue>"
        b"</allowedValueList></stateVariable>"
    ) in document
    assert (
        b'<stateVariable sendEvents="no"><name>PortMappingLeaseDuration</name><dataType>ui4</dataType>'
        b"<allowedValueRange><minimum>0</minimum><maximum>604800</maximum></allowedValueRange>"
    ) in document
    assert b'<stateVariable sendEvents="yes"><name>ExternalIPAddress</name>' in document
    assert WANIP2.evented == (
        "PossibleConnectionTypes",
        "ConnectionStatus",
        "ExternalIPAddress",
        "PortMappingNumberOfEntries",
        "SystemUpdateID",
    )


def test_the_arguments_are_those_of_the_standard() -> None:
    add = [each.name for each in WANIP1.actions["AddPortMapping"].inward]
    assert add == [
        "NewRemoteHost",
        "NewExternalPort",
        "NewProtocol",
        "NewInternalPort",
        "NewInternalClient",
        "NewEnabled",
        "NewPortMappingDescription",
        "NewLeaseDuration",
    ]
    generic = [each.name for each in WANIP1.actions["GetGenericPortMappingEntry"].outward]
    assert generic == add
    assert [each.name for each in WANIP1.actions["GetSpecificPortMappingEntry"].outward] == add[3:]
    anyport = WANIP2.actions["AddAnyPortMapping"]
    assert [each.name for each in (*anyport.inward, *anyport.outward)] == [*add, "NewReservedPort"]
    pinhole = FIREWALL6.actions["AddPinhole"]
    assert [each.name for each in (*pinhole.inward, *pinhole.outward)] == [
        "RemoteHost",
        "RemotePort",
        "InternalClient",
        "InternalPort",
        "Protocol",
        "LeaseTime",
        "UniqueID",
    ]
    assert [each.name for each in FIREWALL6.actions["UpdatePinhole"].inward] == ["UniqueID", "NewLeaseTime"]


def test_another_description_has_another_number() -> None:
    numbers = {
        config_id(GATEWAY, 1),
        config_id(GATEWAY, 2),
        config_id(replace(GATEWAY, friendly_name="Other"), 1),
    }
    assert len(numbers) == 3
    assert all(0 <= each < 1 << 24 for each in numbers)
    assert f' configId="{config_id(GATEWAY, 2)}"'.encode() in root_description(GATEWAY, 2)


def test_the_ppp_service_is_asked_and_never_served() -> None:
    assert find_service("urn:schemas-upnp-org:service:WANPPPConnection:1") is WANPPP1
    assert not any(route.service is WANPPP1 for route in ROUTES.values())
    assert find_service("urn:schemas-upnp-org:service:WANIPConnection:3") is None
