"""transformers' Trainer and peft's wrapper, used as their documentation does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import TINY
from transformers import AutoModelForCausalLM
from transformers.trainer import load_sharded_checkpoint

from apollo.errors import CheckpointError, SettingError
from apollo.model.causal_lm import ApolloForCausalLM

pytest.importorskip("peft")
pytest.importorskip("accelerate")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")]

IDS = torch.tensor([[5, 6, 7, 8, 9]])
GREEDY = {"do_sample": False, "max_new_tokens": 4}


class Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        ids = torch.arange(5 + number, 12 + number)
        return {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}


def tiny() -> Any:
    return AutoModelForCausalLM.from_pretrained(TINY)


def with_lora(model: Any, task: str | None = "CAUSAL_LM") -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    return get_peft_model(
        model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type=task)
    )


def train(model: Any, folder: Path, resume: bool = False, **settings: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        save_strategy="steps",
        save_steps=2,
        disable_tqdm=True,
        **{"max_steps": 4, "learning_rate": 1e-3, **settings},
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=Rows(), eval_dataset=Rows())
    trainer.train(resume_from_checkpoint=resume or None)
    return trainer


def assert_equal(one: Any, other: Any) -> None:
    theirs = other.state_dict()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


# ---- Trainer -------------------------------------------------------------------------------------


def test_row_61_a_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole, rest = tiny(), tiny()
    train(whole, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "rest/checkpoint-2")
    trainer = train(rest, tmp_path / "rest", resume=True)
    assert trainer.state.global_step == 4
    assert_equal(whole, rest)
    assert_equal(ApolloForCausalLM.from_pretrained(tmp_path / "whole/checkpoint-4"), whole)
    trainer.save_model(str(tmp_path / "final"))
    assert_equal(ApolloForCausalLM.from_pretrained(tmp_path / "final"), whole)


def test_row_61_the_best_checkpoint_is_loaded(tmp_path: Path) -> None:
    model = tiny()
    evaluating = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    # the largest loss is "best", so that it is not the last
    trainer = train(model, tmp_path, **evaluating, greater_is_better=True)
    best = trainer.state.best_model_checkpoint
    assert best.endswith("checkpoint-2")
    assert_equal(ApolloForCausalLM.from_pretrained(best), model)


@pytest.mark.parametrize("size", ["400KB", "1GB"])
def test_row_61_the_files_of_the_parts_are_loaded_one_by_one(tmp_path: Path, size: str) -> None:
    model, other = tiny(), tiny()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    model.save_pretrained(tmp_path, max_shard_size=size)
    result = load_sharded_checkpoint(other, tmp_path)
    assert not result.missing_keys and not result.unexpected_keys
    assert_equal(other, model)


def test_row_61_a_state_dict_of_the_whole_model_is_taken_as_before() -> None:
    model = tiny()
    state_dict = model.state_dict()
    assert not model.load_state_dict(state_dict).missing_keys
    state_dict.pop("llm.model.norm.weight")
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(state_dict)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        model.load_state_dict({"norm.weight": torch.zeros(64)})


def test_row_61_names_that_fit_two_parts_are_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    twin = [part._replace(path=f"other.{part.path}") for part in model._parts()]
    parts = [*model._parts(), *twin]
    monkeypatch.setattr(model, "_parts", lambda: parts)
    with pytest.raises(CheckpointError, match="fit two parts of the model"):
        model.load_state_dict({"model.norm.weight": torch.zeros(64)}, strict=False)


# ---- peft ----------------------------------------------------------------------------------------


def test_row_58_lora_for_a_causal_lm_answers_trains_and_is_merged(tmp_path: Path) -> None:
    from peft import PeftModel

    bare = tiny().generate(IDS, **GREEDY).tolist()
    model = with_lora(tiny())
    for call in ({"input_ids": IDS}, {"inputs": IDS}):
        assert model.generate(**call, **GREEDY).tolist() == bare
    trainer = train(model, tmp_path / "run", learning_rate=0.05)
    changed = model.generate(IDS, **GREEDY).tolist()
    assert trainer.state.global_step == 4 and changed != bare
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(tiny(), tmp_path / "adapter")
    assert again.generate(input_ids=IDS, **GREEDY).tolist() == changed
    again.merge_and_unload().save_pretrained(tmp_path / "merged")
    merged = ApolloForCausalLM.from_pretrained(tmp_path / "merged")
    assert merged.generate(IDS, **GREEDY).tolist() == changed


def test_row_58_training_an_adapter_resumes(tmp_path: Path) -> None:
    train(with_lora(tiny()), tmp_path)
    trainer = train(with_lora(tiny()), tmp_path, resume=True, max_steps=6)
    assert trainer.state.global_step == 6


def test_row_58_prompt_tuning_is_refused_where_it_would_have_no_effect() -> None:
    from peft import PromptTuningConfig, get_peft_model

    shape = {"num_layers": 2, "token_dim": 64, "num_attention_heads": 4, "num_virtual_tokens": 3}
    base = tiny()
    model = get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", **shape))
    with pytest.raises(SettingError, match="prompt tuning cannot answer here; train a LoRA"):
        model.generate(input_ids=IDS, **GREEDY)
    assert base.generate(IDS, **GREEDY).shape[0] == 1  # the model below still does
