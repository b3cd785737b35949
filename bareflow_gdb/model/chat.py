"""What stands before and after what a person says to a chat model? ChatML's words, when its template has them."""

from __future__ import annotations

import re

from bareflow_gdb.model.vocabulary import Vocabulary

_BEGIN, _END = "<|im_start|>", "<|im_end|>"
_SYSTEM = re.compile(re.escape(_BEGIN) + r"system(?:\\n|\n)([^{}']{0,2000}?)" + re.escape(_END))


def chat_tokens(template: str, vocabulary: Vocabulary) -> tuple[list[int], list[int]] | None:
    """The ids before and after; None when it is no chat model, or its template is of another kind.

    A template is a program in Jinja. It is not run: ChatML is recognised by its two markers.
    """
    marks = {token: vocabulary.encode(token) for token in (_BEGIN, _END)}
    if _BEGIN not in template or any(len(ids) != 1 + vocabulary.begins for ids in marks.values()):
        return None
    system = _SYSTEM.search(template)
    first = f"{_BEGIN}system\n{system[1]}{_END}\n" if system else ""
    after = vocabulary.encode(f"{_END}\n{_BEGIN}assistant\n")
    return vocabulary.encode(f"{first}{_BEGIN}user\n"), after[vocabulary.begins :]
