"""Who may import whom, read from the source without running it."""

from __future__ import annotations

import ast
import functools
import graphlib
from pathlib import Path

import pytest

import apollo

ROOT = Path(apollo.__file__).parent
# A room may import from itself and from the rooms before it. Folders are rooms; the files that lie
# directly in the package are sorted into rooms by FILES.
ROOMS = (  # noqa: SIM905
    "ground data video vision model adapters asking chat cartoon train nano evaluate demo bench cli"
).split()
FILES = {
    "ground": ("constants", "errors", "settings", "catalog", "terminal", "startup"),
    "asking": ("events",),
    "chat": ("chat", "__init__"),
    "cli": ("cli", "__main__"),
    "shells": ("mm_utils", "conversation", "conversations"),  # for other people's scripts
}
ROOM_OF_FILE = {file: room for room, files in FILES.items() for file in files}
WITHOUT_TORCH = ("ground", "data", "video")  # whatever they import, at any time
LATER_TORCH = ("demo", "cli")  # reach the model, but only once there is work to do
HEAVY = ("torch", "transformers")

Sources = dict[str, str]  # module name -> source text


@functools.cache
def read_sources() -> Sources:
    """Every module of the package: "apollo", "apollo.chat", "apollo.train.loop", ..."""
    sources = {}
    for file in ROOT.rglob("*.py"):
        parts = ("apollo", *file.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = file.read_text(encoding="utf-8")
    return sources


parse = functools.cache(ast.parse)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


@functools.cache
def imported(text: str, run_on_import: bool) -> list[tuple[str, ...]]:
    """("apollo.chat",) of "import apollo.chat", ("apollo", "chat") of "from apollo import chat"."""
    found: list[tuple[str, ...]] = []

    def visit(node: ast.AST) -> None:
        if run_on_import and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write the whole name of what is imported"
            found.extend((str(node.module), alias.name) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            if not _for_types_only(child):
                visit(child)

    visit(parse(text))
    return found


def imports_of(name: str, sources: Sources, *, run_on_import: bool = False) -> set[str]:
    """What a module imports at any level, or only what runs when it is imported itself."""
    found = set()
    for parts in imported(sources[name], run_on_import):
        whole = ".".join(parts)  # "from apollo import chat" is the module apollo.chat
        found.add(whole if whole in sources else parts[0])
    return found - {name}


def room_of(name: str) -> str:
    """The room of a module; "?" for a new file or folder that has none yet."""
    place = (name.split(".") + ["__init__"])[1]
    return place if place in ROOMS else ROOM_OF_FILE.get(place, "?")


def upward_imports(sources: Sources) -> list[str]:
    problems = []
    for name in sources:
        room = room_of(name)
        for other in sorted(imports_of(name, sources)):
            if other.split(".")[0] != "apollo":
                continue
            target = room_of(other)
            if "shells" in (room, target):
                if room != target == "shells":
                    problems.append(f"{name} imports {other}, which is for scripts only")
            elif ROOMS.index(target) > ROOMS.index(room):
                problems.append(f"{name} imports {other}, which lies above it")
    return problems


def import_cycle(sources: Sources) -> list[str]:
    graph = {name: imports_of(name, sources, run_on_import=True) & {*sources} for name in sources}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def folders_of(name: str) -> list[str]:
    """apollo.model.prompt -> apollo.model; the package itself imports nothing heavy."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(2, len(parts))]


def heavy_imports(start: str, sources: Sources, *, run_on_import: bool) -> list[str]:
    """Chains from a module to torch or transformers, through our own modules too."""
    chains, seen, waiting = [], {start}, [[start]]
    while waiting:
        chain = waiting.pop()
        for other in sorted(imports_of(chain[-1], sources, run_on_import=run_on_import)):
            if other.split(".")[0] in HEAVY:
                chains.append(" -> ".join([*chain, other]))
            for module in (other, *folders_of(other)):  # a module's folders run before it
                if module in sources and module not in seen:
                    seen.add(module)
                    waiting.append([*chain, module])
    return chains


def prints(sources: Sources) -> list[str]:
    return [
        f"{name}:{node.lineno}"
        for name, text in sources.items()
        for node in ast.walk(parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]


def test_every_module_has_a_room() -> None:
    assert [name for name in read_sources() if room_of(name) == "?"] == []
    assert len(ROOMS) <= 15
    assert len(list(ROOT.glob("*.py"))) <= 14


def test_imports_go_one_way() -> None:
    assert upward_imports(read_sources()) == []


def test_no_cycles() -> None:
    assert import_cycle(read_sources()) == []


@pytest.mark.parametrize("room", [*WITHOUT_TORCH, *LATER_TORCH])
def test_these_rooms_do_without_torch(room: str) -> None:
    found = [
        chain
        for name in read_sources()
        if room_of(name) == room
        for chain in heavy_imports(name, read_sources(), run_on_import=room in LATER_TORCH)
    ]
    assert found == []


def test_the_package_itself_imports_nothing_heavy() -> None:
    assert heavy_imports("apollo", read_sources(), run_on_import=True) == []


def test_nothing_is_printed() -> None:
    assert prints(read_sources()) == []


# ---- the checks notice what they are for ------------------------------------------------------


def with_line(name: str, line: str) -> Sources:
    sources = read_sources()
    return {**sources, name: f"{sources[name]}\n{line}\n"}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("apollo.video.clips", "from apollo.vision import towers"),
        ("apollo.video.clips", "import apollo.vision.towers"),
        ("apollo.model.merge", "from apollo import chat"),
        ("apollo.model.merge", "def later():\n    from apollo.chat import load"),
        ("apollo.model.config", "import apollo"),
        ("apollo.chat", "from apollo.mm_utils import ApolloMMLoader"),
        ("apollo.cli", "from apollo.conversation import conv_templates"),
        ("apollo.train.stage", "import apollo.cli"),
    ],
)
def test_an_upward_import_is_found(name: str, line: str) -> None:
    found = upward_imports(with_line(name, line))
    assert len(found) == 1 and found[0].startswith(f"{name} imports apollo")


def test_an_import_for_types_only_is_no_import() -> None:
    line = "if TYPE_CHECKING:\n    from apollo.chat import Apollo"
    assert upward_imports(with_line("apollo.model.merge", line)) == []


def test_a_cycle_is_found() -> None:
    cycle = import_cycle(with_line("apollo.errors", "import apollo.chat"))
    assert {"apollo.errors", "apollo.chat"} <= {*cycle}


def test_a_heavy_import_is_found_through_others_and_inside_functions() -> None:
    sources = with_line("apollo.errors", "def later():\n    import torch.nn")
    found = heavy_imports("apollo.video.clips", sources, run_on_import=False)
    assert found == ["apollo.video.clips -> apollo.errors -> torch.nn"]
    assert heavy_imports("apollo.video.clips", sources, run_on_import=True) == []


def test_a_print_is_found() -> None:
    assert len(prints(with_line("apollo.chat", "print('x')"))) == 1
