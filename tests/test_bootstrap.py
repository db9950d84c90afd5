"""A hosted notebook gets what is missing, and keeps its torch and numpy."""

import importlib.metadata
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import bootstrap, settings

LIBRARIES = """
# What the book needs
torch>=2.6
numpy>=2.0
absent-one>=1.0,<2   # why
Absent_Two[fast]>=0.5
platformdirs>=1

# Tests and tidiness
pytest>=8.2
hypothesis>=6
ruff
codespell
nbstripout
pre-commit>=4.0
jupyterlab>=4.2
jupyter-book>=1.0.4,<2
"""
MODELS = "# Files\nabsent-model==0.1.2   # weights\nabsent-maths==3.2.2.1\n"


@pytest.fixture
def pip(monkeypatch):
    """Stand in for pip: keep the commands, and the constraints as they were while it ran."""
    calls = []

    def run(command, **options):
        given = Path(command[command.index("--constraint") + 1]).read_text() if "--constraint" in command else None
        calls.append((command, given, options))
        return subprocess.CompletedProcess(command, run.code, run.out, run.err)

    run.code, run.out, run.err, run.calls = 0, "", "", calls
    monkeypatch.setattr(bootstrap.subprocess, "run", run)
    return run


@pytest.fixture
def book(tmp_path):
    (tmp_path / "requirements.txt").write_text(LIBRARIES)
    (tmp_path / "requirements-models.txt").write_text(MODELS)
    return tmp_path


def pretend(monkeypatch, **versions):
    """Say that these, and only these, packages are installed (names with _ for -)."""
    there = {name.replace("_", "-"): version for name, version in versions.items()}

    def version(name):
        if name not in there:
            raise importlib.metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_only_what_is_not_installed_is_missing():
    assert bootstrap.missing_requirements(LIBRARIES) == ["absent-one<2,>=1.0", "Absent_Two[fast]>=0.5"]


def test_where_nothing_is_installed_torch_numpy_and_tools_are_still_left_out(monkeypatch):
    pretend(monkeypatch)
    names = bootstrap.missing_requirements(LIBRARIES)
    assert names == ["absent-one<2,>=1.0", "Absent_Two[fast]>=0.5", "platformdirs>=1"]


def test_the_books_own_requirements_leave_exactly_those_out(monkeypatch):
    pretend(monkeypatch)
    text = (settings.ROOT / "requirements.txt").read_text(encoding="utf-8")
    named = {requirement.name for requirement in bootstrap._requirements(text)}
    missing = {bootstrap.Requirement(line).name for line in bootstrap.missing_requirements(text)}
    assert named - missing == bootstrap.NEVER_TOUCHED | bootstrap.NOT_FOR_CHAPTERS
    assert missing >= {"transformers", "sentence-transformers", "datasets", "gguf", "platformdirs"}


def test_names_are_compared_as_pip_does(monkeypatch):
    pretend(monkeypatch, absent_two="0.6")
    assert bootstrap.missing_requirements("Absent_Two>=0.5\nTorch\nNumPy>=2\npre_commit\n") == []


def test_markers_are_respected():
    text = "absent-one; python_version < '3'\nabsent-two; python_version >= '3'\n"
    assert [line.split(";")[0] for line in bootstrap.missing_requirements(text)] == ["absent-two"]


def test_another_version_is_left_alone_with_a_warning(monkeypatch, caplog):
    pretend(monkeypatch, absent_one="0.9")
    with caplog.at_level(logging.WARNING, "helpers.bootstrap"):
        assert bootstrap.missing_requirements("absent-one>=1.0,<2\n") == []
    assert "absent-one 0.9 is installed, but the book needs absent-one<2,>=1.0" in caplog.text


def test_a_version_in_range_is_not_worth_a_word(monkeypatch, caplog):
    pretend(monkeypatch, absent_one="1.1.0.dev2+cu126")
    assert bootstrap.missing_requirements("absent-one>=1.0,<2\n") == []
    assert not caplog.text


@pytest.mark.parametrize("line", ["--index-url x", "-r other.txt", "two words", "; rm -r x"])
def test_a_line_that_is_no_requirement_is_an_error(line):
    with pytest.raises(ValueError):
        bootstrap.missing_requirements(f"absent-one\n{line}\n")


def test_installs_libraries_under_constraints_and_models_without_dependencies(book, pip, monkeypatch, caplog):
    pretend(monkeypatch, torch="2.6.0+cu124", numpy="2.1.3", platformdirs="4.3")
    with caplog.at_level(logging.INFO, "helpers.bootstrap"):
        done = bootstrap.install_missing(book)
    libraries, packages = (
        ["absent-one<2,>=1.0", "Absent_Two[fast]>=0.5"],
        ["absent-model==0.1.2", "absent-maths==3.2.2.1"],
    )
    assert done == libraries + packages
    (first, constraints, _), (second, no_constraints, _) = pip.calls
    for command in (first, second):
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert first[-2:] == libraries
    assert constraints == "numpy==2.1.3\ntorch==2.6.0+cu124\n"
    assert "--no-deps" not in first
    assert second[-3:] == ["--no-deps", *packages]
    assert no_constraints is None
    assert "pip install --no-deps absent-model==0.1.2" in caplog.text
    assert not Path(first[first.index("--constraint") + 1]).exists()


def test_torch_and_numpy_are_never_installed_nor_pinned_where_they_are_not(book, pip, monkeypatch):
    pretend(monkeypatch)
    bootstrap.install_missing(book)
    for command, constraints, options in pip.calls:
        assert not [part for part in command if part.startswith(("torch", "numpy"))]
        assert not constraints
        assert not options.get("shell")


def test_nothing_missing_runs_nothing(book, pip, caplog):
    (book / "requirements.txt").write_text("torch>=2.6\nplatformdirs\nno-such-tool; python_version < '3'\n")
    (book / "requirements-models.txt").write_text("# none\n")
    with caplog.at_level(logging.INFO, "helpers.bootstrap"):
        assert bootstrap.install_missing(book) == []
    assert not pip.calls
    assert "everything is installed" in caplog.text


def test_only_models_missing_is_one_call(book, pip):
    (book / "requirements.txt").write_text("platformdirs\n")
    assert bootstrap.install_missing(book) == ["absent-model==0.1.2", "absent-maths==3.2.2.1"]
    assert len(pip.calls) == 1


def test_a_failure_shows_the_last_lines_of_pip_and_stops(book, pip):
    pip.code, pip.err = 1, "\n".join(f"line {number}" for number in range(100))
    with pytest.raises(
        RuntimeError, match=r"(?s)pip install --constraint .*absent-one.* failed \(1\):\n.*line 99$"
    ) as caught:
        bootstrap.install_missing(book)
    assert "line 85" in str(caught.value)
    assert "line 84" not in str(caught.value)
    assert len(pip.calls) == 1


def test_a_spec_with_a_shells_signs_is_one_argument(book, pip):
    (book / "requirements.txt").write_text("absent-one>=1.0; python_version > '3' and os_name != '$(x)'\n")
    bootstrap.install_missing(book)
    assert [part for part in pip.calls[0][0] if "$(x)" in part] == [
        'absent-one>=1.0; python_version > "3" and os_name != "$(x)"'
    ]


def test_it_can_be_imported_before_anything_is_installed():
    code = "import sys; from helpers import bootstrap; print({'torch', 'numpy', 'platformdirs'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=settings.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
