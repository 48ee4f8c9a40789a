"""Features of frozen towers, kept on disk: every clip is decoded and encoded once.

In:  a record with a video or picture, how densely it is read, a model whose towers do not change.
Out: a `Seen`: tower features (N, P, Dv) before the connector, and the times of the clips, so that
     the prompt can be written without opening the video.
Odd: names are digests of all that decides the features, so nothing is ever out of date. Several
processes may share a folder: a file appears whole or not at all, and a broken one is made again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from apollo.data.whole_file import whole_file
from apollo.errors import SettingError, VideoError
from apollo.model.causal_lm import ApolloForCausalLM, Pixels
from apollo.model.token_cache import TokenCache, file_digest
from apollo.model.visual_tokens import FRAMES_PER_IMAGE, Viewer
from apollo.settings import Sampling
from apollo.train.records import Record
from apollo.video.clips import Clip, clip_budget
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


def clip_pixels(model: ApolloForCausalLM, clips: Iterable[np.ndarray]) -> Pixels:
    """Frames of clips, each (T, H, W, 3) -> pixels, one tensor (N, ...) per tower; [] for no clips.

    Clip by clip: no two of them are in memory at full size.
    """
    transforms = model.vision_tower.vision_processor
    shrunk = [[transform(frames) for transform in transforms] for frames in clips]
    return [torch.stack(clips_of_tower) for clips_of_tower in zip(*shrunk, strict=True)]


def record_pixels(model: ApolloForCausalLM, record: Record, clips: Sequence[Clip]) -> Pixels:
    """Pixels of a record's picture, which is one clip, or of the planned clips of its video.

    Raises:
        VideoError: the file cannot be used.
    """
    return clip_pixels(model, _frames(record, clips))


def _frames(record: Record, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
    assert record.media is not None
    if record.is_image:
        return iter([np.repeat(read_image(record.media)[None], FRAMES_PER_IMAGE, axis=0)])
    return read_clips(record.media, clips)


class FeatureCache:
    """A folder of features of one model's towers, which must stay as they are meanwhile."""

    def __init__(self, folder: Path, model: ApolloForCausalLM) -> None:
        self.folder = folder
        self.model = model
        self.towers = _identity(model)
        self._digests: dict[tuple[str, int, int], str] = {}

    def key(self, record: Record, sampling: Sampling) -> str:
        """The name of what the towers see of a record's file, read so; 64 hex digits.

        The record's range goes before that of `sampling`.

        Raises:
            VideoError: the file cannot be read.
            ValueError: the record is one without a video or picture.
        """
        if record.media is None:
            raise ValueError(f"{record.where} has no video or picture")
        how: dict[str, Any] = {"image": FRAMES_PER_IMAGE}
        if not record.is_image:
            sampling = _of_record(sampling, record)
            config = self.model.config
            room = clip_budget(config.max_context_tokens, config.tokens_per_clip)
            how = asdict(sampling)
            how["clip_duration_s"] = float(sampling.clip_duration_s or config.clip_duration_s)
            how["max_clips"] = min(sampling.max_clips or room, room)  # as a Viewer plans
            how["start_s"] = float(sampling.start_s or 0.0)
            how["end_s"] = None if sampling.end_s is None else float(sampling.end_s)
        parts = [LAYOUT, self.towers, self._digest(record.media), how]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> Seen | None:
        """What was put under the key; None if there is nothing, or a file that is not whole.

        Raises:
            SettingError: the folder cannot be read.
        """
        try:
            with safe_open(self._file(key), framework="pt") as file:
                times = json.loads((file.metadata() or {})["times"])
                clips = tuple((float(start_s), float(end_s)) for start_s, end_s in times["clips"])
                return Seen(file.get_tensor("features"), clips, float(times["duration_s"]))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (SafetensorError, KeyError, TypeError, ValueError):
            return None  # it is made again, which also mends the file
        except OSError as error:
            raise self._fault("read", error) from error

    def put(self, key: str, seen: Seen) -> None:
        """Keeps it, instead of what was there.

        Raises:
            SettingError: the folder cannot be written.
        """
        times = json.dumps({"clips": seen.clips, "duration_s": seen.duration_s})
        features = seen.features.detach().cpu().contiguous()
        try:
            with whole_file(self._file(key)) as growing:
                save_file({"features": features}, growing, metadata={"times": times})
        except (OSError, SafetensorError) as error:
            raise self._fault("kept", error) from error

    def _fault(self, what: str, error: Exception) -> SettingError:
        return SettingError(
            f"The features cannot be {what} in {self.folder} "
            f"({getattr(error, 'strerror', None) or error}); make room and give this user access "
            "there, or train with feature_cache: false."
        )

    def see(self, record: Record, sampling: Sampling) -> Seen:
        """What the towers see of a file: kept from before, or decoded, encoded and kept now.

        Features are on the CPU. At most `encode_batch_size` clips are encoded at once.

        Raises:
            VideoError: the file cannot be used.
            SettingError: the folder cannot be read or written.
        """
        key = self.key(record, sampling)
        seen = self.get(key)
        if seen is None:
            seen = self._encode(record, sampling)
            self.put(key, seen)
        return seen

    def _encode(self, record: Record, sampling: Sampling) -> Seen:
        clips: list[Clip] = []
        duration_s = 0.0
        if not record.is_image:
            assert record.media is not None
            info = record.info or probe(record.media)
            viewer = Viewer(self.model, TokenCache(max_bytes=0))
            clips, duration_s = viewer.plan(info, _of_record(sampling, record)), info.duration_s
        frames = _frames(record, clips)
        parts: list[Tensor] = []
        # until there are no more: at its end the reader tells what was lost
        while pixels := clip_pixels(
            self.model, itertools.islice(frames, self.model.config.encode_batch_size)
        ):
            parts.append(encode_features(self.model, pixels).cpu())
        times = tuple((clip.start_s, clip.end_s) for clip in clips)
        return Seen(torch.cat(parts), times, duration_s)

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


def _of_record(sampling: Sampling, record: Record) -> Sampling:
    if record.start_s is None and record.end_s is None:
        return sampling
    return replace(sampling, start_s=record.start_s, end_s=record.end_s)


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
