"""Arguments of actions: what becomes a value, and which fault the rest is."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.igdcall import (
    LONGEST_DESCRIPTION,
    answer_body,
    call_body,
    format_value,
    read_answer_untrusted,
    read_arguments_untrusted,
    read_client_untrusted,
    read_description_untrusted,
    read_remote_host_untrusted,
    service_called_untrusted,
)
from sekimori.wire.igdfaults import BadCall, Fault
from sekimori.wire.igdservices import (
    COMMON,
    FIREWALL6,
    WANIP1,
    WANIP2,
    WANPPP1,
    DataType,
    Service,
    Value,
    Variable,
)
from sekimori.wire.soap import decode_answer_untrusted, decode_call_untrusted, soap_action

ADD = {
    "NewRemoteHost": "",
    "NewExternalPort": "9308",
    "NewProtocol": "UDP",
    "NewInternalPort": "9308",
    "NewInternalClient": "192.168.1.30",
    "NewEnabled": "1",
    "NewPortMappingDescription": "192.168.1.30:9308 to 9308 (UDP)",
    "NewLeaseDuration": "0",
}
PINHOLE = {
    "RemoteHost": "",
    "RemotePort": "0",
    "InternalClient": "2001:db8:3::50",
    "InternalPort": "22000",
    "Protocol": "6",
    "LeaseTime": "3600",
}


def fault_of(service: Service, action: str, texts: dict[str, str]) -> Fault:
    with pytest.raises(BadCall) as refused:
        read_arguments_untrusted(service, action, texts)
    return refused.value.fault


def test_arguments_get_their_types_in_the_order_of_the_table() -> None:
    shuffled = dict(sorted(ADD.items(), reverse=True)) | {"NewUnheardOf": "x"}
    action, values = read_arguments_untrusted(WANIP1, "AddPortMapping", shuffled)
    assert action is WANIP1.actions["AddPortMapping"]
    assert list(values.items()) == [
        ("NewRemoteHost", ""),
        ("NewExternalPort", 9308),
        ("NewProtocol", "UDP"),
        ("NewInternalPort", 9308),
        ("NewInternalClient", "192.168.1.30"),
        ("NewEnabled", True),
        ("NewPortMappingDescription", "192.168.1.30:9308 to 9308 (UDP)"),
        ("NewLeaseDuration", 0),
    ]


@pytest.mark.parametrize("service", [WANIP1, WANIP2])
def test_a_call_without_what_cannot_be_guessed_is_402(service: Service) -> None:
    # CVE-2019-12108 to 12111: an argument that was not there was read all the same.
    for missing in ("NewExternalPort", "NewProtocol", "NewInternalPort", "NewInternalClient"):
        texts = {name: text for name, text in ADD.items() if name != missing}
        assert fault_of(service, "AddPortMapping", texts) is Fault.INVALID_ARGS
    for action in ("GetSpecificPortMappingEntry", "DeletePortMapping", "GetGenericPortMappingEntry"):
        assert fault_of(service, action, {}) is Fault.INVALID_ARGS
    for missing in PINHOLE:
        texts = {name: text for name, text in PINHOLE.items() if name != missing}
        assert fault_of(FIREWALL6, "AddPinhole", texts) is Fault.INVALID_ARGS


def test_what_devices_leave_out_has_its_meaning() -> None:
    needed = ("NewExternalPort", "NewProtocol", "NewInternalPort", "NewInternalClient")
    texts = {name: ADD[name] for name in needed} | {"NewLeaseDuration": " "}
    _action, values = read_arguments_untrusted(WANIP1, "AddPortMapping", texts)
    left_out = {name: value for name, value in values.items() if name not in needed}
    assert left_out == {
        "NewRemoteHost": "",
        "NewEnabled": True,
        "NewPortMappingDescription": "",
        "NewLeaseDuration": 0,
    }


@pytest.mark.parametrize(
    ("service", "changed", "fault"),
    [
        (WANIP1, {"NewExternalPort": "65536"}, Fault.ARGUMENT_OUT_OF_RANGE),
        (WANIP1, {"NewExternalPort": "-1"}, Fault.INVALID_ARGS),
        (WANIP1, {"NewExternalPort": "1e3"}, Fault.INVALID_ARGS),
        (WANIP1, {"NewExternalPort": "٣"}, Fault.INVALID_ARGS),
        (WANIP1, {"NewExternalPort": "1" * 400}, Fault.INVALID_ARGS),
        (WANIP1, {"NewExternalPort": ""}, Fault.INVALID_ARGS),
        (WANIP1, {"NewProtocol": "SCTP"}, Fault.ARGUMENT_OUT_OF_RANGE),
        (WANIP1, {"NewProtocol": ""}, Fault.ARGUMENT_OUT_OF_RANGE),
        (WANIP1, {"NewEnabled": "maybe"}, Fault.INVALID_ARGS),
        (WANIP1, {"NewInternalPort": "0"}, Fault.INVALID_ARGS),
        (WANIP2, {"NewInternalPort": "0"}, Fault.INTERNAL_PORT_WILDCARD),
        (WANIP2, {"NewInternalPort": "70000"}, Fault.ARGUMENT_OUT_OF_RANGE),
        (WANIP1, {"NewPortMappingDescription": "x" * 1025}, Fault.STRING_TOO_LONG),
        (WANIP1, {"NewLeaseDuration": "4294967296"}, Fault.ARGUMENT_OUT_OF_RANGE),
        (WANIP1, {"NewLeaseDuration": "forever"}, Fault.INVALID_ARGS),
    ],
)
def test_arguments_that_are_refused(service: Service, changed: dict[str, str], fault: Fault) -> None:
    assert fault_of(service, "AddPortMapping", ADD | changed) is fault


@pytest.mark.parametrize(
    ("service", "changed", "name", "value"),
    [
        (WANIP1, {"NewProtocol": "udp"}, "NewProtocol", "UDP"),
        (WANIP1, {"NewEnabled": "True"}, "NewEnabled", True),
        (WANIP1, {"NewEnabled": "0"}, "NewEnabled", False),
        (WANIP1, {"NewExternalPort": " 0 "}, "NewExternalPort", 0),
        (WANIP1, {"NewLeaseDuration": "4294967295"}, "NewLeaseDuration", 4294967295),
        (WANIP2, {"NewLeaseDuration": "4294967295"}, "NewLeaseDuration", 604800),
    ],
)
def test_arguments_that_are_taken(service: Service, changed: dict[str, str], name: str, value: Value) -> None:
    assert read_arguments_untrusted(service, "AddPortMapping", ADD | changed)[1][name] == value


@pytest.mark.parametrize("lease", ["0", "86401"])
def test_a_pinhole_has_to_be_asked_for_with_a_lifetime_within_bounds(lease: str) -> None:
    assert fault_of(FIREWALL6, "AddPinhole", PINHOLE | {"LeaseTime": lease}) is Fault.ARGUMENT_OUT_OF_RANGE


def test_an_action_that_is_not_there_is_401() -> None:
    assert fault_of(WANIP1, "AddAnyPortMapping", ADD) is Fault.INVALID_ACTION
    assert fault_of(WANIP1, "__class__", {}) is Fault.INVALID_ACTION


def test_a_call_may_be_for_an_older_version_than_the_one_offered() -> None:
    assert service_called_untrusted(WANIP2, WANIP1.service_type) is WANIP1
    assert service_called_untrusted(WANIP2, WANIP2.service_type) is WANIP2
    for offered, asked in ((WANIP1, WANIP2), (WANIP1, WANPPP1), (COMMON, WANIP1)):
        with pytest.raises(BadCall) as refused:
            service_called_untrusted(offered, asked.service_type)
        assert refused.value.fault is Fault.INVALID_ACTION


@pytest.mark.parametrize("text", ["", " ", "*", "0.0.0.0", "::", "::/0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"])
def test_anyone_is_written_in_many_ways(text: str) -> None:
    assert read_remote_host_untrusted(text) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [("203.0.113.9", "203.0.113.9"), ("::ffff:203.0.113.9", "203.0.113.9"), ("2001:DB8:0::1", "2001:db8::1")],
)
def test_one_remote_host_is_canonical(text: str, address: str) -> None:
    assert read_remote_host_untrusted(text) == ip_address(address)
    assert read_client_untrusted(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        "example.com",
        "localhost",
        "203.0.113.0/24",
        "2001:db8::/32",
        "1",
        "0x7f000001",
        "010.0.0.1",
        "fe80::1%lo",
    ],
)
def test_host_names_and_networks_are_600(text: str) -> None:
    for read in (read_remote_host_untrusted, read_client_untrusted):
        with pytest.raises(BadCall) as refused:
            read(text)
        assert refused.value.fault is Fault.ARGUMENT_VALUE_INVALID


@given(st.text(max_size=80))
def test_any_text_is_a_host_or_refused(text: str) -> None:
    try:
        address = read_remote_host_untrusted(text)
    except BadCall:
        return
    assert address is None or read_remote_host_untrusted(str(address)) == address


@given(st.text(max_size=600))
def test_descriptions_are_one_line_and_stay_as_they_are(text: str) -> None:
    kept = read_description_untrusted(text)
    assert len(kept) <= LONGEST_DESCRIPTION
    assert len(kept.splitlines()) <= 1
    assert read_description_untrusted(kept) == kept


def test_a_description_cannot_forge_a_line_of_a_file_or_a_terminal() -> None:
    assert (
        read_description_untrusted("x\nTCP:22:10.0.0.1:22:0:y\x1b[2J\u202e") == "x TCP:22:10.0.0.1:22:0:y[2J"
    )


def _texts(variable: Variable) -> st.SearchStrategy[Value]:
    least, most = variable.bounds or (0, variable.data_type.most)
    match variable.data_type:
        case DataType.BOOLEAN:
            return st.booleans()
        case DataType.STRING if variable.allowed:
            return st.sampled_from(variable.allowed)
        case DataType.STRING:
            return st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=40)
        case _:
            return st.integers(least, most)


ACTIONS = [(each, name) for each in (WANIP1, WANIP2, FIREWALL6, COMMON) for name in each.actions]


@given(st.data(), st.sampled_from(ACTIONS))
def test_every_action_survives_its_bytes_both_ways(data: st.DataObject, chosen: tuple[Service, str]) -> None:
    service, name = chosen
    action, kind = service.actions[name], service.service_type
    inward = {each.name: data.draw(_texts(each.variable)) for each in action.inward}
    call = decode_call_untrusted(call_body(kind, action, inward), soap_action(kind, name))
    assert read_arguments_untrusted(service, name, call.arguments) == (action, inward)
    outward = {
        each.name: "<a>&lt;</a>" if each.variable.document else data.draw(_texts(each.variable))
        for each in action.outward
    }
    answer = decode_answer_untrusted(answer_body(kind, action, outward), name)
    assert isinstance(answer, dict)
    assert list(answer) == [each.name for each in action.outward]
    assert read_answer_untrusted(action, answer) == outward


@given(st.sampled_from(ACTIONS), st.dictionaries(st.sampled_from([*ADD, *PINHOLE]), st.text(max_size=20)))
def test_any_arguments_are_values_or_a_fault(chosen: tuple[Service, str], texts: dict[str, str]) -> None:
    service, name = chosen
    try:
        action, values = read_arguments_untrusted(service, name, texts)
    except BadCall as refused:
        fault = refused.fault
    else:
        assert list(values) == [each.name for each in action.inward]
        return
    assert fault.code in (402, 601, 605, 732)


def test_an_answer_is_written_whole_or_not_at_all() -> None:
    action = WANIP1.actions["GetExternalIPAddress"]
    wrong: list[dict[str, Value]] = [
        {},
        {"NewExternalIPAddress": "203.0.113.9", "NewUptime": 1},
        {"NewExternalIPAddress": 3},
    ]
    for values in wrong:
        with pytest.raises(ValueError, match="ExternalIPAddress"):
            answer_body(WANIP1.service_type, action, values)
    with pytest.raises(ValueError, match="cannot be"):
        format_value(WANIP1.variables["ConnectionStatus"], "Fine")
    with pytest.raises(ValueError, match="cannot be"):
        format_value(WANIP1.variables["ExternalPort"], 65536)


def test_counters_start_again_after_the_largest_number() -> None:
    assert format_value(COMMON.variables["TotalBytesSent"], 2**32 + 5) == "5"


def test_a_port_listing_is_cdata_for_clients_that_undo_no_escapes() -> None:
    action = WANIP2.actions["GetListOfPortMappings"]
    assert b"<NewPortListing><![CDATA[<a/>]]></NewPortListing>" in answer_body(
        WANIP2.service_type, action, {"NewPortListing": "<a/>"}
    )


def test_an_answer_of_a_router_may_leave_out_and_exceed_but_not_be_of_another_type() -> None:
    action = WANIP1.actions["GetStatusInfo"]
    assert read_answer_untrusted(action, {"NewConnectionStatus": "Up", "X": "1"}) == {
        "NewConnectionStatus": "Up"
    }
    with pytest.raises(BadPacket):
        read_answer_untrusted(action, {"NewUptime": "long"})


def test_codes_mean_what_the_service_says() -> None:
    assert Fault.of(704, FIREWALL6.service_type) is Fault.NO_SUCH_PINHOLE
    assert Fault.of(704, WANIP1.service_type) is Fault.CONNECTION_SETUP_FAILED
    assert Fault.of(701, WANIP1.service_type) is Fault.PINHOLE_SPACE_EXHAUSTED
    assert Fault.of(718, WANIP1.service_type) is Fault.CONFLICT
    assert Fault.of(899, WANIP1.service_type) is None
    wanted = {401, 402, 501, *range(600, 607), *range(701, 710), 713, 714, 715, 716, 718, *range(724, 734)}
    assert {each.code for each in Fault} == wanted
    assert len(Fault) == len(wanted) + 7
