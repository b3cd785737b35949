"""Which texts does the small model learn? Stories of an own grammar, and questions that are answered by one.

`python -m models.small.corpus [COUNT]` prints some. Choices are skewed, the first of a list is the most frequent one:
of equally likely names two would have nearly equal logits, and which one is the larger would depend on a rounding.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple, TypeVar

BEGIN, TURN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
"""Before every text; before each turn of a talk; after each turn, and after a story."""

NAMES = {
    "she": ("Anna", "Clara", "Emma", "Grace", "Ida", "Kate", "Mia", "Olga", "Rosa", "Vera"),
    "he": ("Ben", "David", "Finn", "Hugo", "Jack", "Leo", "Max", "Noah", "Paul", "Tom"),
}
_OTHER = {"she": ("her", "her"), "he": ("him", "his")}
_KINDS = ("fox", "bear", "frog", "cat", "dog", "mouse", "owl", "rabbit", "duck", "goat", "horse", "pig")
_TRAITS = ("little", "brave", "kind", "clever", "shy", "happy", "old", "quiet", "lazy", "proud")
_HOMES = ("in the forest", "by the river", "on a hill", "near the village", "by the lake", "at the old mill")
_PLACES = (
    "in the garden",
    "at the river",
    "on the hill",
    "in the barn",
    "under the bridge",
    "at the lake",
    "in the shed",
)
_COLOURS = ("red", "blue", "green", "yellow", "white", "black")
_THINGS = ("ball", "kite", "boat", "drum", "bell", "hat", "book", "lamp", "key", "cup")
_FOOD = ("apples", "nuts", "berries", "pears", "cakes", "plums")
_BUILT = ("a house", "a bridge", "a boat", "a swing", "a cart")
_WORK = (
    "dig in the earth",
    "sing in the sun",
    "swim in the cold water",
    "read old books",
    "count the stars",
    "bake bread",
)
_DAYS = ("One day", "One morning", "Then one evening", "On a cold day", "On a warm day")
_SOUNDS = ("laughed", "danced", "sang", "smiled", "jumped for joy")
_TIMES = ("all day", "all night", "for three days", "for a week")

Choice = TypeVar("Choice")


class _Animal(NamedTuple):
    """Who takes part."""

    name: str
    he: str
    kind: str
    trait: str

    @property
    def him(self) -> str:
        return _OTHER[self.he][0]

    @property
    def his(self) -> str:
        return _OTHER[self.he][1]


class _Teller:
    """Tells one story after the other."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)

    def _one(self, of: Sequence[Choice], but: Choice | None = None) -> Choice:
        """One of them, the first more often than the last, by 1 / rank; never `but`."""
        found = but
        while found == but:
            (found,) = self._chance.choices(of, [1 / (1 + rank) for rank in range(len(of))])
        assert found is not None
        return found

    def _animal(self, but: _Animal | None = None) -> _Animal:
        he = self._one(("she", "he"))
        return _Animal(
            self._one(NAMES[he], but.name if but else None),
            he,
            self._one(_KINDS, but.kind if but else None),
            self._one(_TRAITS, but.trait if but else None),
        )

    def text(self) -> str:
        """A story, or what somebody asks for and the story that answers it."""
        hero = self._animal()
        colour, thing = self._one(_COLOURS), self._one(_THINGS)
        story = self._story(hero, f"{colour} {thing}")
        if self._chance.random() < 0.75:
            return f"{BEGIN}{story}{END}"
        asked = self._one(("Tell me a story about", "Tell me about", "I want a story about"))
        named = self._one((f" named {hero.name}", ""))
        question = f"{asked} {_a(hero.trait)} {hero.kind}{named}."
        return f"{BEGIN}{TURN}user\n{question}{END}\n{TURN}assistant\n{story}{END}"

    def _story(self, hero: _Animal, thing: str) -> str:
        friend = self._animal(but=hero)
        loved = self._one(_WORK)
        parts = [
            f"Once upon a time, there was {_a(hero.trait)} {hero.kind} named {hero.name}. "
            f"{hero.name} lived {self._one(_HOMES)} and loved to {loved}. "
            f"{_begun(hero.his)} best friend was {friend.name}, {_a(friend.trait)} {friend.kind}."
        ]
        plots = [self._lost, self._stuck, self._built, self._shared, self._raced]
        for _ in range(self._one((1, 2))):
            plot = self._one(plots)
            plots.remove(plot)
            parts.append(f"{self._one(_DAYS)} {plot(hero, friend, thing)}")
        parts.append(self._last(hero, friend, loved))
        return "\n".join(parts)

    def _lost(self, hero: _Animal, friend: _Animal, thing: str) -> str:
        first = self._one(_PLACES)
        second = self._one(_PLACES, but=first)
        return (
            f"{hero.name} could not find {hero.his} {thing}. {_begun(hero.he)} looked {first}, but it was not there. "
            f'"Have you seen my {thing}?" asked {hero.name}. "Yes," said {friend.name}, "it is {second}." '
            f"So {hero.name} and {friend.name} looked {second}, and there was the {thing}! "
            f"{hero.name} was so happy that {hero.he} {self._one(_SOUNDS)}."
        )

    def _stuck(self, hero: _Animal, friend: _Animal, thing: str) -> str:
        return (
            f"there was a big storm. {hero.name} heard a cry. "
            f"It was {friend.name}, who was stuck {self._one(_PLACES)}. "
            f'"Help me!" cried {friend.name}. "I am here," said {hero.name}, and pulled {friend.him} out. '
            f"{friend.name} said thank you and gave {hero.name} a {thing}."
        )

    def _built(self, hero: _Animal, friend: _Animal, _thing: str) -> str:
        what = self._one(_BUILT)
        return (
            f'{hero.name} said, "Let us build {what}." '
            f"{friend.name} brought the wood and {hero.name} brought the nails. "
            f"They worked {self._one(_TIMES)}. When {what.replace('a ', 'the ')} was ready, "
            f"{hero.name} and {friend.name} {self._one(_SOUNDS)}."
        )

    def _shared(self, hero: _Animal, friend: _Animal, _thing: str) -> str:
        food = self._one(_FOOD)
        had = self._one((4, 6, 5, 8, 7, 9))
        gave = self._one((2, 3))
        return (
            f"{hero.name} had {had} {food}, but {friend.name} had none. {friend.name} was sad. "
            f"{hero.name} gave {friend.him} {gave} {food}. Now {hero.name} had {had - gave} {food} "
            f'and {friend.name} had {gave}. "You are {_a(hero.trait)} {hero.kind}," said {friend.name}.'
        )

    def _raced(self, hero: _Animal, friend: _Animal, thing: str) -> str:
        return (
            f"{hero.name} and {friend.name} ran a race for a {thing}. {hero.name} was fast, but {friend.name} fell. "
            f"So {hero.name} stopped and helped {friend.him} up. They won the {thing} together, "
            f"and {friend.name} {self._one(_SOUNDS)}."
        )

    def _last(self, hero: _Animal, friend: _Animal, loved: str) -> str:
        return self._one(
            (
                f"From that day on, {hero.name} and {friend.name} were never alone.",
                f"That night {hero.name} the {hero.kind} slept well.",
                f"And after that they would {loved} together.",
            )
        )


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _begun(word: str) -> str:
    """With a capital, as a sentence begins."""
    return word[0].upper() + word[1:]


def texts(seed: int, count: int) -> Iterator[str]:
    """So many texts, the same for the same seed."""
    teller = _Teller(seed)
    for _ in range(count):
        yield teller.text()


def digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


if __name__ == "__main__":
    for text in texts(1, int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        print(text, end="\n\n")
