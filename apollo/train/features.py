"""What frozen towers say of a clip, kept on disk: every clip is decoded and encoded once.

In:  a video or picture, how densely it is read, and a model whose towers do not change.
Out: a `Seen`: tower features (N, P, Dv) before the connector, and the times of the clips, so that
     the prompt can be written without opening the video.
Odd: names are digests of all that decides the features, so nothing is ever out of date. Several
processes may share a folder: a file appears whole or not at all, and a broken one is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from apollo.errors import SettingError, VideoError
from apollo.model.causal_lm import ApolloForCausalLM, Pixels
from apollo.model.token_cache import TokenCache, file_digest
from apollo.model.visual_tokens import FRAMES_PER_IMAGE, Viewer
from apollo.settings import Sampling
from apollo.train.records import Record
from apollo.video.clips import clip_budget
from apollo.video.picture import read_image
from apollo.video.reader import probe, read_clips

LAYOUT = 1  # part of every name; raise it when features would come out differently


@dataclass(frozen=True)
class Seen:
    """Features (N, P, Dv) in the towers' dtype; the first and last time of each of the N clips.

    A picture has one clip of features, no times and lasts 0 s.
    """

    features: Tensor
    clips: tuple[tuple[float, float], ...]  # (start_s, end_s)
    duration_s: float


@torch.no_grad()
def encode_features(model: ApolloForCausalLM, pixels: Pixels) -> Tensor:
    """Pixels of N clips, one tensor per tower -> tower features (N, P, Dv), without a gradient.

    The towers are in eval mode and in their own dtype meanwhile, also under autocast, so that the
    features do not depend on where they are made. Chunks of `encode_batch_size` clips.
    """
    towers = model.vision_tower
    weight = next(towers.parameters())
    was_training = towers.training
    towers.eval()
    try:
        with torch.autocast(weight.device.type, enabled=False):
            chunks = zip(*(x.split(model.config.encode_batch_size) for x in pixels), strict=True)
            return torch.cat(
                [towers([x.to(weight.device, weight.dtype) for x in chunk]) for chunk in chunks]
            )
    finally:
        towers.train(was_training)


class FeatureCache:
    """A folder of features of one model's towers, which must stay as they are meanwhile."""

    def __init__(self, folder: Path, model: ApolloForCausalLM) -> None:
        self.folder = folder
        self.model = model
        self.towers = _identity(model)
        self._digests: dict[tuple[str, int, int], str] = {}

    def key(
        self,
        media: Record | Path,
        sampling: Sampling,
        start_s: float | None = None,
        end_s: float | None = None,
        *,
        is_image: bool = False,
    ) -> str:
        """The name of what the towers see of a file, read so; 64 hex digits.

        A range that is given goes before the record's own, and this before that of `sampling`.

        Raises:
            VideoError: the file cannot be read.
            ValueError: the record is one without a video or picture.
        """
        path, is_image, sampling = _what(media, sampling, start_s, end_s, is_image)
        how: dict[str, Any] = {"image": FRAMES_PER_IMAGE}
        if not is_image:
            config = self.model.config
            room = clip_budget(config.max_context_tokens, config.tokens_per_clip)
            how = asdict(sampling)
            how["clip_duration_s"] = float(sampling.clip_duration_s or config.clip_duration_s)
            how["max_clips"] = min(sampling.max_clips or room, room)  # as a Viewer plans
            how["start_s"] = float(sampling.start_s or 0.0)
            how["end_s"] = None if sampling.end_s is None else float(sampling.end_s)
        parts = [LAYOUT, self.towers, self._digest(path), how]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> Seen | None:
        """What was put under the key; None if there is nothing, or nothing that can be read."""
        try:
            with safe_open(self._file(key), framework="pt") as file:
                times = json.loads((file.metadata() or {})["times"])
                clips = tuple((float(start_s), float(end_s)) for start_s, end_s in times["clips"])
                return Seen(file.get_tensor("features"), clips, float(times["duration_s"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None  # it is made again, which also mends the file

    def put(self, key: str, seen: Seen) -> None:
        """Keeps it, instead of what was there.

        Raises:
            SettingError: the folder cannot be written.
        """
        file = self._file(key)
        unfinished = file.with_name(f"{uuid.uuid4().hex}.tmp")
        times = json.dumps({"clips": seen.clips, "duration_s": seen.duration_s})
        features = seen.features.detach().cpu().contiguous()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                save_file({"features": features}, unfinished, metadata={"times": times})
                os.replace(unfinished, file)
            finally:
                with contextlib.suppress(FileNotFoundError):  # it has its name by now
                    unfinished.unlink()
        except (OSError, SafetensorError) as error:
            raise SettingError(
                f"The features cannot be kept in {self.folder} "
                f"({getattr(error, 'strerror', None) or error}); make room there, or train with "
                "feature_cache: false."
            ) from error

    def see(
        self,
        media: Record | Path,
        sampling: Sampling,
        start_s: float | None = None,
        end_s: float | None = None,
        *,
        is_image: bool = False,
    ) -> Seen:
        """What the towers see of a file: kept from before, or decoded, encoded and kept now.

        Features are on the CPU. At most `encode_batch_size` clips are decoded at once.

        Raises:
            VideoError: the file cannot be used.
            SettingError: the folder cannot be written.
        """
        key = self.key(media, sampling, start_s, end_s, is_image=is_image)
        seen = self.get(key)
        if seen is None:
            path, is_image, sampling = _what(media, sampling, start_s, end_s, is_image)
            seen = self._see_image(path) if is_image else self._see_video(path, sampling)
            self.put(key, seen)
        return seen

    def _see_image(self, path: Path) -> Seen:
        frames = np.repeat(read_image(path)[None], FRAMES_PER_IMAGE, axis=0)  # (T, H, W, 3)
        return Seen(self._encode([frames]), (), 0.0)

    def _see_video(self, path: Path, sampling: Sampling) -> Seen:
        info = probe(path)
        clips = Viewer(self.model, TokenCache(max_bytes=0)).plan(info, sampling)
        parts: list[Tensor] = []
        group: list[np.ndarray] = []
        for number, frames in enumerate(read_clips(path, clips), start=1):
            group.append(frames)
            if len(group) == self.model.config.encode_batch_size or number == len(clips):
                parts.append(self._encode(group))
                group = []
        times = tuple((clip.start_s, clip.end_s) for clip in clips)
        return Seen(torch.cat(parts), times, info.duration_s)

    def _encode(self, clips: list[np.ndarray]) -> Tensor:
        """Frames of some clips, each (T, H, W, 3) -> features (N, P, Dv) on the CPU."""
        transforms = self.model.vision_tower.vision_processor
        pixels = [torch.stack([transform(frames) for frames in clips]) for transform in transforms]
        return encode_features(self.model, pixels).cpu()

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _digest(self, path: Path) -> str:
        """Of the file's bytes, read again only when it has changed."""
        try:
            state = path.stat()
            version = (os.path.abspath(path), state.st_size, state.st_mtime_ns)
            if version not in self._digests:
                self._digests[version] = f"{state.st_size} {file_digest(path)}"
        except OSError as error:
            raise VideoError(
                f"{path} cannot be read ({error.strerror}); check the path."
            ) from error
        return self._digests[version]


def _what(
    media: Record | Path,
    sampling: Sampling,
    start_s: float | None,
    end_s: float | None,
    is_image: bool,
) -> tuple[Path, bool, Sampling]:
    """The file, whether it is a picture, and the sampling with the range that counts."""
    if isinstance(media, Record):
        if media.media is None:
            raise ValueError(f"{media.where} has no video or picture")
        start_s = media.start_s if start_s is None else start_s
        end_s = media.end_s if end_s is None else end_s
        is_image = media.is_image
        media = media.media
    if start_s is not None or end_s is not None:
        sampling = replace(sampling, start_s=start_s, end_s=end_s)
    return media, is_image, sampling


def _identity(model: ApolloForCausalLM) -> str:
    """A digest of everything about the towers that decides their features."""
    digest = hashlib.blake2b(digest_size=16)
    names = model.vision_tower.names
    configs = [model.config.tower_config(name) for name in names]
    about = [names, configs, model.config.mm_vision_select_layer]
    digest.update(json.dumps(about, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.vision_tower.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy())
    return digest.hexdigest()
