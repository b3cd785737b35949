"""Which questions are there? The files of this folder; each is imported when it is first needed."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from bareflow_gdb import questions
from bareflow_gdb.questions.question import Argument, Question

_NOT_QUESTIONS = ("question", "registry")


@cache
def names() -> tuple[str, ...]:
    """The words that are asked, by the alphabet."""
    found = (item.name for item in pkgutil.iter_modules(questions.__path__))
    return tuple(sorted(name for name in found if name not in _NOT_QUESTIONS))


def load(name: str) -> Question[Any]:
    """The question of that name, which must be one of `names()`."""
    question: Question[Any] = importlib.import_module(f"{questions.__name__}.{name}").QUESTION
    assert question.name == name, f"questions/{name}.py asks {question.name!r}"
    return question


def plain() -> tuple[str, ...]:
    """The questions that can be asked without a word, `status` first."""
    found = [question.name for question in every() if not any(map(_is_required, question.arguments))]
    return tuple(sorted(found, key=lambda name: (name != "status", name)))


def _is_required(item: Argument) -> bool:
    return not item.is_option and item.keywords.get("nargs") != "?"


def every() -> tuple[Question[Any], ...]:
    """All questions."""
    return tuple(map(load, names()))
