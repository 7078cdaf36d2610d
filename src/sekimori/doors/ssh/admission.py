"""Who may come in by which key, and what is left for them to do. Pure: time and addresses are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any, Final

from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.user import Grant
from sekimori.wire.authorizedkeys import AuthorizedKey, KeyOptions, parse_line
from sekimori.wire.sshkeys import fingerprint

__all__ = ["Admitted", "Certificate", "Roster", "Row"]

_NEVER: Final = (1 << 64) - 1
"""What an end that a certificate does not have is (OpenSSH's PROTOCOL.certkeys)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A key line of a user, as the daemon tells it.

    Attributes:
        user: whose it is.
        key: the line.
        grant: what the user may do.
        expires_at: Unix seconds from which the user is let in no more; None is never.
        principal: whom a certificate must be for where the line names nobody; None is the login name.
    """

    user: str
    key: AuthorizedKey
    grant: Grant
    expires_at: int | None = None
    principal: str | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any], grant: Grant, zone: tzinfo) -> Row:
        """Read what `keysource.rows_of` wrote, but for the grant.

        Raises:
            Problem, KeyError, ValueError: it is no row. No one is let in by it.
        """
        return cls(
            user=document["user"],
            key=parse_line(document["line"], zone),
            grant=grant,
            expires_at=document["expires_at"],
            principal=document["principal"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate says, once its signature was verified (OpenSSH's PROTOCOL.certkeys).

    Attributes:
        authority: the blob of the key that signed it.
        principals: whom it is for. One that names none is for nobody; to OpenSSH 9.2 it is for everybody.
        valid_from, valid_until: Unix seconds; the end is not part of it.
        sources: where it may be used from; None is anywhere.
        forwards: whether it has `permit-port-forwarding`.
        command: its `force-command`.
        no_touch: whether it has `no-touch-required`.
    """

    authority: bytes
    principals: tuple[str, ...]
    valid_from: int
    valid_until: int
    sources: tuple[IPNetwork, ...] | None = None
    forwards: bool = False
    command: str | None = None
    no_touch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Somebody who may come in.

    Attributes:
        options: of the key line, narrowed by the certificate where there is one.
        fingerprint: of the key that the client proved to have.
        expires_at: Unix seconds until which at most, by the user's end, the key's and the certificate's.
    """

    user: str
    grant: Grant
    options: KeyOptions
    fingerprint: str
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Roster:
    """All key lines, by the key or the authority."""

    rows: Mapping[bytes, tuple[Row, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Roster:
        """The roster of these rows; of those with the same key, the first counts first."""
        by_key: dict[bytes, list[Row]] = {}
        for row in rows:
            by_key.setdefault(row.key.blob, []).append(row)
        return cls({blob: tuple(some) for blob, some in by_key.items()})

    def knows(self, blob: bytes) -> bool:
        """Whether a key stands in some line, for whatever it is good."""
        return blob in self.rows

    def admit(self, blob: bytes, address: IPAddress, now: float) -> Admitted | None:
        """Who comes in by a key from an address; None is nobody. The first line that fits counts."""
        for row in self.rows.get(blob, ()):
            options = row.key.options
            if not options.certifies and _stands(row, address, now):
                return _admitted(row, options, blob, options.expires_at)
        return None

    def admit_certified(
        self, blob: bytes, certificate: Certificate, login: str, address: IPAddress, now: float
    ) -> Admitted | None:
        """Who comes in by a certified key under a login name; None is nobody."""
        for row in self.rows.get(certificate.authority, ()):
            options = row.key.options
            if not (options.certifies and _stands(row, address, now)):
                continue
            wanted = options.principals or (row.principal or login,)
            if not _is_valid(certificate, wanted, address, now):
                continue
            if None not in (options.command, certificate.command) and options.command != certificate.command:
                continue
            end = min(certificate.valid_until, options.expires_at or _NEVER)
            left = replace(
                options,
                forwards=options.forwards and certificate.forwards,
                command=options.command or certificate.command,
                no_touch=options.no_touch and certificate.no_touch,
            )
            return _admitted(row, left, blob, None if end == _NEVER else end)
        return None


def _stands(row: Row, address: IPAddress, now: float) -> bool:
    options = row.key.options
    ended = row.expires_at is not None and row.expires_at <= now
    return not ended and not options.has_expired(now) and options.allows_from(address)


def _is_valid(certificate: Certificate, wanted: Sequence[str], address: IPAddress, now: float) -> bool:
    sources = certificate.sources
    return (
        certificate.valid_from <= now < certificate.valid_until
        and not set(wanted).isdisjoint(certificate.principals)
        and (sources is None or any(address in each for each in sources))
    )


def _admitted(row: Row, options: KeyOptions, blob: bytes, end: int | None) -> Admitted:
    ends = [each for each in (end, row.expires_at) if each is not None]
    return Admitted(
        user=row.user,
        grant=row.grant,
        options=options,
        fingerprint=fingerprint(blob),
        expires_at=min(ends, default=None),
    )
