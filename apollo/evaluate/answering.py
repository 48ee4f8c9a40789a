"""The model's side: some questions in, one answer to each, several at once.

In:  questions with their videos.  Out: the greedy answer to each, the same for every batch size.
Odd: a batch is computed in other sums than a single prompt, so its scores differ in the last
     digits. Where two tokens were so close that this may have chosen between them, the question is
     asked again alone. The visual tokens of a video are kept, so its next questions are cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from apollo.chat import Apollo
from apollo.data.choices import question_text
from apollo.errors import PromptError, VideoError
from apollo.evaluate.protocol import EvalProtocol
from apollo.evaluate.question_file import Question
from apollo.model.fitting import Fitting
from apollo.model.visual_tokens import Selection, Viewer
from apollo.settings import Generation, Sampling
from apollo.video.clips import Clip
from apollo.video.reader import Video

GREY = 128
# score differences that rounding in a batch may make, with room to spare
CLOSE_CALL = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.25}


@dataclass(frozen=True)
class _Prompt:
    ids: list[int]  # (S,)
    visual_tokens: Tensor | None  # (N*K, D)


class Answerer:
    """Answers questions with a loaded model, as an `EvalProtocol` says."""

    def __init__(self, model: Apollo, protocol: EvalProtocol) -> None:
        self.model = model.model
        self.protocol = protocol
        self.answered_alone = 0  # questions of a batch that were asked again
        self._viewer = Viewer(model.model, model.cache)
        self._grey: dict[tuple[int, int], Tensor] = {}  # (height, width) -> (1, K, D)

    def answers(self, questions: Sequence[Question]) -> list[str]:
        """The answer to each question, in order.

        Raises:
            VideoError, PromptError: a question cannot be asked; the sentence names it.
        """
        try:
            return self._answers(questions)
        except torch.OutOfMemoryError as error:
            raise PromptError(
                f"{len(questions)} question{'s' * (len(questions) > 1)} at once need more memory "
                "than there is; choose a smaller --batch or --max-clips."
            ) from error

    def _answers(self, questions: Sequence[Question]) -> list[str]:
        prompts = [self._prompt(question) for question in questions]
        if len(prompts) == 1:
            return [self._generate(prompts)[0][0]]
        texts = []
        limit = CLOSE_CALL.get(self.model.dtype, CLOSE_CALL[torch.bfloat16])
        for prompt, (text, margin) in zip(prompts, self._generate(prompts), strict=True):
            if margin < limit:
                self.answered_alone += 1
                text = self._generate([prompt])[0][0]
            texts.append(text)
        return texts

    # ---- what the model sees ---------------------------------------------------------------

    def _prompt(self, question: Question) -> _Prompt:
        options = question.options
        text = question_text(question.question, options) if options else question.question
        messages = [{"role": "user", "content": text}]
        fitting = Fitting(
            self._viewer, messages, Generation(max_new_tokens=self.protocol.max_new_tokens)
        )
        try:
            return self._visual(question, fitting)
        except (VideoError, PromptError) as error:
            raise type(error)(f'Question "{question.id}": {error}') from error

    def _visual(self, question: Question, fitting: Fitting) -> _Prompt:
        """The prompt with what the protocol shows of the video; without one, the text alone."""
        if self.protocol.ablation == "text-only":
            return _Prompt(fitting.plain(Selection()).ids, None)
        sampling = Sampling(
            max_clips=self.protocol.max_clips, start_s=question.start_s, end_s=question.end_s
        )
        with Video(question.video) as video:
            if self.protocol.ablation == "centre-frame":
                fitted = fitting.plain(self._centre_frame(video, sampling))
            else:
                fitted = fitting.about(video, sampling)
            if self.protocol.ablation == "grey":
                tokens = self._grey_tokens(video, fitted.selection)
            else:
                tokens = self._viewer.tokens(video, fitted.selection)
        return _Prompt(fitted.ids, tokens.flatten(0, 1))  # (N, K, D) -> (N*K, D)

    def _centre_frame(self, video: Video, sampling: Sampling) -> Selection:
        """One clip that is only the frame in the middle of the video, or of the range."""
        info = video.info
        end_s = min(sampling.end_s or info.duration_s, info.duration_s)
        middle_s = (max(info.start_s, sampling.start_s or 0.0) + end_s) / 2
        centre = info.frame_at(middle_s)
        time_s = info.time_of(centre)
        clips = [Clip((centre,) * sampling.frames_per_clip, time_s, time_s)]
        return self._viewer.selection(video, clips, sampling)

    def _grey_tokens(self, video: Video, selection: Selection) -> Tensor:
        """What a grey video of this shape and length shows: one clip, as often as needed."""
        shape = (video.info.height, video.info.width)
        if shape not in self._grey:
            num_frames = len(selection.clips[0].frame_ids)
            frames = np.full((num_frames, *shape, 3), GREY, dtype=np.uint8)  # (T, H, W, 3)
            self._grey[shape] = self._viewer.encode(self._viewer.resized([frames]))
        return self._grey[shape].expand(selection.num_clips, -1, -1)  # (N, K, D)

    # ---- the LLM -----------------------------------------------------------------------------

    def _generate(self, prompts: Sequence[_Prompt]) -> list[tuple[str, float]]:
        """(answer, the smallest margin of a chosen token over the second best) of every prompt."""
        tokenizer: Any = self.model.tokenizer
        longest = max(len(prompt.ids) for prompt in prompts)
        pad = tokenizer.pad_token_id or 0
        rows = [[pad] * (longest - len(p.ids)) + p.ids for p in prompts]  # answers start together
        masks = [[0] * (longest - len(p.ids)) + [1] * len(p.ids) for p in prompts]
        device = self.model.device
        margins = _Margins()
        output = self.model.generate(
            torch.tensor(rows, device=device),  # (B, S)
            attention_mask=torch.tensor(masks, device=device),
            visual_tokens=[prompt.visual_tokens for prompt in prompts],
            do_sample=False,
            max_new_tokens=self.protocol.max_new_tokens,
            logits_processor=LogitsProcessorList([margins]),
        )  # (B, S_new)
        eos = self.model.llm.generation_config.eos_token_id
        ends = {*eos} if isinstance(eos, list) else {eos}
        answers = []
        for ids, steps in zip(output.tolist(), margins.per_row(), strict=True):
            length = next((i + 1 for i, token in enumerate(ids) if token in ends), len(ids))
            text = tokenizer.decode(ids[:length], skip_special_tokens=True).strip()
            answers.append((text, min(steps[:length])))
        return answers


class _Margins(LogitsProcessor):
    """Records how far the best token scores above the second; changes no score."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        best = scores.float().topk(2).values  # (B, 2)
        self.steps.append(best[:, 0] - best[:, 1])
        return scores

    def per_row(self) -> list[list[float]]:
        rows: list[list[float]] = torch.stack(self.steps, dim=1).tolist()  # (B, S_new)
        return rows
