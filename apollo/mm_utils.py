"""The names scripts written for the original import; a shell around the modules that do the work.

In:  what the original's functions took.  Out: what they returned: pixels as bfloat16 and prompt
     text from the loader, ids from the tokenizer, a stop test for `generate`.
Odd: results are the original's, faults included where a recorded result shows them; each is
     named beside the line that keeps it. New code calls `apollo.load` and needs none of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from transformers import StoppingCriteria

from apollo.constants import IMAGE_TOKEN, VIDEO_TOKEN, X_TOKEN_INDEX
from apollo.errors import SettingError
from apollo.model.prompt import image_block, tokenize, video_block
from apollo.video.clips import Clip, original_clip_indices
from apollo.video.picture import read_image
from apollo.video.reader import probe, read_clips

Transform: TypeAlias = Callable[[np.ndarray], torch.Tensor]  # (T, H, W, 3) uint8 -> pixels


class ApolloMMLoader:
    """Reads a video or an image into one bfloat16 tensor per tower and its prompt text.

    Holds every clip's pixels, as its contract asks, but full-resolution frames of one clip only.
    """

    def __init__(
        self,
        vision_processors: Sequence[Transform],
        clip_duration: float,
        frames_per_clip: int,
        clip_sampling_ratio: float = 0.65,
        model_max_length: int = 32768,
        device: torch.device | str = "cpu",
        num_repeat_token: int = 32,
        video_decode_backend: str = "auto",
    ) -> None:
        self.vision_processors = vision_processors
        self.clip_duration = clip_duration
        self.frames_per_clip = frames_per_clip
        self.clip_sampling_ratio = clip_sampling_ratio
        self.model_max_length = model_max_length
        self.device = device
        self.num_repeat_token = num_repeat_token
        self.video_decode_backend = video_decode_backend

    def load_video(self, video_path: str | os.PathLike[str]) -> tuple[list[torch.Tensor], str]:
        """Per tower (N, ...) pixels, and the text with N * num_repeat_token slots."""
        info = probe(video_path)
        duration_s = info.num_frames / info.header_fps  # the original knew no other time
        ids, times = original_clip_indices(
            duration_s,
            info.num_frames,
            info.header_fps,
            self.clip_duration,
            self.frames_per_clip,
            self._sampling_ratio(duration_s),
        )
        clips = [Clip(tuple(i), *t) for i, t in zip(ids, times, strict=True)]
        text = video_block(
            clips,
            duration_s=duration_s,
            clip_duration_s=self.clip_duration,
            tokens_per_clip=self.num_repeat_token,
        )
        frames = read_clips(video_path, clips, backend=self.video_decode_backend)
        return self._pixels(frames, len(clips)), text

    def load_image(self, image_path: str | os.PathLike[str]) -> tuple[list[torch.Tensor], str]:
        """An image as one clip of a repeated frame. The original left this unfinished."""
        frame = read_image(image_path)  # (H, W, 3)
        still = np.broadcast_to(frame, (self.frames_per_clip, *frame.shape))  # (T, H, W, 3)
        return self._pixels([still], 1), image_block(self.num_repeat_token)

    def _sampling_ratio(self, duration_s: float) -> float:
        """The share of all clips whose tokens fit the budget (docs/original.md#19)."""
        all_tokens = duration_s * self.num_repeat_token / self.clip_duration
        return min(1.0, self.model_max_length * self.clip_sampling_ratio / all_tokens)

    def _pixels(self, clips: Iterable[np.ndarray], num_clips: int) -> list[torch.Tensor]:
        stacks: list[torch.Tensor] = []
        for position, frames in enumerate(clips):  # (T, H, W, 3), one clip at a time
            pixels = [transform(frames) for transform in self.vision_processors]
            if not stacks:  # filled in place: stacking at the end would hold everything twice
                stacks = [
                    torch.empty((num_clips, *p.shape), dtype=torch.bfloat16, device=self.device)
                    for p in pixels
                ]
            for stack, one in zip(stacks, pixels, strict=True):
                stack[position].copy_(one)
        return stacks


class KeywordsStoppingCriteria(StoppingCriteria):
    """Stops a row of `generate` when its answer ends with a keyword; one bool per row, (B,).

    The original gave one bool for the batch: all of these. Kept from it (docs/original.md#30): the
    prompt's length is subtracted from an answer that does not contain the prompt, so the text
    search sees nothing until the answer is longer than half the prompt. The id comparison, which
    finds `<|im_end|>`, is not affected.
    """

    def __init__(self, keywords: Sequence[str], tokenizer: Any, input_ids: torch.Tensor) -> None:
        self.keywords = [keyword for keyword in keywords if keyword]  # "" would stop at once
        self.tokenizer = tokenizer
        self.start_len = input_ids.shape[1]
        self.keyword_ids = [
            torch.tensor(tokenizer(keyword, add_special_tokens=False).input_ids)
            for keyword in self.keywords
        ]
        self.max_keyword_len = max((len(ids) for ids in self.keyword_ids), default=0)

    def __call__(
        self, output_ids: torch.Tensor, scores: Any = None, **kwargs: Any
    ) -> torch.BoolTensor:
        found = [self._ends_here(row) for row in output_ids]
        return torch.tensor(found, dtype=torch.bool, device=output_ids.device)  # type: ignore[return-value]

    def _ends_here(self, row: torch.Tensor) -> bool:
        for ids in self.keyword_ids:
            tail = row[-len(ids) :]
            # A row of one token is compared with each token of the keyword, as the original's
            # broadcast did; other rows shorter than the keyword raised there and are no match.
            if len(tail) in (1, len(ids)) and bool((tail == ids.to(row.device)).all()):
                return True
        width = min(len(row) - self.start_len, self.max_keyword_len)
        text = self.tokenizer.decode(row[-width:], skip_special_tokens=True)
        return any(keyword in text for keyword in self.keywords)


def tokenizer_mm_token(
    prompt: str, tokenizer: Any, return_tensors: str | None = None
) -> list[int] | torch.Tensor:
    """Ids of `prompt` with X_TOKEN_INDEX at each placeholder: a list, or (S,) with "pt"."""
    if return_tensors not in (None, "pt"):
        raise SettingError(f'return_tensors is {return_tensors!r}; choose "pt" or None.')
    ids = tokenize(prompt, tokenizer)
    if prompt.startswith((VIDEO_TOKEN, IMAGE_TOKEN)):
        # The original took the first text token behind the last placeholder of such a prompt for
        # a second "beginning of text" and dropped it (docs/original.md#29).
        last_slot = len(ids) - 1 - ids[::-1].index(X_TOKEN_INDEX)
        del ids[last_slot + 1 : last_slot + 2]
    return ids if return_tensors is None else torch.tensor(ids, dtype=torch.long)


def get_model_name_from_path(model_path: str) -> str:
    """The folder's name; a `checkpoint-*` folder is named together with its parent."""
    *parents, name = model_path.strip("/").split("/")
    return f"{parents[-1]}_{name}" if parents and name.startswith("checkpoint-") else name
