"""One inside port, several outside ones: who has what it sends out, as mappings come and go."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sekimori.planes.kernel.elements import Item
from sekimori.planes.kernel.symmetric import SYMMETRIC, Symmetric

KEYS = (b"one", b"two")


def claim(key: bytes, number: int) -> Item:
    return Item(SYMMETRIC, key, data=bytes([number]))


def test_the_first_has_it_and_the_next_inherits() -> None:
    symmetric, (first, second) = Symmetric(), (claim(b"one", 1), claim(b"one", 2))
    turn = symmetric.plan((), [first, second])
    assert (turn.drop, turn.add) == ((), (first,))
    assert not symmetric.is_first(first), "a turn that the kernel refused changes nothing"
    symmetric.settle(turn)
    assert symmetric.is_first(first)
    assert not symmetric.is_first(second)
    turn = symmetric.plan([first], [claim(b"one", 3)])
    assert (turn.drop, turn.add) == ((first,), (second,))
    symmetric.settle(turn)
    turn = symmetric.plan([second, claim(b"one", 3)], ())
    assert (turn.drop, turn.add) == ((second,), ())


def test_a_lost_element_comes_back_and_the_others_keep_their_place() -> None:
    symmetric, (first, second) = Symmetric(), (claim(b"one", 1), claim(b"one", 2))
    symmetric.settle(symmetric.plan((), [first, second]))
    symmetric.lose(b"one")
    turn = symmetric.plan((), [first])
    assert (turn.drop, turn.add) == ((), (first,)), "what is not there cannot be dropped"
    symmetric.settle(turn)
    turn = symmetric.plan([first], ())
    assert (turn.drop, turn.add) == ((first,), (second,))


class Turns(RuleBasedStateMachine):
    """Claims made and dropped in any order; elements lost in between. The kernel is a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.symmetric = Symmetric()
        self.kernel: dict[bytes, Item] = {}
        self.claims: dict[bytes, list[Item]] = {key: [] for key in KEYS}

    @rule(key=st.sampled_from(KEYS), number=st.integers(0, 3), taken=st.booleans())
    def come(self, key: bytes, number: int, taken: bool) -> None:
        self._turn([], [claim(key, number)], taken)

    @rule(key=st.sampled_from(KEYS), number=st.integers(0, 3), other=st.integers(0, 3), taken=st.booleans())
    def change(self, key: bytes, number: int, other: int, taken: bool) -> None:
        self._turn([claim(key, number)], [claim(key, other)] if other != number else [], taken)

    @rule(key=st.sampled_from(KEYS))
    def lose_and_mend(self, key: bytes) -> None:
        if self.kernel.pop(key, None) is not None:
            self.symmetric.lose(key)
            self._turn([], [self.claims[key][0]], True)

    def _turn(self, drop: list[Item], add: list[Item], taken: bool) -> None:
        turn = self.symmetric.plan(drop, add)
        if not taken:
            return
        for item in turn.drop:
            assert self.kernel.pop(item.key) == item
        for item in turn.add:
            assert item.key not in self.kernel
            self.kernel[item.key] = item
        self.symmetric.settle(turn)
        for item in drop:
            if item in self.claims[item.key]:
                self.claims[item.key].remove(item)
        for item in add:
            if item not in self.claims[item.key]:
                self.claims[item.key].append(item)

    @invariant()
    def who_came_first_has_it(self) -> None:
        assert self.kernel == {key: claims[0] for key, claims in self.claims.items() if claims}


TestTurns = Turns.TestCase
