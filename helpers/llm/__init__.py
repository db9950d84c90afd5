"""Asking a language model: local, behind a server, or replayed; and the journal of its answers."""

from helpers.llm.backends import Backend, LocalModel
from helpers.llm.journal import Journal, answer_key
from helpers.llm.judging import WAYS, Judgement, Question, judge
from helpers.llm.recorded import from_recorded
from helpers.llm.replay import AskingError, Journalled, Replay
from helpers.llm.reward import RewardModel, load_reward
from helpers.llm.server import LimitError, OpenAIServer, ServerError
from helpers.llm.writing import Order, Written

__all__ = [
    "WAYS",
    "AskingError",
    "Backend",
    "Journal",
    "Journalled",
    "Judgement",
    "LimitError",
    "LocalModel",
    "OpenAIServer",
    "Order",
    "Question",
    "Replay",
    "RewardModel",
    "ServerError",
    "Written",
    "answer_key",
    "from_recorded",
    "judge",
    "load_reward",
]
