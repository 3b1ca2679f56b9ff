"""datapruner: score a corpus once, select from it many times, write what is kept and why the rest is not."""

from datapruner.corpus.formats.in_memory import HubDataset
from datapruner.corpus.source import Source
from datapruner.evaluation.evaluate import evaluate
from datapruner.evaluation.settings import Candidate, Evaluation
from datapruner.output.pruning import prune, run
from datapruner.output.write import write
from datapruner.recipe.recipe import Expected, Output, Recipe, Rule
from datapruner.scoring.engine import Engine
from datapruner.scoring.score import score
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Batch, Embedder, Scorer, State
from datapruner.selection.budgets import Budget, Per
from datapruner.selection.candidates import Candidates
from datapruner.selection.select import select, select_together
from datapruner.selection.selection import Selection
from datapruner.selection.selector import Choice, Outcome, Selector
from prunekernels import __version__

__all__ = [
    "Batch",
    "Budget",
    "Candidate",
    "Candidates",
    "Choice",
    "Embedder",
    "Engine",
    "Evaluation",
    "Expected",
    "HubDataset",
    "Outcome",
    "Output",
    "Per",
    "Recipe",
    "Rule",
    "ScoreTable",
    "Scorer",
    "Selection",
    "Selector",
    "Source",
    "State",
    "__version__",
    "evaluate",
    "prune",
    "run",
    "score",
    "select",
    "select_together",
    "write",
]
