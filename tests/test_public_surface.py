"""What `import apollo` promises: its names, its price, and whose code runs."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import TINY

import apollo

HEAVY = ("torch", "transformers", "gradio", "av", "cv2", "numpy", "PIL", "safetensors")


def run_python(code: str, *args: str) -> str:
    """stdout of a fresh interpreter, which must not fail."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_is_there_and_explained() -> None:
    assert {*apollo._LAZY} < {*apollo.__all__} <= {*dir(apollo)}
    for name in apollo.__all__:
        thing = getattr(apollo, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__, name


def test_every_public_method_of_apollo_is_explained() -> None:
    methods = [m for n, m in vars(apollo.Apollo).items() if callable(m) and n[0] != "_"]
    assert len(methods) >= 5
    assert [m.__name__ for m in methods if not m.__doc__] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        apollo.lod  # noqa: B018


def test_importing_is_cheap() -> None:
    """No heavy package is loaded: that is what keeps the import under 0.3 s."""
    loaded = run_python("import sys, apollo; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []
    ours = sorted(name for name in loaded if name.split(".")[0] == "apollo")
    assert ours == ["apollo", "apollo.errors", "apollo.settings", "apollo.startup"]


# ---- transformers' Auto classes ----------------------------------------------------------

AUTO = """
import sys
{imports}
config = AutoConfig.from_pretrained(sys.argv[1], trust_remote_code={trust})
print(type(config).__module__)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code={trust})
print(type(model).__module__, type(model).__name__, type(model.config).__module__)
"""
OURS = "apollo.model.config\napollo.model.causal_lm ApolloForCausalLM apollo.model.config"
# lazily: the config class must be known before anything else of transformers is imported
APOLLO_FIRST = """
import apollo
from transformers import AutoConfig
print(type(AutoConfig.from_pretrained(sys.argv[1])).__module__)
from transformers import AutoModelForCausalLM
"""
TRANSFORMERS_FIRST = "from transformers import AutoConfig, AutoModelForCausalLM\nimport apollo"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """The tiny checkpoint with code of its own wherever a file can name some."""
    folder = tmp_path / "hostile"
    shutil.copytree(TINY, folder)
    code = (
        "import pathlib\n"
        f"pathlib.Path({str(tmp_path / 'executed')!r}).write_text('x')\n"
        "class Model: pass\n"
    )
    claims = {
        "config.json": {"AutoConfig": "evil.Model", "AutoModelForCausalLM": "evil.Model"},
        "llm/config.json": {"AutoConfig": "evil.Model", "AutoModelForCausalLM": "evil.Model"},
        "llm/tokenizer_config.json": {"AutoTokenizer": ["evil.Model", "evil.Model"]},
        "vision_tower/config.json": {"AutoModel": "evil.Model"},
    }
    for name, auto_map in claims.items():
        file = folder / name
        values = json.loads(file.read_text())
        file.write_text(json.dumps({**values, "auto_map": auto_map}))
        (file.parent / "evil.py").write_text(code)
    return folder


@pytest.mark.slow
def test_auto_classes_build_our_model_when_apollo_is_imported_first() -> None:
    code = AUTO.format(imports=APOLLO_FIRST, trust=False)
    assert run_python(code, str(TINY)) == f"apollo.model.config\n{OURS}"


@pytest.mark.slow
def test_code_in_a_checkpoint_never_runs(hostile: Path) -> None:
    code = AUTO.format(imports=TRANSFORMERS_FIRST, trust=True)
    assert run_python(code, str(hostile)) == OURS
    assert not (hostile.parent / "executed").exists()


@pytest.mark.slow
def test_the_hostile_code_would_run_without_our_registration(hostile: Path) -> None:
    """So the test above can fail."""
    code = (
        "import sys\nfrom transformers import AutoConfig\n"
        "AutoConfig.from_pretrained(sys.argv[1], trust_remote_code=True)"
    )
    subprocess.run([sys.executable, "-c", code, str(hostile)], capture_output=True)
    assert (hostile.parent / "executed").exists()


def test_our_own_loading_runs_no_code_either(hostile: Path) -> None:
    model = apollo.load(hostile, device="cpu")
    assert type(model.model).__module__ == "apollo.model.causal_lm"
    assert not (hostile.parent / "executed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("first", ["AutoTokenizer", "Qwen2ForCausalLM", "SiglipVisionModel"])
def test_whatever_of_transformers_is_imported_first_the_auto_class_knows_the_model(
    first: str,
) -> None:
    """Each imports the Auto classes while it is itself only half imported."""
    code = f"""if True:
        import apollo
        from transformers import {first}
        from transformers import AutoModelForCausalLM
        model = AutoModelForCausalLM.from_pretrained({str(TINY)!r}, trust_remote_code=True)
        assert type(model) is apollo.ApolloForCausalLM
        assert isinstance(AutoModelForCausalLM.from_config(model.config), apollo.ApolloForCausalLM)
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
