"""The JSON of `/v1/prune`: what a request holds, and the rules that every dialect takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from contextpruner.decisions.closure import Dependency

# beyond this no count makes sense, and arithmetic in 64 bits may overflow
MOST = 2**31 - 1
Count = Annotated[int, Field(ge=0, le=MOST)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[int, Field(ge=-(2**63), lt=2**63)] | str


class GivenDocument(BaseModel):
    """A text, and what goes with it."""

    model_config = ConfigDict(extra="forbid")

    text: str
    id: Name | None = None
    title: str | None = None
    format: str = Field("text", description="text, html, markdown, code, auto and others: docs/units.md")
    protected: bool = Field(False, description="kept whole, whatever the rules are")
    metadata: dict[str, JsonValue] = Field(default_factory=dict, description="comes back with the document")


class GivenRules(BaseModel):
    """What is kept; without any of them by the rules of the server, or the labeler's own threshold."""

    threshold: Share | None = Field(None, description="units of at least this probability")
    top_k: Count | None = Field(None, description="the k best units over all documents")
    max_tokens: Count | None = Field(None, description="the best units, up to so many tokens over all documents")
    target_recall: Share | None = Field(None, description="by the calibration of the server")

    def policy_fields(self) -> dict[str, object]:
        """The fields of a `Policy` that the request gives."""
        given = self.model_dump(include={*POLICY_FIELDS}, exclude_none=True, exclude_unset=True)
        return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


class PruneRequest(GivenRules):
    """A question and documents, and all fields of a policy (docs/pruning_contexts.md)."""

    model_config = ConfigDict(extra="forbid")

    question: str
    documents: list[str | GivenDocument]
    closure: list[Dependency] | None = None
    empty: Literal["keep_best", "original", "empty"] | None = None
    empty_per: Literal["question", "document"] | None = None
    share_of_best: Share | None = None
    top_documents: Count | None = None
    reorder: bool | None = None
    min_document_units: Count | None = None
    max_document_units: Count | None = None
    min_document_tokens: Count | None = None
    max_document_tokens: Count | None = None
    neighbours: tuple[Count, Count] | None = None
    protect: list[str] | None = None
    redundancy: Share | None = None
    mmr: Share | None = None


POLICY_FIELDS = frozenset(PruneRequest.model_fields) - {"question", "documents"}


class SpanAnswer(BaseModel):
    """Characters [start, end) of a document, kept or dropped for a reason."""

    label: str
    start: int
    end: int
    probability: float
    kept: bool
    reason: str
    kind: str
    path: str | None = None
    text: str | None = None


class DocumentAnswer(BaseModel):
    """What is kept of a document."""

    id: Name | None
    title: str | None
    format: str
    metadata: dict[str, JsonValue] | None = None
    score: float
    text: str
    n_characters_before: int
    n_characters_after: int
    n_tokens_before: int
    n_tokens_after: int
    html: str | None = None
    spans: list[SpanAnswer]


class PruneAnswer(BaseModel):
    """A result, as `Result.to_dict()` has it but for the time, which stands in the header Server-Timing."""

    question: str
    labeler: str
    note: str | None = Field(None, description="why another labeler answered than the server's")
    policy: dict[str, JsonValue]
    n_characters_before: int
    n_characters_after: int
    n_tokens_before: int
    n_tokens_after: int
    documents: list[DocumentAnswer]


class ShadowedAnswer(BaseModel):
    """What a model answered to the full context of a request."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="the header X-Request-Id that the request was answered with")
    answer: str
