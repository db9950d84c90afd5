"""What every chapter has in common: the page template of the book, and the cleanliness of what is committed."""

import ast
import json
import re
import subprocess

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
TEMPLATE = ROOT / "notebooks" / "_template.ipynb"
# Short pages beside the chapters: they need not follow the whole template.
PAGES = [path for path in NOTEBOOKS if json.loads(path.read_text())["metadata"]["book"].get("kind") == "page"]
CHAPTERS = [path for path in NOTEBOOKS if path not in PAGES]
HEADINGS = [
    "## The question",
    "## The idea",
    "## The smallest version",
    "## The run",
    "## Controls",
    "## Results",
    "## Where it breaks",
    "## Beside the paper's numbers",
    "## Your own texts",
    "## Exercises",
    "## Summary",
    "## References",
    "## Versions",
]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def tagged(cells, tag):
    return [cell for cell in cells if tag in tags(cell)]


def prose(cells):
    return "\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")


@pytest.fixture(params=[*NOTEBOOKS, TEMPLATE], ids=lambda path: path.stem)
def cells(request):
    return read(request.param)


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return read(request.param)


def test_every_chapter_of_the_contents_is_a_notebook_and_the_other_way_round():
    contents = (ROOT / "_toc.yml").read_text()
    assert re.findall(r"notebooks/(\w+)", contents) == [path.stem for path in NOTEBOOKS]


def test_the_page_begins_with_title_box_bootstrap_and_parameters(cells):
    assert re.match(r"\(chapter-[\w-]+\)=\n# \S", source(cells[0]))
    assert tags(cells[1]) == ["info-box"]
    assert "bootstrap" in tags(cells[2])
    assert tags(cells[3]) == ["parameters"]


def test_the_info_box_says_what_is_needed_and_what_will_be_learnt(cells):
    box = source(cells[1])
    assert len(re.findall(r"^- ", box, re.MULTILINE)) == 3
    for part in ("**You need**", "**You will be able to**", "**Models and data**", "<!-- runs -->"):
        assert part in box


def test_there_are_at_most_four_scalar_parameters_and_the_profile_is_one(cells):
    body = ast.parse(source(tagged(cells, "parameters")[0])).body
    assert all(isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) for node in body)
    assert 1 <= len(body) <= 4
    assert {"profile", "seed"} <= {node.targets[0].id for node in body}


def test_the_bootstrap_cell_is_the_same_everywhere(cells):
    assert source(tagged(cells, "bootstrap")[0]) == source(tagged(read(TEMPLATE), "bootstrap")[0])


def test_the_bootstrap_cell_needs_no_magic_and_names_no_package():
    text = source(tagged(read(TEMPLATE), "bootstrap")[0])
    ast.parse(text)
    assert "pip" not in text


@pytest.mark.parametrize("path", [*CHAPTERS, TEMPLATE], ids=lambda path: path.stem)
def test_headings_stand_in_the_order_of_the_template(path):
    found = [line for line in prose(read(path)).splitlines() if line.startswith("## ")]
    assert [heading for heading in found if heading in HEADINGS] == HEADINGS


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_short_page_is_short_interpreted_and_ends_with_versions(path):
    text = prose(read(path))
    assert 12 <= len(read(path)) <= 40
    assert 500 <= len(text.split()) <= 1_700
    assert text.count("**What do we see?**") >= 2
    assert [line for line in text.splitlines() if line.startswith("## ")][-1] == "## Versions"


def test_outputs_and_counts_are_stripped(cells):
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_code_cells_are_short(cells):
    lengths = {index: len(source(cell).splitlines()) for index, cell in enumerate(cells) if cell["cell_type"] == "code"}
    assert max(lengths.values()) <= 25, lengths


def test_most_code_cells_follow_prose(chapter):
    code = [index for index, cell in enumerate(chapter) if cell["cell_type"] == "code" and index > 3]
    after_prose = [index for index in code if chapter[index - 1]["cell_type"] == "markdown"]
    assert len(after_prose) >= 0.9 * len(code)


def test_the_length_of_a_chapter(chapter):
    assert 35 <= len(chapter) <= 60
    assert 1_500 <= len(prose(chapter).split()) <= 3_000


def test_outputs_are_interpreted(chapter):
    assert prose(chapter).count("**What do we see?**") >= 5


def test_there_are_three_to_six_exercises_with_collapsed_solutions(chapter):
    numbers = re.findall(r"\*\*Exercise (\d)\.\*\*", prose(chapter))
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert 3 <= len(numbers) <= 6
    assert len(tagged(chapter, "hide-cell")) == len(numbers)


def test_the_summary_has_five_lines(chapter):
    text = prose(chapter).split("## Summary")[1].split("## References")[0]
    assert len(re.findall(r"^- ", text, re.MULTILINE)) == 5


def calls(cell, name):
    """Return the calls of a function in a cell."""
    nodes = ast.walk(ast.parse(source(cell)))
    return [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_label_caption_and_a_long_enough_alternative_text(path):
    labels = []
    for cell in read(path):
        if cell["cell_type"] != "code":
            continue
        shown = calls(cell, "figures.show")
        assert len(shown) <= 1
        for call in shown:
            words = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
            labels.append(words["label"])
            assert len(words["caption"].split()) >= 6
            assert len(words["alt"].split()) >= 12
    assert len(labels) >= (1 if path in PAGES else 2)
    assert len(set(labels)) == len(labels)


def test_labels_of_figures_are_unique_in_the_book():
    text = "\n".join(source(cell) for path in NOTEBOOKS for cell in read(path) if cell["cell_type"] == "code")
    labels = re.findall(r'label="(fig-[\w-]+)"', text)
    assert len(set(labels)) == len(labels)


def test_code_of_chapters_installs_nothing_and_uses_no_widgets(cells):
    text = "\n".join(source(cell) for cell in cells if cell["cell_type"] == "code" and "bootstrap" not in tags(cell))
    for forbidden in (
        "pip install",
        "tqdm.notebook",
        "tqdm.auto",
        "trust_remote_code",
        "np.random.seed",
        "manual_seed(",
    ):
        assert forbidden not in text


def test_no_result_is_typed_into_the_summary(chapter):
    text = prose(chapter).split("## Summary")[1].split("## References")[0]
    assert not re.search(r"\d+\.\d", text)


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return paths or [path for path in ROOT.rglob("*") if path.is_file() and "_build" not in path.parts]


def test_no_path_of_a_machine_is_committed():
    pattern = re.compile(r"(?<![\w.])/(?:work|tmp|root|home)/")
    allowed = {"tests/test_hygiene.py"}
    for path in tracked():
        if path.suffix in (".py", ".md", ".ipynb", ".json", ".yml", ".toml", ".txt", ".lock", ".cff"):
            name = path.relative_to(ROOT).as_posix()
            if name not in allowed and not name.startswith("tests/"):
                assert not pattern.search(path.read_text(encoding="utf-8")), name


def test_the_readme_is_current():
    from helpers.runner import pages
    from helpers.runner.book import Book

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert pages.fill_readme(text, Book(ROOT)) == text


def test_the_lock_pins_everything_and_the_requirements_have_ranges():
    lock = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!-]+", line) for line in lock)
    assert {"torch==2.13.0", "jupyter-book==1.0.4.post1"} <= set(lock)
    pinned = {re.split("[=]", line)[0].lower().replace("_", "-") for line in lock}
    wanted = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    names = {re.split(r"[<>=]", line)[0].lower() for line in wanted if line}
    assert names <= pinned


def test_workflows_call_make_and_nothing_else():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for command in re.findall(r"^\s*(?:-\s+)?run: (.+)$", path.read_text(), re.MULTILINE):
            assert command.startswith(("make ", "|", ">")), (path.name, command)
