"""Loading needs little more memory than the weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from paths import TINY

from apollo.model import checkpoint
from apollo.model.causal_lm import ApolloForCausalLM

PEAK = """
import json, os, sys, threading, torch
from apollo.model.causal_lm import ApolloForCausalLM
tiny, folder, dtype = sys.argv[1:]

def memory_kb(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))

ApolloForCausalLM.from_pretrained(tiny, dtype=dtype)  # what any loading costs
before_kb = memory_kb("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forgets the highest value so far
model = ApolloForCausalLM.from_pretrained(folder, dtype=dtype)
weights = sum(t.nbytes for t in {id(t): t for t in model.parameters()}.values())
print(json.dumps([(memory_kb("VmHWM") - before_kb) * 1024, weights]))
"""


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with a wider language model: about 330 MB as float32, one file."""
    from apollo.model.config import ApolloConfig

    values = checkpoint.read_configs(TINY)
    wide = {"num_hidden_layers": 30, "intermediate_size": 13_000, "vocab_size": 100_000}
    values["llm_cfg"] = {**values["llm_cfg"], **wide}
    torch.manual_seed(0)
    model = ApolloForCausalLM(ApolloConfig(**values))
    model.tokenizer = ApolloForCausalLM.from_pretrained(TINY).tokenizer
    folder = tmp_path_factory.mktemp("large")
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured on Linux only")
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=["as stored", "widened"])
def test_memory_while_loading_is_that_of_the_weights(
    large_folder: Path, tmp_path: Path, stored: torch.dtype
) -> None:
    folder = large_folder
    if stored == torch.bfloat16:
        folder = tmp_path / "half"
        ApolloForCausalLM.from_pretrained(large_folder, dtype=stored).save_pretrained(folder)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(TINY), str(folder), "float32"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    peak_bytes, weights_bytes = json.loads(done.stdout)
    assert weights_bytes > 300e6
    assert peak_bytes > 0.95 * weights_bytes  # else it was not measured
    assert peak_bytes < 1.15 * weights_bytes
