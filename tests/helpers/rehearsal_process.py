"""Trains an adapter on nano for a step, in one of several processes: `FILE DATA OUTPUT`.

Few videos are drawn, and the process that draws them says so.
"""

import sys
from pathlib import Path

from apollo.adapters.files import AdapterConfig
from apollo.cartoon import rehearsal
from apollo.train import lora

write_video = rehearsal.write_video
data, output = map(Path, sys.argv[1:])


def drawing(folder: Path) -> Path:
    if not (folder / rehearsal.DATA).exists():
        sys.stderr.write("drawn\n")
    return rehearsal.write_rehearsal(folder, 2)


lora.write_rehearsal = drawing
adapter = AdapterConfig(rank=2, targets=("llm",))
settings = lora.LoraSettings(data, output, adapter, steps=1, batch=2, rehearse=0.5)
assert lora.train_adapter(settings)
