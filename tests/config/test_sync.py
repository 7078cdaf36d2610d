"""The file as an owner: what is asked so that the ledger says what the file says.

The asks are granted by the real policy, so a second plan tells whether the first was right.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.config.sync import plan_sync
from sekimori.model.address import parse_spans
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Asked, Lifetime
from sekimori.model.mapping import Owner, OwnerKind, Trigger
from sekimori.model.request import Change, Close, Define, Renew, Submit, Wish
from sekimori.model.schedule import Schedule
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources, parse_prefix
from sekimori.presets.load import load_presets
from sekimori.testing.strategies import NOW

PRESETS = load_presets()
FILE = Path("/etc/sekimori/sekimori.toml")
ALICE = Owner(OwnerKind.PERSON, "alice")
WEB = '[mappings.web]\nports = "8080:80"\nto = "192.168.1.5"\n'
NAS = '[mappings.nas]\nports = "8443"\nto = "192.168.1.5:443"\n'
SSH = '[mappings.ssh]\nports = "2222"\nto = "192.168.1.5:22"\nfor = "2h"\n'


def test_new_entries_are_submitted_as_they_are_written(ledger):
    sync = ledger.apply(WEB + 'for = "2h"\n' + NAS)
    web, nas = sync.asks
    assert isinstance(web, Submit)
    assert isinstance(nas, Submit)
    assert (web.wish.name, web.wish.lifetime) == ("web", Lifetime.lasting(7200, NOW))
    assert (web.restore, sync.skipped) == (None, ())
    assert ledger["web"].owner == Owner(OwnerKind.FILE, str(FILE))
    assert ledger["nas"].lifetime == Lifetime.lasting(86400, NOW)


def test_sources_left_unsaid_stay_policys_to_choose_and_to_tell(ledger):
    (submit,) = ledger.plan(WEB).asks
    assert isinstance(submit, Submit)
    assert not isinstance(submit.wish.sources, Sources)


def test_what_the_file_no_longer_names_is_closed(ledger):
    ledger.apply(WEB + NAS)
    assert ledger.apply(NAS).asks == (Close("web"),)
    assert ledger.apply("").asks == (Close("nas"),)
    assert len(ledger.snapshot) == 0


def test_an_unchanged_duration_is_not_renewed(ledger):
    text = WEB + 'for = "2h"\n' + NAS
    ledger.apply(text)
    ends = ledger["web"].lifetime.expires_at
    ledger.now += 3600
    assert ledger.apply(text).asks == ()
    assert ledger.apply(text.replace("2h", "120m")).asks == ()
    assert ledger["web"].lifetime.expires_at == ends


def test_more_time_given_by_hand_is_kept(ledger):
    ledger.apply(WEB)
    ledger.grant([Renew("web", add=7200)], ALICE)
    assert ledger.apply(WEB).asks == ()


def test_a_changed_lifetime_runs_from_now(ledger):
    ledger.apply(WEB + 'for = "2h"')
    ledger.now += 600
    assert ledger.apply(WEB + 'for = "3h"').asks == (
        Change("web", Wish(lifetime=Lifetime.lasting(3 * 3600, ledger.now))),
    )
    ledger.apply(WEB + 'permanent = "the web server"')
    assert ledger["web"].lifetime == Lifetime.permanent("the web server")
    ledger.apply(WEB + "until = 2027-02-01")
    assert ledger["web"].lifetime.asked is Asked.UNTIL
    assert ledger.apply(WEB + 'until = "2027-02-02 00:00"').asks == ()  # the same instant, written otherwise
    ledger.apply(WEB)
    assert ledger["web"].lifetime == Lifetime.lasting(86400, ledger.now)


CHANGES = {
    'ports = "8081:80"': {"specs", "preset"},
    'ports = "tcp+udp/8080:80"': {"specs", "preset"},
    'ports = "https"': {"specs", "preset", "sources"},
    'to = "192.168.1.6"': {"target"},
    'to = "self"': {"target"},
    'from = "anyone"': {"sources"},
    'from = ["lan", "192.0.2.0/24"]': {"sources"},
    'for = "2h"': {"lifetime"},
    'until = "2027-02-01"': {"lifetime"},
    'permanent = "why"': {"lifetime"},
    'hours = "mon-fri/09:00-18:00"': {"schedule"},
    'on = "192.0.2.1"': {"on"},
    'via = "relay"': {"via"},
    'limit = "20/min"': {"per_source"},
    'limit_total = "20/min"': {"total"},
    "max_connections = 5": {"connections"},
    "proxy_protocol = 2": {"proxy_protocol"},
    'idle = "10m"': {"idle"},
    'on = "eth1"': {"on"},
    "log = true": {"log"},
    'to = "device:nas"': {"target"},
    'accept_risk = "exposed-admin"': {"accepted_risks"},
}


def said(wish: Wish) -> set[str]:
    """The words of a wish that differ from saying nothing."""
    return {name for name in Wish.__slots__ if getattr(wish, name) != getattr(Wish(), name)}


@pytest.mark.parametrize("line", CHANGES)
def test_only_the_differing_words_are_asked_for_and_a_removed_word_returns_to_its_default(ledger, line):
    key = line.split()[0]
    kept = [each for each in WEB.splitlines() if not each.startswith(f"{key} ")]
    with_line = "\n".join([*kept, line, ""])
    ledger.apply(WEB)
    first = ledger["web"]

    (change,) = ledger.apply(with_line).asks
    assert isinstance(change, Change)
    assert (change.ref, change.paused) == ("web", None)
    assert said(change.wish) == CHANGES[line]
    assert ledger["web"].id == first.id

    ledger.apply(WEB)
    back = replace(ledger["web"], id=first.id, accepted_risks=first.accepted_risks)
    assert back == first
    assert ledger["web"].accepted_risks == ()


def test_moving_to_a_preset_and_away_moves_its_defaults_too(ledger):
    game = '[mappings.game]\nports = "minecraft"\nto = "192.168.1.7"\n'
    ledger.apply(game)
    minecraft = PRESETS.get("minecraft")
    assert minecraft is not None
    assert str(ledger["game"].limits.per_source) == minecraft.limit
    assert ledger["game"].sources == Sources.parse(minecraft.sources)
    ledger.apply(game + 'limit = "none"\n')
    assert ledger["game"].limits.per_source is None
    ledger.apply(game.replace("minecraft", "25565"))
    assert (ledger["game"].preset, ledger["game"].sources) == (None, Sources.parse("lan"))
    ledger.apply(game)
    assert str(ledger["game"].limits.per_source) == minecraft.limit


def test_a_presets_lifetime_is_its_entrys_default(ledger):
    ssh = '[mappings.ssh]\nports = "ssh"\nto = "192.168.1.5"\n'
    ledger.apply(ssh)
    assert ledger["ssh"].lifetime == Lifetime.lasting(3600, NOW)


def test_a_port_that_leads_elsewhere_keeps_nothing_of_the_old(ledger):
    ledger.apply(WEB)
    ledger.apply(WEB.replace("8080:80", "8081"))
    assert [str(pair) for pair in ledger["web"].ports] == ["tcp/8081"]
    ledger.apply(WEB.replace("8080:80", "8081").replace("192.168.1.5", "192.168.1.5:90"))
    assert [str(pair) for pair in ledger["web"].ports] == ["tcp/8081:90"]


def test_two_mappings_may_swap_their_ports(ledger):
    ledger.apply(WEB + NAS)
    swapped = (WEB + NAS).replace("8080:80", "X").replace("8443", "8080").replace("X", "8443:80")
    ledger.apply(swapped)
    assert [str(ledger[name].ports[0].outside) for name in ("web", "nas")] == ["8443", "8080"]


def test_a_name_in_other_letters_is_the_same_mapping(ledger):
    ledger.apply(WEB)
    assert ledger.apply(WEB.replace("web", "Web")).asks == (Change("web", Wish(name="Web")),)


def test_a_risk_no_longer_accepted_is_weighed_again(ledger):
    risky = SSH + 'accept_risk = ["exposed-admin", "cleartext-login"]\n'
    ledger.apply(risky + 'from = "anyone"')
    before = ledger["ssh"]
    ledger.now += 60
    assert ledger.refused(SSH + 'from = "anyone"') == "risk-not-accepted"
    ledger.apply(SSH + 'from = "192.0.2.0/24"\naccept_risk = "open-proxy"')
    assert ledger["ssh"] == replace(
        before, sources=Sources.parse("192.0.2.0/24"), accepted_risks=("open-proxy",)
    )


def test_lists_are_defined_changed_and_removed(ledger):
    ledger.snapshot.apply(Made(Verb.DEFINE, None, NamedList("theirs", ALICE, ())))
    ours = (parse_prefix("10.1.0.0/16"), parse_prefix("10.2.0.0/16"))
    first = ledger.apply('[lists]\na = ["10.1.0.0/16", "10.2.0.0/16"]\nb = []\n' + WEB + 'from = "a"\n')
    assert first.asks[:2] == (Define("a", ours), Define("b", ()))
    order = ledger.apply('[lists]\na = ["10.2.0.0/16", "10.1.0.0/16"]\nb = []\n' + WEB + 'from = "a"\n')
    assert order.asks == ()
    last = ledger.apply('[lists]\na = ["10.2.0.0/16"]\n' + WEB + 'from = "a"\n')
    assert last.asks == (Define("a", ours[1:]), Define("b", None))
    ledger.apply("")
    assert set(ledger.snapshot.lists) == {"theirs"}


def test_a_list_of_another_owner_is_asked_for_even_when_it_says_the_same(ledger):
    prefixes = (parse_prefix("10.1.0.0/16"),)
    ledger.snapshot.apply(Made(Verb.DEFINE, None, NamedList("a", ALICE, prefixes)))
    assert ledger.apply('[lists]\na = ["10.1.0.0/16"]').asks == (Define("a", prefixes),)


def test_the_order_is_define_close_change_submit(ledger):
    ledger.apply(WEB + NAS)
    text = '[mappings.new]\nports = "9"\nto = "h"\n[lists]\na = []\n' + WEB + "idle = '1m'\n"
    assert [type(ask) for ask in ledger.apply(text).asks] == [Define, Close, Change, Submit]


def test_other_owners_mappings_are_left_alone_and_their_names_asked_for(ledger):
    ledger.grant([ledger.plan(WEB).asks[0]], ALICE)
    other = Owner(OwnerKind.FILE, "/elsewhere.toml")
    ledger.grant([ledger.plan(NAS).asks[0]], other)
    assert ledger.plan("").asks == ()
    assert ledger.refused(WEB.replace("8080", "8090")) == "name-taken"


def test_paused_is_what_the_file_says(ledger):
    sync = ledger.apply(WEB + "paused = true")
    assert sync.asks[1:] == (Change("web", Wish(), paused=True),)
    assert ledger["web"].paused
    assert ledger.apply(WEB + "paused = false").asks == (Change("web", Wish(), paused=False),)
    both = ledger.apply(WEB + "paused = true\nidle = '1m'").asks
    assert both == (Change("web", Wish(idle=60), paused=True),)


def test_a_pause_by_hand_outlasts_a_file_that_does_not_say(ledger):
    ledger.apply(WEB)
    ledger.grant([Change("web", Wish(), paused=True)], ALICE)
    sync = ledger.apply(WEB)
    assert sync.asks == ()
    assert [notice.code for notice in sync.skipped] == ["stays-paused"]
    changed = ledger.apply(WEB + "idle = '1m'")
    assert [notice.code for notice in changed.skipped] == ["stays-paused"]
    assert ledger["web"].paused
    ledger.apply(WEB + "idle = '1m'\npaused = false")
    assert not ledger["web"].paused


ENDING = pytest.mark.parametrize("ending", ['for = "2h"', "until = 2027-01-15T19:00:00+09:00"])


@ENDING
def test_what_expired_is_not_opened_again_until_its_entry_changes(ledger, ending):
    text = WEB + ending + "\n"
    ledger.apply(text)
    ledger.now += 7200
    for _ in range(2):  # before the sweep and after
        sync = ledger.plan(text)
        assert sync.asks == ()
        (notice,) = sync.skipped
        assert notice.code == "stays-expired"
        for words in (notice.text("en"), notice.text("ja")):
            assert "web" in words
            assert "sekimori undo" in words
            assert "--for" in words
        ledger.sweep()
    assert len(ledger.snapshot) == 0
    ledger.apply(WEB + 'for = "3h"')
    assert ledger["web"].lifetime == Lifetime.lasting(3 * 3600, ledger.now)


IRC = "[mappings.irc]\nports = '113'\n"


def test_a_trigger_and_its_hold_are_compared_as_they_are_granted(ledger):
    ledger.apply(IRC + "trigger = '6667'\n")
    assert ledger["irc"].trigger == Trigger(parse_spans("6667"), 600)
    assert ledger.plan(IRC + "to = 'trigger'\ntrigger = ['tcp/6667']\nhold = '10m'\n").asks == ()
    (change,) = ledger.apply(IRC + "trigger = '6667'\nhold = '5m'\n").asks
    assert change.wish == Wish(hold=300)
    (change,) = ledger.apply(IRC + "trigger = '6697'\n").asks
    assert change.wish == Wish(trigger=parse_spans("6697"), hold=600)
    (change,) = ledger.apply(IRC + "to = '192.168.1.5'\n").asks
    assert said(change.wish) == {"target", "trigger", "hold"}
    assert ledger["irc"].trigger is None
    ledger.apply(IRC + "trigger = '6667'\n")
    assert str(ledger["irc"].target) == "trigger"
    assert ledger.refused(IRC + "to = '192.168.1.5'\ntrigger = '6667'\n") == "exclusive"


def test_exceptions_of_a_dmz_host_are_compared_whatever_their_order(ledger):
    dmz = "[mappings.dmz]\nports = 'dmz'\nto = '192.168.1.50'\n"
    ledger.apply(dmz + "except = ['udp/53', 'tcp/443', 'tcp/53']\n")
    assert ledger["dmz"].lifetime == Lifetime.lasting(3600, ledger.now)
    assert ledger.plan(dmz + "except = 'tcp+udp/53,443'\n").asks == ()
    (change,) = ledger.apply(dmz).asks
    assert change.wish == Wish(excepted=())


def test_a_device_of_the_file_is_the_one_it_was_found_to_be(ledger):
    text = "[mappings.nas]\nports = '8080'\nto = 'device:nas'\n"
    ledger.apply(text)
    pinned = replace(ledger["nas"], target=ledger["nas"].target.pinned("aa:bb:cc:dd:ee:ff"))
    ledger.snapshot.apply(Made(Verb.CHANGE, ledger["nas"], pinned))
    assert ledger.plan(text).asks == ()
    assert ledger.plan(text.replace("device:nas", "device:nas@aa:bb:cc:dd:ee:ff")).asks == ()
    (change,) = ledger.plan(text + "idle = '1m'").asks
    assert change.wish == Wish(idle=60)
    # Another name, another address, or no device at all is another target.
    for other in ("device:tv", "device:nas@aa:bb:cc:dd:ee:00", "nas", "aa:bb:cc:dd:ee:ff"):
        (change,) = ledger.plan(text.replace("device:nas", other)).asks
        assert said(change.wish) == {"target"}


def test_an_expired_entry_that_changed_in_another_word_is_opened_again(ledger):
    ledger.apply(WEB)
    ledger.now += 86400
    unswept = ledger.plan(WEB + "idle = '1m'").asks
    assert unswept == (Change("web", Wish(idle=60, lifetime=Lifetime.lasting(86400, ledger.now))),)
    ledger.sweep()
    assert isinstance(ledger.apply(WEB + "idle = '1m'").asks[0], Submit)


def test_a_new_entry_that_has_ended_is_left_out_and_told(ledger):
    text = WEB + "until = 2027-01-15T18:00:00+09:00\n[mappings.other]\nports = '81'\nto = '192.168.1.6'\n"
    ledger.now += 7200
    sync = ledger.plan(text)
    (notice,) = sync.skipped
    assert notice.code == "already-passed"
    assert all("web" in words for words in (notice.text("en"), notice.text("ja")))
    assert [ask.wish.name for ask in sync.asks] == ["other"]


@pytest.mark.parametrize("before", [WEB, WEB + "until = 2027-01-15T18:00:00+09:00\n"])
def test_a_changed_entry_cannot_end_in_the_past(ledger, before):
    ledger.apply(before)
    text = WEB + "# x\nuntil = 2027-01-15T18:00:00+09:00\nidle = '1m'\n"
    ledger.now += 7200
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            ledger.plan(text)
        facts = caught.value.facts
        assert (caught.value.code, facts["line"], facts["key"]) == ("bad-config", 5, "mappings.web.until")
        ledger.sweep()


def test_the_default_lifetime_is_the_files_unless_the_daemon_has_another(ledger):
    config = ledger.read('[policy]\nlifetime = "1h"\n' + WEB)

    def granted(**default: int) -> Lifetime:
        (submit,) = plan_sync(config, Snapshot(), ledger.reading, lambda *_: None, **default).asks
        assert isinstance(submit, Submit)
        assert isinstance(submit.wish.lifetime, Lifetime)
        return submit.wish.lifetime

    assert granted() == Lifetime.lasting(3600, NOW)
    assert granted(lifetime=60) == Lifetime.lasting(60, NOW)


def test_the_files_zone_is_its_hours_zone(ledger):
    hours = WEB + 'hours = "daily/09:00-18:00"\n'
    ledger.apply(hours)
    assert ledger["web"].schedule == Schedule.parse("daily/09:00-18:00", "Asia/Tokyo")
    ledger.apply('daemon.zone = "UTC"\n' + hours)
    assert ledger["web"].schedule == Schedule.parse("daily/09:00-18:00", "UTC")
