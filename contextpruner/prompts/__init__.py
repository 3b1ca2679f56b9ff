"""Few-shot prompts, pruned by search: which of their tokens a task needs, under a language model that is run on it."""

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.evaluations import Evaluations
from contextpruner.prompts.pieces import Pieces, cut_prompt
from contextpruner.prompts.prompt import Prompt, Shot
from contextpruner.prompts.run import Run
from contextpruner.prompts.search import Found, Search, build_search, find_prompt
from contextpruner.prompts.task import RowScores, Task

__all__ = [
    "Candidate",
    "Evaluations",
    "Found",
    "Pieces",
    "Prompt",
    "RowScores",
    "Run",
    "Search",
    "Shot",
    "Task",
    "build_search",
    "cut_prompt",
    "find_prompt",
]
