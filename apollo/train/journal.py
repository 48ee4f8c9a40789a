"""What a person sees of a training run: a bar, a table of losses, TensorBoard and a plot.

In:  numbers of single steps.  Out: `journal.jsonl`, a `tensorboard` folder and `loss.png`.
Odd: a resumed run drops the rows behind the step it resumes from, so no step is there twice.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apollo.data.whole_file import write_text

log = logging.getLogger(__name__)

SMOOTH_SHARE = 0.02  # of the run is averaged in the plot's thick line


class Journal:
    """Writes one stage's numbers. Only one process of a run has one."""

    def __init__(self, folder: Path, name: str, num_steps: int, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.folder, self.name = folder / "journal.jsonl", folder, name
        rows = [row for row in self.rows() if row["step"] <= first_step]
        write_text(self.file, "".join(json.dumps(row) + "\n" for row in rows))
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)
        self.bar = tqdm(
            total=num_steps, initial=first_step, desc=name, unit="step", dynamic_ncols=True
        )

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far; a last line that a kill has torn is left out."""
        rows = []
        if self.file.exists():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError:
                    log.info("A torn line of %s is left out.", self.file)
        return rows

    def step(self) -> None:
        """One more step is done. The bar shows steps per second and the time that remains."""
        self.bar.update()

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """The numbers of one step, as a row, in TensorBoard and beside the bar."""
        with open(self.file, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": step, **numbers}) + "\n")
        for key, value in numbers.items():
            self.board.add_scalar(f"{self.name}/{key}", value, step)
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in numbers.items() if k != "lr"})

    def close(self) -> None:
        self.bar.close()
        self.board.close()
        rows = self.rows()
        if rows:
            plot(rows, self.folder / "loss.png", self.name)


def plot(rows: list[dict[str, Any]], file: Path, title: str) -> None:
    """The training loss, thin as it was and thick as an average, and the validation loss."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    train = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    if train:
        steps, losses = zip(*train, strict=True)
        axes.plot(steps, losses, color="tab:blue", alpha=0.3, linewidth=0.8)
        window = max(1, round(SMOOTH_SHARE * len(losses)))
        last = (losses[max(0, i - window) : i] for i in range(1, len(losses) + 1))
        smooth = [sum(part) / len(part) for part in last]
        axes.plot(steps, smooth, color="tab:blue", label="training")
    checked = [(row["step"], row["validation_loss"]) for row in rows if "validation_loss" in row]
    if checked:
        axes.plot(*zip(*checked, strict=True), color="tab:orange", marker="o", label="validation")
    axes.set(title=title, xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
