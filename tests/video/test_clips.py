"""plan_clips against the recorded original wherever that is right, and against sense elsewhere."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from paths import GOLDEN

from apollo.errors import SettingError, VideoError
from apollo.video.clips import Clip, VideoInfo, clip_budget, original_clip_indices, plan_clips

LOADER = json.loads((GOLDEN / "cases" / "loader.json").read_text())["cases"]
SAMPLES = json.loads((GOLDEN / "cases" / "sample_indices.json").read_text())


def video(fps: float = 30.0, num_frames: int = 300) -> VideoInfo:
    return VideoInfo("folder/bird.mp4", fps, num_frames, num_frames / fps, 160, 96, "h264")


def ids_of(clips: list[Clip]) -> list[list[int]]:
    return [list(clip.frame_ids) for clip in clips]


def original_of(case: dict[str, Any]) -> tuple[list[list[int]], list[tuple[float, float]]]:
    return original_clip_indices(
        case["video_duration"],
        case["total_frames"],
        case["original_fps"],
        case["clip_duration"],
        case["frames_per_clip"],
        case.get("effective_clip_sampling_ratio", case["clip_sampling_ratio"]),
    )


def recorded(case: dict[str, Any]) -> tuple[list[list[int]], list[list[int]]]:
    """The first and the last clips that were recorded: all of them for all but long cases."""
    if "clip_indices" in case:
        return case["clip_indices"], case["clip_indices"]
    return case["first8"], case["last8"]


def reason_original_is_wrong(case: dict[str, Any]) -> str | None:
    """The rule of plan_clips' docstring, from the recorded numbers alone."""
    first, last = recorded(case)
    frames_per_clip, fps = case["frames_per_clip"], case["original_fps"]
    wanted_step = fps * case["clip_duration"] / frames_per_clip
    if any(-1 in ids for ids in first + last):
        return "frame -1"
    if len(first[0]) != frames_per_clip:
        return "wrong number of frames"
    span = frames_per_clip * max(1, int(wanted_step))
    if wanted_step <= 0.5:
        span = len(set(first[0]))  # frames of its own
        span = max(span, min(int(fps * case["clip_duration"]), case["total_frames"]))
    gap = first[1][0] - first[0][0] - span if case["num_clips"] > 1 else first[0][0]
    unread = case["total_frames"] - last[-1][0] - span
    if unread > max(0, gap) + case["clip_duration"] * fps + 1e-9:
        return "more than one clip beyond the gap between clips unread at the end"
    return None


@pytest.mark.parametrize("case", LOADER, ids=lambda c: f"{c['video']}-{c['clip_duration']}s")
def test_original_loader_cases_exactly(case: dict[str, Any]) -> None:
    indices, times = original_of(case)
    assert indices == case["clip_indices"]
    assert times == [pytest.approx(pair, abs=1e-9) for pair in case["timestamps"]]


def test_original_sample_cases_exactly_but_for_minus_one() -> None:
    for case in SAMPLES:
        indices, times = original_of(case)
        first, last = recorded(case)
        assert len(indices) == case["num_clips"]
        assert indices[: len(first)] == [[max(0, i) for i in ids] for ids in first]
        assert indices[-len(last) :] == [[max(0, i) for i in ids] for ids in last]
        if "timestamps" in case:
            expected = [(max(0.0, a), max(0.0, b)) for a, b in case["timestamps"]]
            assert times == [pytest.approx(pair, abs=1e-9) for pair in expected]
        if case.get("sum_of_indices", -1) >= 0 and -1 not in first[0]:
            assert sum(map(sum, indices)) == case["sum_of_indices"]


def planned_for(case: dict[str, Any]) -> list[Clip]:
    info = VideoInfo(
        "v", case["original_fps"], case["total_frames"], case["video_duration"], 1, 1, ""
    )
    return plan_clips(
        info,
        clip_duration_s=case["clip_duration"],
        frames_per_clip=case["frames_per_clip"],
        max_clips=case["num_clips"],
    )


def test_plan_is_the_original_wherever_that_is_right() -> None:
    right = [case for case in LOADER + SAMPLES if reason_original_is_wrong(case) is None]
    assert len(right) == 365  # of 438; the rule may not hollow out
    for case in right:
        indices, times = original_of(case)
        plan = planned_for(case)
        assert ids_of(plan) == indices, case
        assert [(c.start_s, c.end_s) for c in plan] == [pytest.approx(t, abs=1e-9) for t in times]


def test_plan_is_sane_where_the_original_is_wrong() -> None:
    reasons: dict[str, int] = {}
    for case in LOADER + SAMPLES:
        reason = reason_original_is_wrong(case)
        if reason is None:
            continue
        reasons[reason] = reasons.get(reason, 0) + 1
        info = video(case["original_fps"], case["total_frames"])
        check_sane(planned_for(case), info, case["clip_duration"], case["frames_per_clip"])
    assert reasons == {
        "frame -1": 38,
        "wrong number of frames": 1,
        "more than one clip beyond the gap between clips unread at the end": 34,
    }


def check_sane(
    plan: list[Clip], info: VideoInfo, clip_duration_s: float, frames_per_clip: int
) -> None:
    frames = [i for clip in plan for i in clip.frame_ids]
    assert min(frames) >= 0 and max(frames) < info.num_frames
    assert all(len(clip.frame_ids) == frames_per_clip for clip in plan)
    assert all(list(clip.frame_ids) == sorted(clip.frame_ids) for clip in plan)
    starts = [clip.frame_ids[0] for clip in plan]
    assert starts == sorted(starts)
    assert all(a.frame_ids != b.frame_ids for a, b in zip(plan, plan[1:], strict=False))
    step = max(1.0, int(info.fps * clip_duration_s / frames_per_clip))
    unread = info.num_frames - frames[-1] - step
    span = plan[0].frame_ids[-1] - plan[0].frame_ids[0] + step
    gap = max((b - a - span for a, b in zip(starts, starts[1:], strict=False)), default=starts[0])
    assert unread <= max(0.0, gap) + clip_duration_s * info.fps + 2


@pytest.mark.parametrize("fps", [0.1, 0.25, 0.9, 1, 1.9, 3.9, 8, 12.5, 24, 29.97, 30, 59.94, 240])
@pytest.mark.parametrize("max_clips", [None, 1, 7])
def test_every_plan_is_sane(fps: float, max_clips: int | None) -> None:
    for num_frames in (1, 2, 3, 9, 50, 301, 1801):
        for clip_duration_s in (0.5, 2, 3.5):
            for frames_per_clip in (1, 4, 8):
                info = video(fps, num_frames)
                plan = plan_clips(
                    info,
                    clip_duration_s=clip_duration_s,
                    frames_per_clip=frames_per_clip,
                    max_clips=max_clips,
                )
                assert 1 <= len(plan) <= (max_clips or math.inf)
                check_sane(plan, info, clip_duration_s, frames_per_clip)


def test_ten_minutes_at_30_fps_are_read_to_the_end() -> None:
    info = video(30, 17970)  # the original's last frame is 8.5 s before the end
    original, times = original_clip_indices(info.duration_s, 17970, 30.0, 2, 4)
    plan = plan_clips(info, clip_duration_s=2)
    assert times[-1][1] < info.duration_s - 8
    assert plan[-1].end_s == pytest.approx(info.duration_s - 0.5)
    assert len(plan) == len(original)


def test_slow_video_shows_each_frame_at_its_time() -> None:
    plan = plan_clips(video(1, 9), clip_duration_s=2)
    assert ids_of(plan)[0] == [0, 0, 1, 1] and ids_of(plan)[-1] == [7, 7, 8, 8]
    slideshow = plan_clips(video(0.25, 20), clip_duration_s=2)
    assert ids_of(slideshow) == [[i] * 4 for i in range(20)]
    assert slideshow[3].start_s == slideshow[3].end_s == 12.0


def test_one_frame_longer_than_a_clip_is_one_clip() -> None:
    assert ids_of(plan_clips(video(0.25, 1), clip_duration_s=3.5, frames_per_clip=1)) == [[0]]


def test_video_shorter_than_a_clip_repeats_its_last_frame() -> None:
    assert ids_of(plan_clips(video(30, 20), clip_duration_s=2)) == [[0, 15, 19, 19]]


def test_max_clips_spreads_them() -> None:
    plan = plan_clips(video(30, 3000), clip_duration_s=2, max_clips=3)
    assert ids_of(plan) == [
        [470, 485, 500, 515],
        [1470, 1485, 1500, 1515],
        [2470, 2485, 2500, 2515],
    ]


def test_float_noise_does_not_add_a_clip() -> None:
    info = VideoInfo("v", 30.0, 120, 4.0 + 1e-12, 1, 1, "")
    assert len(plan_clips(info, clip_duration_s=2)) == 2


def test_range_is_planned_like_a_video_with_absolute_times() -> None:
    info = video(30, 3000)
    plan = plan_clips(info, clip_duration_s=2, start_s=10, end_s=16)
    shifted = plan_clips(video(30, 180), clip_duration_s=2)
    assert ids_of(plan) == [[i + 300 for i in ids] for ids in ids_of(shifted)]
    assert (plan[0].start_s, plan[-1].end_s) == (10.0, 15.5)
    assert plan_clips(info, clip_duration_s=2, start_s=0) == plan_clips(info, clip_duration_s=2)


def test_range_of_whole_clips_has_that_many() -> None:
    for start_s in (0.1, 3.3, 7.7):
        plan = plan_clips(video(29.97, 3000), clip_duration_s=2, start_s=start_s, end_s=start_s + 4)
        assert len(plan) == 2
        assert start_s <= plan[0].start_s and plan[-1].end_s < start_s + 4


def test_range_may_be_shorter_than_a_frame_or_end_after_the_video() -> None:
    tiny = plan_clips(video(1, 10), clip_duration_s=2, start_s=3.2, end_s=3.4)
    assert ids_of(tiny) == [[3, 3, 3, 3]]  # the one on screen
    last = plan_clips(video(1, 10), clip_duration_s=2, start_s=9.9, end_s=99)
    assert ids_of(last) == [[9, 9, 9, 9]]


def test_range_beyond_the_video_says_so() -> None:
    with pytest.raises(VideoError, match=r"^bird.mp4 is 10.0 s long.*from 10 s on; choose an"):
        plan_clips(video(), clip_duration_s=2, start_s=10)
    with pytest.raises(VideoError, match=r"ends at 2 s but starts at 3 s; choose an end"):
        plan_clips(video(), clip_duration_s=2, start_s=3, end_s=2)


def test_impossible_settings_say_so() -> None:
    with pytest.raises(VideoError, match="bird.mp4 has no video frames"):
        plan_clips(VideoInfo("bird.mp4", 30, 0, 0, 1, 1, ""), clip_duration_s=2)
    for wrong in ({"clip_duration_s": 0}, {"frames_per_clip": 0}, {"max_clips": 0}):
        with pytest.raises(SettingError, match="choose"):
            plan_clips(video(), **{"clip_duration_s": 2, **wrong})


def test_clip_budget_is_the_originals() -> None:
    assert clip_budget(32768, 32) == 666
    for case in LOADER:
        budget = clip_budget(
            case["model_max_length"], case["num_repeat_token"], case["clip_sampling_ratio"]
        )
        wanted = math.ceil(case["video_duration"] / case["clip_duration"])
        assert min(wanted, budget) == case["num_clips"]
    assert clip_budget(10, 32, 0.1) == 1
    with pytest.raises(SettingError, match="positive"):
        clip_budget(0, 32)
