"""The plain way, as the original goes it: everything whole, one step after the other, every time.

In:  a video, its planned clips and a conversation.  Out: the pixels and answers that Apollo gives.
Odd: kept slow on purpose. Every frame is decoded at full size, all wanted ones are held at once,
padded to squares and processed for each tower by the libraries the models were made with, all clips
are encoded and the whole prompt is read. Nothing is kept for the next question.
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
    """(F, H, W, 3) -> (F, side, side, 3), in the middle of the mean colour."""
    count, height, width, _ = frames.shape
    side = max(height, width)
    square = np.full((count, side, side, 3), [int(value * 255) for value in mean], np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = frames
    return square


def siglip_pixels(squares: np.ndarray, transform: Any) -> Tensor:
    """(F, side, side, 3) uint8 -> (F, 3, S, S), by transformers' processor."""
    size = transform.image_size
    processor = SiglipImageProcessorPil(
        size={"height": size, "width": size},
        image_mean=list(transform.mean),
        image_std=list(transform.std),
    )
    return processor.preprocess(list(squares), return_tensors="pt")["pixel_values"]


def internvideo2_pixels(squares: np.ndarray, transform: Any) -> Tensor:
    """(F, side, side, 3) uint8 -> (F, 3, S, S), by OpenCV's bilinear resize."""
    small = [cv2.resize(square, (transform.image_size,) * 2) for square in squares]
    values = (np.stack(small) / 255 - transform.mean) / transform.std  # (F, S, S, 3)
    return torch.from_numpy(values).permute(0, 3, 1, 2).float()


def pixels(path: str, clips: Sequence[Clip], transforms: Sequence[Any]) -> list[Tensor]:
    """The normalised pixels (N, ...) of all clips, one tensor a tower. Only sizes and colours are
    taken from `transforms`."""
    frame_ids = np.array([clip.frame_ids for clip in clips])  # (N, T)
    frames = decoded(path, frame_ids.ravel().tolist())  # (N*T, H, W, 3)
    towers = []
    for transform in transforms:
        squares = padded(frames, transform.mean)
        is_siglip = transform.trailing_dims == 2  # its frames are pictures of their own
        values = (siglip_pixels if is_siglip else internvideo2_pixels)(squares, transform)
        values = values.unflatten(0, frame_ids.shape)  # (N*T, 3, S, S) -> (N, T, 3, S, S)
        towers.append(values if is_siglip else values.transpose(1, 2))  # -> (N, 3, T, S, S)
    return towers


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
