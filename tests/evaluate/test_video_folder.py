"""Videos found by the names that annotation files give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from apollo.errors import DataError
from apollo.evaluate.question_file import read_questions
from apollo.evaluate.video_folder import SUFFIXES, VideoFolder


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked into here")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".MP4", ".Ts"])
@pytest.mark.parametrize("deep", [True, False])
def test_row_73_a_name_needs_no_suffix(tmp_path: Path, suffix: str, deep: bool) -> None:
    file = tmp_path / f"v1.2_a b[1]{suffix}"
    touch(file, tmp_path / "v1.txt", tmp_path / "v1.2_a b[1].srt")
    folder = VideoFolder(tmp_path, deep=deep)
    for name in (file.name, "v1.2_a b[1]", "v1.2_a b[1].mp4", str(file), "./v1.2_a b[1]"):
        assert folder.find(name).name == file.name


def test_row_73_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "videos", tmp_path / "elsewhere"
    touch(root / "a.mp4", elsewhere / "deep" / "b.ts")
    (root / "more").symlink_to(elsewhere)
    (root / "again").symlink_to(elsewhere / "deep")
    (elsewhere / "loop").symlink_to(root)
    (root / "self").symlink_to(root)
    (root / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (root / "twin.mp4").symlink_to(root / "a.mp4")
    folder = VideoFolder(root)
    assert folder.find("b").resolve() == elsewhere / "deep" / "b.ts"
    assert folder.find("a.mp4") == root / "a.mp4"
    for name in ("gone", "gone.mp4", "c", "", ".", "..", "nul\0", "x" * 5000, "\ud83d"):
        with pytest.raises(DataError, match="no video called"):
            folder.find(name)


def test_one_file_under_two_links_is_one_video(tmp_path: Path) -> None:
    touch(tmp_path / "store" / "v.mp4")
    for name in ("x", "y"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / "v.mp4").symlink_to(tmp_path / "store" / "v.mp4")
    assert VideoFolder(tmp_path / "videos").find("v").name == "v.mp4"


def test_folders_in_the_name_decide_whatever_signs_they_hold(tmp_path: Path) -> None:
    touch(tmp_path / "part [1]" / "v.mp4", tmp_path / "x" / "part 1" / "v.mp4")
    folder = VideoFolder(tmp_path)
    assert folder.find("part 1/v.mkv") == tmp_path / "x" / "part 1" / "v.mp4"
    assert folder.find("part [1]/v") == tmp_path / "part [1]" / "v.mp4"
    with pytest.raises(DataError, match="2 videos are called v in"):
        folder.find("v")


def test_without_a_folder_of_videos_nothing_else_is_searched(tmp_path: Path) -> None:
    touch(tmp_path / "clips" / "deep" / "v.mp4")
    file = tmp_path / "data.jsonl"
    file.write_text('{"id": "1", "video": "v", "question": "q", "answer": "a"}')
    with pytest.raises(DataError, match="no such video file: v; paths are relative"):
        read_questions(file)
    assert read_questions(file, tmp_path / "clips")[0].video.name == "v.mp4"
    file.write_text('{"id": "1", "video": "clips/deep/v", "question": "q", "answer": "a"}')
    assert read_questions(file)[0].video == tmp_path / "clips" / "deep" / "v.mp4"
