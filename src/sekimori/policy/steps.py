"""What enabling, changing and disabling the gateway does to this machine, step by step. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sekimori.model.causes import Text, cause
from sekimori.model.gateway import Gateway
from sekimori.model.network import Lan, Network, Wan
from sekimori.policy.machine import in_order, value_for

__all__ = ["Step", "steps_between"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done to the machine.

    Attributes:
        kind: `sysctl`, `masquerade` or `firewall`.
        text: the sentence, by language.
        facts: its values by name: texts, or lists of texts.
    """

    kind: str
    text: Text
    facts: dict[str, str | list[str]]


def steps_between(before: Gateway | None, after: Gateway | None, network: Network) -> tuple[Step, ...]:
    """What it takes from one gateway (None: none) to the other, in the order in which it is done.

    `network` is the machine's place as it is now: a LAN that comes later is translated too.
    """
    steps: list[Step] = []
    if before is None and after is not None:
        steps += [_set(name, old, value_for(name)) for name, old in in_order(after.found)]
    masquerades, did_masquerade = _is_on(after, "masquerade"), _is_on(before, "masquerade")
    if masquerades and not did_masquerade:
        steps += _masquerade("masquerade-on", network)
    elif did_masquerade and not masquerades:
        steps += _masquerade("masquerade-off", network)
    if _is_on(after, "firewall") != _is_on(before, "firewall"):
        steps += _firewall(_is_on(after, "firewall"), network)
    if before is not None and after is None:
        steps += [_set(name, value_for(name), old) for name, old in reversed(in_order(before.found))]
    return tuple(steps)


def _is_on(gateway: Gateway | None, part: str) -> bool:
    return gateway is not None and bool(getattr(gateway, part))


def _set(name: str, old: str, new: str) -> Step:
    return Step(
        "sysctl", cause("step-sysctl", name=name, old=old, new=new), {"name": name, "from": old, "to": new}
    )


def _masquerade(key: str, network: Network) -> Iterator[Step]:
    for lan in network.lans:
        prefixes = [str(prefix) for prefix in lan.prefixes if prefix.version == 4]
        for wan in network.wans if prefixes else ():
            yield Step(
                "masquerade",
                cause(f"step-{key}", lan=_named(lan, prefixes), wan=_named(wan, map(str, wan.addresses4))),
                {"lan": lan.interface, "prefixes": prefixes, "wan": wan.interface},
            )


def _firewall(on: bool, network: Network) -> Iterator[Step]:
    wans = [wan.interface for wan in network.wans]
    names: object = ", ".join(wans) or cause("every-wan")
    for part in ("forward", "input"):
        key = f"step-firewall-{part}" if on else f"step-no-firewall-{part}"
        yield Step("firewall", cause(key, wans=names), {"hook": part, "wans": wans})


def _named(side: Wan | Lan, addresses: Iterable[str]) -> str:
    listed = ", ".join(addresses)
    return f"{side.interface} ({listed})" if listed else side.interface
