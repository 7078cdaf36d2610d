"""The terms of a port whose clients name their destination: verifiers, and what is written down of them."""

from __future__ import annotations

import pytest

from sekimori.model.destination import Destinations
from sekimori.model.errors import Problem
from sekimori.model.socks import SocksTerms, Verifier, make_verifier, verify

SALT = bytes(range(16))


def test_a_password_is_kept_nowhere() -> None:
    made = make_verifier("user:correct horse", SALT)
    assert made.name == "user"
    assert "horse" not in str(made)
    assert "scrypt" not in repr(made)
    assert verify(made.text, b"correct horse")
    assert not verify(made.text, b"correct horse ")
    assert make_verifier("user:correct horse", SALT[::-1]).text != made.text


def test_a_password_may_have_colons_and_other_letters() -> None:
    assert verify(make_verifier("user:a:b:c:d:e", SALT).text, b"a:b:c:d:e")
    assert verify(make_verifier("user:関所の合言葉です", SALT).text, "関所の合言葉です".encode())


def test_an_export_is_taken_back_as_it_is() -> None:
    made = make_verifier("user:correct horse", SALT)
    assert make_verifier(str(made), b"another salt") == made


@pytest.mark.parametrize(
    "text", ["user", "user:", "user:short", ":long enough", "us er:long enough", "u" * 65 + ":long enough"]
)
def test_what_is_no_user(text: str) -> None:
    with pytest.raises(Problem) as found:
        make_verifier(text, SALT)
    assert found.value.code == "bad-value"
    assert "long enough" not in str(found.value.facts)


def test_a_password_is_one_that_socks_can_tell() -> None:
    assert verify(make_verifier("user:" + "関" * 85, SALT).text, ("関" * 85).encode())
    for password in ("x" * 256, "関" * 86, "long enough \ud800"):
        with pytest.raises(Problem) as found:
            make_verifier(f"user:{password}", SALT)
        assert (found.value.code, found.value.facts["text"]) == ("bad-value", "user")


@pytest.mark.parametrize(
    "text",
    [
        "user:scrypt$",
        "user:scrypt$1024$zz$00",
        f"user:scrypt$4$00112233${'00' * 32}",
        f"user:scrypt$1048576$00112233${'00' * 32}",
        "user:scrypt$x$00$00",
    ],
)
def test_a_verifier_that_is_none_is_refused_when_it_is_given(text: str) -> None:
    with pytest.raises(Problem):
        make_verifier(text, SALT)


def test_documents() -> None:
    users = (make_verifier("b:password 1", SALT), make_verifier("a:password 2", SALT))
    terms = SocksTerms(tuple(sorted(users)), Destinations.parse("*.example:443,10.0.0.0/8"))
    assert SocksTerms.from_document(terms.to_document()) == terms
    assert SocksTerms.from_document(SocksTerms().to_document()) == SocksTerms()
    assert [Verifier(*str(user).split(":", 1)) for user in users] == list(users)
