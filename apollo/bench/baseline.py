"""The plain way, as the original goes it: everything whole, one step after the other, every time.

In:  a video, its planned clips and a conversation.  Out: the pixels and answers that Apollo gives.
Odd: kept slow on purpose. Every frame is decoded at full size, all wanted ones are held at once,
each is padded to a square and processed for each tower by the libraries the models were made with,
all clips are encoded and the whole prompt is read. Nothing is kept for the next question.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.prompt import Message, build_prompt, tokenize, video_block
from apollo.video.clips import Clip
from apollo.video.reader import probe
from apollo.vision.transforms import IMAGENET_MEAN, IMAGENET_STD


def decoded(path: str, frame_ids: Sequence[int]) -> np.ndarray:
    """The frames (F, H, W, 3) uint8, by decord where it is installed."""
    if importlib.util.find_spec("decord") is not None:
        import decord

        return decord.VideoReader(path).get_batch(list(frame_ids)).asnumpy()
    import av

    wanted, frames = set(frame_ids), {}
    with av.open(path) as file:
        file.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(file.decode(video=0)):
            if number in wanted:
                frames[number] = frame.to_ndarray(format="rgb24")
    return np.stack([frames[number] for number in frame_ids])


def padded(frames: np.ndarray, mean: Sequence[float]) -> np.ndarray:
    """(T, H, W, 3) -> (T, side, side, 3), in the middle of the mean colour."""
    count, height, width, _ = frames.shape
    side = max(height, width)
    square = np.full((count, side, side, 3), [int(value * 255) for value in mean], np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = frames
    return square


def siglip_pixels(frames: np.ndarray, size: int, mean: Sequence[float], std: Any) -> Tensor:
    """(T, H, W, 3) uint8 -> (T, 3, S, S), by transformers' processor."""
    processor = SiglipImageProcessorPil(
        size={"height": size, "width": size}, image_mean=list(mean), image_std=list(std)
    )
    pictures = list(padded(frames, mean))
    return processor.preprocess(pictures, return_tensors="pt")["pixel_values"]


def internvideo2_pixels(frames: np.ndarray, size: int) -> Tensor:
    """(T, H, W, 3) uint8 -> (3, T, S, S), by OpenCV's bilinear resize."""
    small = [cv2.resize(frame, (size, size)) for frame in padded(frames, IMAGENET_MEAN)]
    values = (np.stack(small) / 255 - IMAGENET_MEAN) / IMAGENET_STD  # (T, S, S, 3)
    return torch.from_numpy(values).permute(3, 0, 1, 2).float()


def pixels(path: str, clips: Sequence[Clip], transforms: Sequence[Any]) -> list[Tensor]:
    """The normalised pixels (N, ...) of all clips, one tensor a tower. Only sizes and colours are
    taken from `transforms`."""
    frame_ids = sorted({number for clip in clips for number in clip.frame_ids})
    frames = decoded(path, frame_ids)  # (F, H, W, 3)
    place = {number: row for row, number in enumerate(frame_ids)}
    towers: list[list[Tensor]] = [[] for _ in transforms]
    for clip in clips:
        shown = frames[[place[number] for number in clip.frame_ids]]  # (T, H, W, 3)
        for tower, transform in zip(towers, transforms, strict=True):
            if transform.trailing_dims == 2:
                values = (transform.image_size, transform.mean, transform.std)
                tower.append(siglip_pixels(shown, *values))
            else:
                tower.append(internvideo2_pixels(shown, transform.image_size))
    return [torch.stack(tower) for tower in towers]


def prompt_ids(
    model: ApolloForCausalLM, path: str, clips: Sequence[Clip], messages: Sequence[Message]
) -> list[int]:
    """The prompt (S,), with one slot per visual token."""
    block = video_block(
        clips,
        duration_s=probe(path).duration_s,
        clip_duration_s=model.config.clip_duration_s,
        tokens_per_clip=model.config.tokens_per_clip,
    )
    return tokenize(build_prompt(messages, block), model.tokenizer)


@torch.inference_mode()
def answer(
    model: ApolloForCausalLM,
    path: str,
    clips: Sequence[Clip],
    messages: Sequence[Message],
    max_new_tokens: int,
) -> str:
    """The greedy answer."""
    assert model.tokenizer is not None
    written = model.generate(
        torch.tensor([prompt_ids(model, path, clips, messages)]),
        vision_input=[pixels(path, clips, model.vision_tower.vision_processor)],
        do_sample=False,
        max_new_tokens=max_new_tokens,
    )
    return str(model.tokenizer.decode(written[0], skip_special_tokens=True)).strip()
