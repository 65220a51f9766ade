"""A gateway that answers from cases: for a host's own tests and for trying things out, without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from engine.cases import Case, CaseRunner, answer_of, form_pairs, read_cases
from engine.catalog import shipped
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.request_types import Request
from engine.store import Store
from engine.store.memory import MemoryStore


class CaseAnswers:
    """A dispatcher that gives every request the answer of the successful case whose request is most like it."""

    def __init__(self, cases: Sequence[Case]) -> None:
        told = [case.told for case in cases if case.succeeds and case.kind == "request_types"]
        self._known = [
            (one["sends"], one["receives"])
            for one in told
            if isinstance(one.get("receives"), Mapping) and "sends" in one
        ]

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        """The nearest case's answer; a Failure where no case is about such a request."""
        del credentials, deadline, answer_limit
        ranked = [(_likeness(sends, request), receives) for sends, receives in self._known]
        ranked.sort(key=lambda pair: pair[0], reverse=True)
        if not ranked or not ranked[0][0][0]:
            message = f"no case answers {request.method} {urlsplit(request.url).path}"
            return Failure("connect", sent=False, message=message, seconds=0.0)
        return answer_of(ranked[0][1])


def _likeness(sends: Mapping[str, object], request: Request) -> tuple[int, int]:
    """How many parts of the path are the same (0: another kind of request), and how many pairs of the body."""
    told, asked = urlsplit(str(sends["url"])), urlsplit(request.url)
    ours, theirs = told.path.split("/"), asked.path.split("/")
    if sends["method"] != request.method or len(ours) != len(theirs):
        return 0, 0
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    pairs = form_pairs(sends.get("body") or "")
    return same, len(set(pairs) & set(form_pairs(request.body.decode("utf-8", "replace"))))


def bundled_engine(root: Path, store: Store | None = None) -> Engine:
    """An engine of the files in `root` that answers from the cases of the host and the shipped ones."""
    cases = [case for folder in (root, shipped()) for case in read_cases(folder / "tests" / "cases")]
    environment = CaseRunner(root).environment({case.gateway for case in cases})
    return Engine(root, store=store or MemoryStore(), dispatcher=CaseAnswers(cases), environment=environment)
