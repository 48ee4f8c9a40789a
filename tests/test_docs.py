"""What code and documents point to exists."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

DOCUMENTS = sorted(
    str(file.relative_to(ROOT))
    for file in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    if file.name != "CHANGELOG.md"  # tells of files that are gone
)
CITATION = re.compile(r"docs/original\.md((?:(?: to | and |, )?#\d+)+)")


def citations(text: str) -> list[int]:
    """docs/original.md#11 to #14 -> 11, 14."""
    return [int(number) for cited in CITATION.findall(text) for number in re.findall(r"\d+", cited)]


def test_citations_are_found_in_every_form() -> None:
    cited = "(docs/original.md#7); docs/original.md#9 and #10, docs/original.md#11 to #14"
    assert citations(cited) == [7, 9, 10, 11, 14]


def test_the_originals_habits_are_numbered_and_every_citation_has_its_item() -> None:
    text = (ROOT / "docs" / "original.md").read_text("utf-8")
    anchors = re.findall(r'<a id="(\d+)"></a>\n\*\*(\d+)\. ', text)
    numbers = [int(anchor) for anchor, _ in anchors]
    assert numbers == [int(number) for _, number in anchors] == list(range(1, 31))
    cited = {
        str(file.relative_to(ROOT)): citations(file.read_text("utf-8"))
        for folder in ("apollo", "tests")
        for file in (ROOT / folder).rglob("*.py")
        if file.name != "test_docs.py"
    }
    assert sum(map(len, cited.values())) >= 10
    assert {f: ids for f, ids in cited.items() if not set(ids) <= set(numbers)} == {}


def test_the_architecture_names_every_file_once_in_the_order_of_the_rooms() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = re.findall(r"^\| `([\w/]+\.py)` \|", text, re.M)
    present = {
        str(file.relative_to(ROOT / "apollo"))
        for file in (ROOT / "apollo").rglob("*.py")
        if file.name != "__init__.py" or file.parent == ROOT / "apollo"
    }
    assert present - {*named} == set(), "ARCHITECTURE.md says nothing of these files"
    assert {*named} - present == set(), "ARCHITECTURE.md names files that are gone"
    assert len(named) == len(set(named))
    layers = (ROOT / "tests" / "test_layers.py").read_text("utf-8")
    ranked = re.search(r'"(ground [a-z ]+)"', layers)
    assert ranked, "tests/test_layers.py ranks the rooms in another form"
    rooms = re.findall(r"^\| \*\*(\w+)/?\*\* \|", text, re.M)
    assert rooms == [*ranked[1].split(), "shells"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_paths_in_documents_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for link in re.findall(r"\]\((?!http|#)([^)#\s]+)", text):
        assert (ROOT / name).parent.joinpath(link).exists(), link
    for path in re.findall(r"`((?:apollo|tests|docs)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
