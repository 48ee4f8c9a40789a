"""Where the LLM should look while it answers: a second loss, on its attention.

In:  the attention of every layer, and what each token should look at (see pointing.py).
Out: a loss on one attention head of some layers.
Odd: from the answers alone a small LLM first learns what is likely, and needs very long to find
that a question about the cat is answered by the cat's clips. Told where to look, it answers such
questions within a few hundred steps. What fits nothing in the video looks at the row's first
token, so that "No." is a look-up as well. Nothing of this is left in the trained model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# what looks at what -> the layer and the head that is told
BELONGS = "belongs"  # a clip looks at its time, an option at its letter
BEFORE = "before"  # a clip looks at the clip before it: what comes next can then be looked up
READ = "read"  # an answer looks at what the question names, what follows at what it told
CLAIM = "claim"  # yes or no: and at what the question claims of it
CLIP = "clip"  # then at the clips that it is about
SLOT = "slot"  # then, word by word, at the tokens that say the word, or at the time it tells
SAME = "same"  # what follows from words looks for the same in the question: option or claim
EYES = {
    BELONGS: (0, 0), BEFORE: (1, 0), READ: (1, 1), CLAIM: (1, 2), CLIP: (2, 0), SLOT: (3, 0),
    SAME: (4, 0),
}  # fmt: skip
NOWHERE = (0, 0)  # first and last place: the row's first token
LEAST_SHARE = 1e-6  # of attention, so that its logarithm is finite


def looking_loss(attentions: Sequence[Tensor], rows: dict[str, Tensor]) -> Tensor:
    """How little attention lies where it should: attentions (B, H, S, S) per layer.

    For each eye the mean over what should be seen and over what is nowhere, which is rarer, weigh
    the same; summed over the eyes. Of the places between the first and
    the last to look at, those count that are visual tokens if the first is one, else text.
    """
    looks, clips, slots = rows["looks"], rows["clips"], rows["slots"]  # (A, 7), (B, S), (B, S)
    place = torch.arange(clips.shape[1], device=clips.device)
    total = torch.zeros((), device=clips.device)
    for layer, head in EYES.values():
        told = looks[(looks[:, 1] == layer) & (looks[:, 2] == head)]
        row, _, _, at, first, last, chosen = told.unbind(1)  # (A,) each
        if not len(row):
            continue
        shown = clips[row] > 0  # (A, S)
        right = (place >= first[:, None]) & (place <= last[:, None])
        right &= shown == shown.gather(1, first[:, None])
        right &= (chosen == 0)[:, None] | (slots[row] & chosen[:, None]).bool()
        attention = attentions[layer][row, head, at].float()  # (A, S)
        losses = -((attention * right).sum(1) + LEAST_SHARE).log()  # (A,)
        nowhere = (first == NOWHERE[0]) & (last == NOWHERE[1])
        groups = [losses[group] for group in (nowhere, ~nowhere) if bool(group.any())]
        total = total + torch.stack([group.mean() for group in groups]).mean()
    return total
