"""From what a link says to what asyncssh needs: ssh_config(5), hops, keys to log in with."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncssh
from asyncssh.config import SSHClientConfig

from sekimori.model.causes import cause, os_cause
from sekimori.model.errors import Problem
from sekimori.model.link import SshPlace
from sekimori.planes.link.algorithms import CIPHERS, HOST_KEYS, KEX, MACS
from sekimori.planes.link.hostkeys import Pins, read_pins
from sekimori.policy.links import MOST_JUMPS

__all__ = ["Plan", "Resolved"]

_PORT: Final = 22
_USUAL: Final = tuple(f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"))
"""Files that ssh(1) logs in with where ssh_config(5) names none."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A place as ssh_config(5) has it.

    Attributes:
        command: the program that connects to it (ProxyCommand); "" where we do.
    """

    host: str
    port: int
    user: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a link is to be made.

    Attributes:
        name: the link's.
        hops: the servers to log in at, one through the other; the last is the link's own.
        identity: key files; none takes the agent's keys and the usual files.
        config: files of ssh_config(5).
        pins: by the text of a place.
    """

    name: str
    hops: tuple[SshPlace, ...]
    identity: tuple[str, ...]
    config: tuple[str, ...]
    pins: Mapping[str, Pins]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Plan:
        """From `Link.to_document`.

        Raises:
            Problem: `link-config`, `link-bad-pin`, `bad-link`.
        """
        config = _config_files(document.get("config", ""))
        place = SshPlace.parse(document["place"])
        jump = tuple(map(SshPlace.parse, document.get("jump", ())))
        return cls(
            name=document["name"],
            hops=_hops(place, jump, config),
            identity=tuple(document.get("identity", ())),
            config=config,
            pins=read_pins(document.get("host_keys", ())),
        )

    def pins_of(self, place: SshPlace) -> Pins:
        """What a place may show."""
        return self.pins.get(str(place), Pins())

    def resolve(self, place: SshPlace) -> Resolved:
        """Where a place really is.

        Raises:
            Problem: `link-config`.
        """
        config = _load(place, self.config)
        command = str(config.get("ProxyCommand", ""))
        return Resolved(
            host=str(config.get("Hostname", place.host)),
            port=int(str(config.get("Port", _PORT))),
            user=str(config.get("User", getpass.getuser())),
            command="" if command.lower() == "none" else command,
        )

    def options(self, place: SshPlace, pins: Pins) -> dict[str, Any]:
        """Arguments of `asyncssh.connect` for a place, without what it goes through.

        Raises:
            Problem: a key file cannot be used.
        """
        first = [alg.decode() for key in pins.keys for alg in key.sig_algorithms]
        if pins.authorities:
            first += [each for each in HOST_KEYS if "-cert-" in each]
        return {
            "host": place.host,
            **({"port": place.port} if place.port else {}),
            **({"username": place.user} if place.user else {}),
            "config": list(self.config) or None,
            **(_login(self.identity) if self.identity else _usual_login(_load(place, self.config))),
            # The keys that are pinned are asked for first, and others too: to say which one came instead.
            "server_host_key_algs": [
                each for each in dict.fromkeys((*first, *HOST_KEYS)) if each in HOST_KEYS
            ],
            # A tuple of lists is all that asyncssh trusts; anything empty would have it read known_hosts.
            "known_hosts": (list(pins.keys), list(pins.authorities), []),
            "kex_algs": KEX,
            "encryption_algs": CIPHERS,
            "mac_algs": MACS,
            "compression_algs": ["none"],
            "preferred_auth": ["publickey"],
            "password_auth": False,
            "kbdint_auth": False,
            "host_based_auth": False,
            "gss_host": None,
            "x509_trusted_certs": None,
            "agent_forwarding": False,
            # Liveness is ours (`liveness`); these would only double it.
            "keepalive_interval": 0,
            "tcp_keepalive": True,
        }


def _login(identity: tuple[str, ...]) -> dict[str, Any]:
    """Which keys to log in with. Where files are named, the agent is asked only for those that are locked."""
    usable: list[str] = []
    locked: list[str] = []
    for path in map(_expand, identity):
        (usable if _is_usable(path) else locked).append(path)
    if not locked:
        return {"client_keys": usable, "agent_path": None}
    public = [f"{path}.pub" for path in locked]
    missing = [path for path in public if not Path(path).is_file()]
    if not os.environ.get("SSH_AUTH_SOCK") or missing:
        raise Problem("link-key-locked", file=locked[0])
    return {"client_keys": usable or _no_keys(), "agent_identities": public}


def _usual_login(config: SSHClientConfig) -> dict[str, Any]:
    """Which keys to log in with where the link names none, as ssh(1) has it.

    Of the files of ssh_config(5) those that are not there are passed over, and nothing else is taken in their
    place. With IdentitiesOnly the agent is asked for keys of these files alone: where none of them tells its
    public key, not at all, for asyncssh takes an empty list for every key that the agent has.
    """
    named: Any = config.get("IdentityFile", ())
    only = bool(config.get("IdentitiesOnly"))
    if not named and not only:
        return {}
    files = list(map(_expand, named or _USUAL))
    private = [file for file in files if os.path.exists(file) and not _is_public(file)]
    login: dict[str, Any] = {"client_keys": private or _no_keys(), "ignore_encrypted": True}
    if not only:
        return login
    told = (_public_of(file + end) for file in files for end in ("", ".pub", "-cert.pub"))
    wanted = [key for key in told if key is not None]
    return login | ({"agent_identities": wanted} if wanted else {"agent_path": None})


def _no_keys() -> Iterator[str]:
    """No key files, as asyncssh takes it: for an empty list it would look for the usual ones."""
    return iter(())


def _is_public(path: str) -> bool:
    """Whether a file has a public key alone, whose other half an agent may have. One that cannot be read is
    told of by who wants to log in with it.
    """
    with suppress(OSError):
        return b"PRIVATE KEY" not in Path(path).read_bytes() and _public_of(path) is not None
    return False


def _public_of(path: str) -> bytes | None:
    """The public key or certificate that a file tells, also of a private key; None where it tells none."""
    for read in (asyncssh.read_public_key, asyncssh.read_certificate):
        with suppress(OSError, ValueError):  # asyncssh's errors of keys are ValueErrors
            return bytes(read(path).public_data)
    return None


def _is_usable(path: str) -> bool:
    """Whether a private key can be read without a passphrase.

    Raises:
        Problem: `link-no-key`, `link-bad-key`.
    """
    try:
        asyncssh.read_private_key(path)
    except OSError as error:
        raise Problem("link-no-key", file=path, why=os_cause(error)) from None
    except asyncssh.KeyEncryptionError:
        return False
    except asyncssh.KeyImportError as error:
        if "assphrase" in str(error):
            return False
        raise Problem("link-bad-key", file=path, why=str(error)) from None
    return True


def _expand(path: str) -> str:
    return str(Path(path).expanduser())


def _config_files(config: str) -> tuple[str, ...]:
    if config == "none":
        return ()
    if config:
        return (_expand(config),)
    usual = Path("~/.ssh/config").expanduser()
    return (str(usual),) if os.access(usual, os.R_OK) else ()


def _hops(place: SshPlace, jump: tuple[SshPlace, ...], config: tuple[str, ...]) -> tuple[SshPlace, ...]:
    """All that is gone through. The first jump may have one of its own, as for ssh(1); a jump of `Host *`
    stands for itself too, and ends there.
    """
    hops = (*(jump or _proxy_jump(place, config)), place)
    while len(hops) > 1 and (more := _proxy_jump(hops[0], config)) and not set(more) & set(hops):
        hops = (*more, *hops)
        if len(hops) - 1 > MOST_JUMPS:
            why = cause("too-many-jumps", most=MOST_JUMPS)
            raise Problem("link-config", file=", ".join(config), why=why)
    return hops


def _proxy_jump(place: SshPlace, config: tuple[str, ...]) -> tuple[SshPlace, ...]:
    jump = _load(place, config).get("ProxyJump")
    if not isinstance(jump, str) or jump.lower() == "none":
        return ()
    return tuple(SshPlace.parse(each) for each in jump.split(","))


def _load(place: SshPlace, config: tuple[str, ...]) -> SSHClientConfig:
    user: Any = place.user or ()
    port: Any = place.port or ()
    try:
        loaded = SSHClientConfig.load(
            None, list(config), False, False, False, getpass.getuser(), user, place.host, port
        )
    except ValueError as error:  # asyncssh's own, and bytes that are no text
        raise Problem("link-config", file=", ".join(config), why=str(error)) from None
    except OSError as error:
        raise Problem("link-config", file=", ".join(config), why=os_cause(error)) from None
    assert isinstance(loaded, SSHClientConfig)
    return loaded
