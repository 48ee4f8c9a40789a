"""Features of frozen towers, kept on disk: every clip is decoded and encoded once.

In:  a record with a video or picture, the clips to read, a model whose towers do not change.
Out: a `Seen`: tower features (N, P, Dv) before the connector, and the times of the clips, so that
     the prompt can be written without opening the video.
Odd: names are digests of all that decides the features, so nothing is ever out of date. Several
processes may share a folder: a file appears whole or not at all, and a broken one is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from apollo.data.whole_file import whole_file
from apollo.errors import SettingError, VideoError
from apollo.model.causal_lm import ApolloForCausalLM, Pixels
from apollo.model.clip_cache import ClipCache
from apollo.model.visual_tokens import FRAMES_PER_IMAGE, Viewer
from apollo.train.records import Record
from apollo.train.resume import content_digest
from apollo.video.clips import Clip
from apollo.video.reader import Video

LAYOUT = 2  # part of every name; raise it when features would come out differently


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
            return torch.cat([towers(towers.normalised(chunk, weight.dtype)) for chunk in chunks])
    finally:
        towers.train(was_training)


def read_pixels(
    model: ApolloForCausalLM, record: Record, clips: Sequence[Clip], at_once: int | None = None
) -> Iterator[Pixels]:
    """Pixels of a record's picture, which is one clip, or of the planned clips of its video.

    At most `at_once` clips at a time. Each is shrunk as soon as it is decoded: at full size there
    is one in memory.

    Raises:
        VideoError: the file cannot be used.
    """
    viewer = Viewer(model, ClipCache(max_bytes=0))
    assert record.media is not None
    if record.is_image:
        yield viewer.picture(record.media)[1]
        return
    with Video(record.media) as video:
        for group in viewer.pixels(video, clips, exact=True, at_once=at_once or len(clips)):
            yield group.pixels
        video.tell()


class FeatureCache:
    """A folder of features of one model's towers, which must stay as they are meanwhile."""

    def __init__(self, folder: Path, model: ApolloForCausalLM) -> None:
        self.folder = folder
        self.model = model
        self.towers = _identity(model)

    def key(self, record: Record, clips: Sequence[Clip]) -> str:
        """The name of what the towers see of these clips of a record's file; 64 hex digits.

        Raises:
            VideoError: the file cannot be read.
        """
        assert record.media is not None
        try:
            content = content_digest(record.media)
        except OSError as error:
            raise VideoError(
                f"{record.media} cannot be read ({error.strerror}); check the path."
            ) from error
        frames = FRAMES_PER_IMAGE if record.is_image else [clip.frame_ids for clip in clips]
        parts = [LAYOUT, self.towers, content, frames]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

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

    def see(self, record: Record, clips: Sequence[Clip]) -> Seen:
        """What the towers see of clips: kept from before, or decoded, encoded and kept now.

        Features are on the CPU. At most `encode_batch_size` clips are encoded at once.

        Raises:
            VideoError: the file cannot be used.
            SettingError: the folder cannot be read or written.
        """
        key = self.key(record, clips)
        seen = self.get(key)
        if seen is None:
            groups = read_pixels(self.model, record, clips, self.model.config.encode_batch_size)
            features = torch.cat([encode_features(self.model, pixels).cpu() for pixels in groups])
            times = tuple((clip.start_s, clip.end_s) for clip in clips)
            duration_s = 0.0 if record.info is None else record.info.duration_s
            seen = Seen(features, times, duration_s)
            self.put(key, seen)
        return seen

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


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
