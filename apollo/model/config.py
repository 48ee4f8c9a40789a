"""What a checkpoint stores: every number of the model, read from its files, never assumed.

`ApolloConfig` mirrors the released root `config.json`. The nested parts stay plain dicts under
their released names (`llm_cfg`, `vision_tower_cfg`, `mm_connector_cfg`), because people's scripts
index them; the properties below are what our own code reads.
"""

from __future__ import annotations

import inspect
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from apollo.errors import CheckpointError

DEFAULT_ENCODE_BATCH_SIZE = 25  # clips per tower pass; the result is the same (docs/original.md#15)
NOT_CHANGES = ("transformers_version", "_name_or_path", "model_type", "architectures")
DEFAULT_CONTEXT = 2048  # tokens, for a checkpoint that names no limit anywhere


def _laid_over(values: Any, mine: Any, theirs: Any) -> Any:
    if mine == theirs:
        return values
    if not isinstance(mine, dict) or not isinstance(values, dict):
        return mine
    theirs = theirs if isinstance(theirs, dict) else {}
    changed = {k: _laid_over(values.get(k), v, theirs.get(k)) for k, v in mine.items()}
    return {**values, **changed}


class ApolloConfig(PretrainedConfig):
    """The root configuration of an Apollo checkpoint.

    `vision_tower_cfg["configs"]` holds one dict per tower name, the content of
    `vision_tower/<name>/config.json`; reading a folder fills it in.
    """

    model_type = "apollo"

    def __init__(
        self,
        llm_cfg: dict[str, Any] | None = None,
        vision_tower_cfg: dict[str, Any] | None = None,
        mm_connector_cfg: dict[str, Any] | None = None,
        clip_duration: float = 2,
        encode_batch_size: int = DEFAULT_ENCODE_BATCH_SIZE,
        mm_vision_select_layer: int = -2,
        mm_vision_select_feature: str = "patch",
        model_max_length: int | None = None,
        use_mm_start_end: bool = False,
        **kwargs: Any,
    ) -> None:
        self.llm_cfg = llm_cfg or {}
        self.vision_tower_cfg = vision_tower_cfg or {}
        self.mm_connector_cfg = mm_connector_cfg or {}
        self.clip_duration = clip_duration
        self.encode_batch_size = encode_batch_size or DEFAULT_ENCODE_BATCH_SIZE
        self.mm_vision_select_layer = mm_vision_select_layer
        self.mm_vision_select_feature = mm_vision_select_feature
        self.use_mm_start_end = use_mm_start_end
        self.model_max_length = model_max_length or self.llm_cfg.get("model_max_length")
        super().__init__(**kwargs)

    def changes_laid_over(self, values: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
        """`values` with what this config says differently from `stored`, the root config.json."""
        mine, theirs = (
            {k: v for k, v in config.to_dict().items() if k not in NOT_CHANGES}
            for config in (self, ApolloConfig(**stored))
        )
        return _laid_over(values, mine, theirs)

    @property
    def tower_names(self) -> list[str]:
        """Towers in the order of the pixel list and of the fused channels."""
        names = self.vision_tower_cfg.get("vision_towers")
        if not names:
            raise CheckpointError(
                "The checkpoint names no vision towers; its vision_tower/config.json should list "
                "them under vision_towers."
            )
        return list(names)

    def tower_config(self, name: str) -> dict[str, Any]:
        try:
            return self.vision_tower_cfg["configs"][name]
        except KeyError:
            raise CheckpointError(
                f"The checkpoint has no config for its vision tower {name!r}; "
                f"vision_tower/{name}/config.json should hold it."
            ) from None

    @property
    def tokens_per_clip(self) -> int:
        """Visual tokens of one clip (K)."""
        return self.mm_connector_cfg["num_output_tokens"]

    @property
    def clip_duration_s(self) -> float:
        return self.clip_duration

    @property
    def max_context_tokens(self) -> int:
        """The longest prompt plus answer the LLM was made for and `forward` does not cut."""
        limits = (
            self.model_max_length,
            self.llm_cfg.get("max_position_embeddings"),
            self.train_length_limit,
        )
        return min((int(limit) for limit in limits if limit), default=DEFAULT_CONTEXT)

    @property
    def train_length_limit(self) -> int | None:
        """Longer rows are cut in `forward`, as in the original (docs/original.md#14)."""
        return self.llm_cfg.get("tokenizer_model_max_length")

    @property
    def padding_side(self) -> str:
        return self.llm_cfg.get("tokenizer_padding_side") or "right"


CONFIG_NAMES = [n for n in inspect.signature(ApolloConfig).parameters if n != "kwargs"]
AutoConfig.register(ApolloConfig.model_type, ApolloConfig, exist_ok=True)
