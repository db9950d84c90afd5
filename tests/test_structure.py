"""The house of the helpers: who may import whom, and what they promise to chapters."""

import ast
import functools
import graphlib
import importlib
import inspect
import re
from pathlib import Path

import pytest

from helpers import settings

HELPERS = settings.ROOT / "helpers"
FLOORS = {
    1: "settings profiles files prompts evaluation figures pooling batching bootstrap",
    2: "model_specs models datasets records weights scoreboard claims decoder_sizes memory",
    3: "prefixes embedding store baselines tasks contrastive bidirectional llm runner",
    4: "triplets synthesis demonstrations bench",
}
FLOOR = {module: floor for floor, modules in FLOORS.items() for module in modules.split()}
MAY_PRINT = {"runner", "bench", "bootstrap"}
FILES = sorted(HELPERS.rglob("*.py"))
MAX_LINES = 250


def room(path: Path) -> str:
    """Return the module, or the sub-package, of the helpers that a file belongs to."""
    return path.relative_to(HELPERS).parts[0].removesuffix(".py")


def imported(source: str, own_package: str = "helpers") -> set[str]:
    """Return the dotted names of all that a source imports, at its top, in functions and for type checking."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [own_package if node.level else "", node.module]))
            names |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {part.value for part in node.args if isinstance(part, ast.Constant)}
    return names


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms of the helpers that a file imports, without its own."""
    package = ".".join(path.relative_to(settings.ROOT).parent.parts)
    names = [name.split(".") for name in imported(path.read_text(encoding="utf-8"), package)]
    return {name[1] for name in names if name[0] == "helpers" and len(name) > 1} - {room(path)}


@functools.cache
def graph() -> dict[str, set[str]]:
    """Return module -> modules that it imports."""
    edges = {room(path): set() for path in FILES if room(path) != "__init__"}
    for path in FILES:
        if room(path) != "__init__":
            edges[room(path)] |= rooms_imported(path)
    return edges


def test_the_graph_sees_every_kind_of_import():
    source = """
import helpers.a
from helpers import b, c as d
from helpers.e import f
from . import g
def inside():
    from helpers import h
    importlib.import_module("helpers.i")
"""
    assert {name.split(".")[1] for name in imported(source)} == set("abceghi")
    assert graph()["embedding"] >= {"batching", "pooling", "prompts"}
    assert "settings" in graph()["runner"]


def test_every_module_has_its_floor():
    assert set(graph()) <= set(FLOOR), "give the new module a floor"


@pytest.mark.parametrize("module", graph())
def test_no_import_runs_up(module):
    above = {other: FLOOR[other] for other in graph()[module] if FLOOR[other] > FLOOR[module]}
    assert not above, f"{module} is on floor {FLOOR[module]}"


def test_nothing_goes_round_in_circles():
    list(graphlib.TopologicalSorter(graph()).static_order())


def test_only_the_runner_knows_the_runner():
    assert not [module for module, others in graph().items() if "runner" in others]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_helpers_know_neither_chapters_nor_tests(path):
    assert not {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))} & {
        "notebooks",
        "tests",
        "conftest",
    }


def test_the_package_itself_imports_nothing():
    assert imported((HELPERS / "__init__.py").read_text()) <= {"__future__.annotations"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_helpers_log_and_do_not_print(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    prints = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not prints or room(path) in MAY_PRINT


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_nothing_is_left_to_do_in_a_comment(path):
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8"))


def sample_triplets(
    embeddings, *, n_triplets=1024, distance_threshold=77.0, entropy_fraction=0.2, close_fraction=0.02, shuffle=True,
    seed=100,
): ...  # fmt: skip


SIGNATURES = {
    "settings.profile": lambda name="auto", **overrides: ...,
    "datasets.load": lambda name, split=None, *, source="auto", limit=None: ...,
    "models.load_decoder": lambda name, *, quantization=None, dtype=None, device=None: ...,
    "models.load_encoder": lambda name: ...,
    "prompts.normalise_sentence": lambda text: ...,
    "prompts.with_instruction": lambda task, query: ...,
    "embedding.Embedder": lambda model, tokenizer, *, template="{text}", pooling="mean": ...,
    "embedding.Embedder.encode": lambda self, texts: ...,
    "contrastive.info_nce": lambda query, positive, negative=None, *, temperature: ...,
    "contrastive.triplet_question_loss": lambda query, positive, negative, *, temperature: ...,
    "evaluation.sts": lambda embeddings1, embeddings2, scores: ...,
    "triplets.sample_triplets": sample_triplets,
    "triplets.parse_choice": lambda reply: ...,
    "triplets.sample_merges": lambda embeddings, *, k_min=2, k_max=200, repeats=1, seed=100: ...,
    "triplets.choose_k": lambda pairs, answers: ...,
}


def find(name):
    """Return what a dotted name of the helpers stands for."""
    module, *path = name.split(".")
    found = importlib.import_module(f"helpers.{module}")
    for part in path:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_public_surface_stays(name):
    """Parameters of the design are there with their kind, order and default; whatever was added can be left out."""
    promised = inspect.signature(SIGNATURES[name]).parameters
    found = inspect.signature(find(name)).parameters
    assert [key for key in found if key in promised] == list(promised)
    for key, parameter in found.items():
        if key in promised:
            assert (parameter.kind, parameter.default) == (promised[key].kind, promised[key].default), key
        else:
            assert parameter.default is not parameter.empty, key


def test_prompt_eol_marks_the_text():
    assert find("prompts.PROMPT_EOL").count("{text}") == 1
