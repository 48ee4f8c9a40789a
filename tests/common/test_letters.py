"""Which letter is read from an answer, as models really write them: 94 reported ones and ours."""

from __future__ import annotations

import pytest

from apollo.data.choices import letter_of

OPTIONS = ("A red bus.", "A green cat", "Two dogs", "None of the above")
CHINESE = ("一辆红色公交车", "一只绿色的猫", "两只狗", "以上都不是")
YES_NO = ("Yes", "No")
NUMBERS = ("2", "3", "12", "2.5")
TEN = tuple(f"{number} x" for number in range(10))
ORDERS = ("1->2->3", "2->1->3", "3->2->1")

# fmt: off
REPORTED = [  # answer, right letter; "" where a person cannot tell
    ("B", "B"), ("b", "B"), ("B.", "B"), ("(B)", "B"), ("**B**", "B"), ("B) A green cat", "B"),
    ("B: A green cat", "B"), ("B - a green cat", "B"), ("[B]", "B"), ("`B`", "B"), ("Ｂ", "B"),
    ("B。", "B"), ("Answer: B", "B"), ("answer is b", "B"), ("The answer is B.", "B"),
    ("The correct answer is: (B) A green cat", "B"), ("Option B", "B"), ("option b.", "B"),
    ("I choose B", "B"), ("It's B.", "B"), ("The best option is **B**.", "B"),
    ("B\n\nExplanation: option C is not right because there is one dog.", "B"),
    ("B\nOption A is wrong.", "B"), ("B. The answer is not C.", "B"),
    ("The answer is B, not C.", "B"), ("The answer is not A but B.", "B"),
    ("B. A green cat (A is a bus)", "B"), ("B because option A and option C are not shown", "B"),
    ("Answer: $B", "B"), ("\\boxed{B}", "B"), ("$\\boxed{B}$", "B"), ("<answer>B</answer>", "B"),
    ("<answer> B. A green cat </answer>", "B"), ("答案是B", "B"), ("答案：B", "B"),
    ("选B。", "B"), ("选项B", "B"), ("B选项", "B"), ("正确答案是（B）", "B"), ("Antwort: B", "B"),
    ("Réponse : B", "B"), ("Ответ: B", "B"), ("A green cat", "B"), ("a green cat.", "B"),
    ("There is a green cat in the video.", "B"), ("The video shows two dogs", "C"),
    ("none of the above", "D"), ("A", "A"), ("A red bus.", "A"), ("A cat.", ""),
    ("I think a bus", ""), ("A or B", ""), ("A and B", ""), ("Both A and B", ""),
    ("(A) or (B)", ""), ("", ""), ("E", ""), ("I", ""),
    ("The answer is A because a bus moves", "A"), ("The answer is A bus", ""),
    ("Answer: A red bus", "A"), ("Answer: A green cat", "B"), ("The answer is a green cat", "B"),
    ("Option A red bus", "A"), ("Answer: A\nA red bus", "A"),
    ("It is not a red bus. It is a green cat.", "B"), ("Not two dogs", ""),
    ("I considered (A), but it is incorrect. Final answer: B.", "B"),
    ("D. None of the above", "D"), ("C Two dogs", "C"), ("C,", "C"), ("C/", "C"),
    ("c) two dogs", "C"), ("2", ""), ("second", ""), ("Option 2", ""),
    ("ANSWER IS D. A is incorrect.", "D"), ("Answer\nB", "B"), ("Answer:B", "B"),
    ("ANSWER:B", "B"), ("Final Answer: B", "B"), ("The final answer is $B$.", "B"),
    ("Sure! The answer is:\n\nB", "B"), ("B</s>", "B"), ("B\n<|im_end|>", "B"),
    ("B<|endoftext|>", "B"), ("Letter B", "B"), ("My answer would be B.", "B"), ("'B'", "B"),
    ("\"B\"", "B"), ("B. B. B. B.", "B"), ("BBBB", ""),
    ("A. A red bus\nB. A green cat\nC. Two dogs", ""), ("A red bus. A green cat.", ""),
]
OURS = [
    ("I think the answer is B", "B"), ("I don't think B is right.", ""), ("B is wrong.", ""),
    ("Option A is wrong, so option B.", "B"), ("Neither A nor B.", ""),
    ("The answer is A/B.", ""), ("The answer is either A or C.", ""), ("Answer: A, B", ""),
    ("B > the cat is green", "B"), ("The answer is A.", "A"), ("the answer is a.", "A"),
    ("The answer is a mystery.", ""), ("Only B is correct.", "B"),
    ("A and B are wrong, C is correct.", "C"), ("I'd go with C, since there are two.", "C"),
    ("B rather than A.", "B"), ("It must be D", "D"), ("(a)", "A"), ("I would say (b).", "B"),
    ("The dog(s) are two", ""), ("So, the correct answer is: **C. Two dogs**", "C"),
    ("<think>A or B? A is likely.</think>\n\nC", "C"),
    ("Let me see. Option A shows a bus. Option B shows a green cat, which matches. So B.", "B"),
    ("A. A red bus\nB. A green cat\nC. Two dogs\n\nAnswer: C", "C"),
    ("Which of A, B, C, D is correct? The answer is C.", "C"),
    ("Here are the answers:\nA. A red bus\nB. A green cat", ""),
    ("B. A green cat. The correct answer is C.", ""),
    ("(A) shows a bus, but the answer is B.", "B"),
    ("Two dogs are not shown; it is a green cat.", "B"), ("There is no green cat.", ""),
    ("Two dogs, not a green cat.", "C"), ("The green cat", "B"), ("a bus that is red", ""),
    ("E. Something else", ""), ("The answer is E.", ""), ("B2", ""), ("B-side", ""),
    ("It's B's turn", ""), ("Vitamin C", ""), ("The answer is C major.", ""),
    ("最终答案：C", "C"), ("\\boxed{\\text{D}}", "D"), ("\\(\\boxed{B}\\)", "B"),
    ("The answer is \\(C\\).", "C"), ("**Answer:** C", "C"), ("**Final Answer**: C", "C"),
    ("B, C", ""), ("B & C", ""), ("A green cat (B)", "B"), ("Sorry, I cannot answer.", ""),
    ("ANSWER: (C) TWO DOGS", "C"), ("# B", "B"), ("B\t", "B"), ("- B", "B"), ("1. B", ""),
    ("My guess: D.", "D"), ("I am not sure. Maybe B or C.", ""), ("B (most likely)", "B"),
    ("B, because the cat is green.", "B"), ("The answer is not B.", ""), ("not A, but C", "C"),
    ("Not (A). Not (B). (C) it is.", "C"), ("The correct answer is B, a green cat.", "B"),
    ("I believe that the correct choice is C.", "C"),
    ("Based on the video, the answer is (B) A green cat.", "B"),
    ("The video shows a green cat, so the answer is B", "B"), ("Answer is option D", "D"),
    ("Option (C)", "C"), ("The answer should be \"B\".", "B"), ("A\n", "A"),
    ("A: A red bus", "A"), ("A - A red bus", "A"), ("A) A red bus", "A"),
    ("The right answer is D: None of the above.", "D"), ("B is the correct answer.", "B"),
    ("The correct answer: option B, because ...", "B"), ("Answer – B", "B"),
    ("The answer would be: C.", "C"), ("Based on my analysis, I select option A.", "A"),
    ("I'm going with B.", "B"), ("Definitely B.", "B"), ("B!", "B"), ("B?", "B"), ("B...", "B"),
    ("Choice B", "B"), ("choice: b", "B"), ("The answer to the question is B.", "B"),
    ("The best answer to this is C", "C"), ("It appears to be B", "B"), ("Looks like C.", "C"),
    ("C is right, A and B are wrong", "C"), ("A is wrong, B is wrong, C is wrong, so D.", "D"),
    ("Eliminating A and B, the answer is C.", "C"), ("Either B or C", ""),
    ("between A and B I choose B", "B"), ("The answer cannot be determined.", ""),
    ("No answer", ""), ("N/A", ""), ("Unknown", ""), ("A/C", ""),
    ("I see two dogs and a red bus", ""), ("A man walks.", ""), ("Red bus", "A"),
    ("green cat", "B"), ("The cat is green, the bus is red.", ""), ("D.", "D"),
    ("The answer is D. None of the above", "D"), ("The correct answer is A. A red bus.", "A"),
    ("Answer: (A)", "A"), ("Answer: A.", "A"), ("answer: a", "A"),
    ("The answer is A, since a bus appears.", "A"), ("The answer is: A", "A"),
    ("A is correct", "A"), ("A is the answer.", "A"), ("A seems right", "A"), ("I choose A", "A"),
    ("A was considered but B is correct", "B"), ("Correct option: B", "B"), ("Selected: B", "B"),
    ("Prediction: B", "B"), ("Response: B", "B"), ("Output: B", "B"), ("assistant: B", "B"),
    ("The answer is “B”", "B"), ("The correct letter is B", "B"), ("**B**. A green cat", "B"),
    ("**B.** A green cat", "B"), ("<b>B</b>", "B"), ("{B}", "B"), ("{\"answer\": \"B\"}", "B"),
    ("answer=B", "B"), ("B\n\nC", ""), ("B\nB", "B"), ("Not sure", ""), ("the second option", ""),
    ("I think it's the green cat", "B"), ("Not a red bus but a green cat", "B"),
    ("It isn't two dogs.", ""),
]
IN_CHINESE = [
    ("我选择B", "B"), ("应该选C。", "C"), ("答案为D", "D"), ("B是正确的", "B"),
    ("不是A，而是B", "B"), ("A不对，选B", "B"), ("A和B都对", ""), ("A或B", ""),
    ("视频中是一只绿色的猫。", "B"), ("不是两只狗，是一只绿色的猫", "B"), ("以上都不是", "D"),
    ("我认为答案是（C）两只狗", "C"), ("C．两只狗", "C"), ("Ｃ：两只狗", "C"), ("C、两只狗", "C"),
    ("排除A，选择D", "D"), ("选项A是公交车，选项B是猫，所以选B", "B"),
    ("根据视频，正确的选项是 B。", "B"), ("没有两只狗", ""), ("我不知道", ""),
    ("答案是A还是B？", ""), ("B 一只绿色的猫", "B"), ("故选：B", "B"), ("【答案】B", "B"),
    ("答：B", "B"), ("B对应的是猫", ""), ("正确答案不是B", ""), ("答案应该是B", "B"),
    ("我觉得是C", "C"), ("我选A", "A"), ("选A", "A"), ("A", "A"), ("答案是A一辆红色公交车", "A"),
    ("答案：A. 一辆红色公交车", "A"), ("B项", "B"), ("是B", "B"), ("B吧", "B"), ("选B和C", ""),
    ("答案是 (D)。", "D"), ("正确答案：C。因为视频中有两只狗。", "C"),
    ("视频里有两只狗，因此选择C。", "C"), ("C。视频里有两只狗", "C"), ("A错误，B正确", "B"),
    ("A、B、C都不对，应选D", "D"), ("正确选项为B", "B"), ("本题选B", "B"),
    ("本题答案选择B。", "B"), ("首先排除A和C，答案是B", "B"), ("B，而不是A", "B"),
    ("可能是B或C", ""), ("不确定", ""), ("这是两只狗。", "C"), ("视频中没有猫", ""),
    ("A选项错误，正确的是B选项", "B"), ("綜上所述，正確答案是B", "B"), ("答案選B", "B"),
    ("選項B", "B"), ("因此,答案为 $\\boxed{B}$", "B"), ("<answer>B</answer>", "B"),
    ("B：因为猫是绿色", "B"),
]
OTHER_OPTIONS = [
    (YES_NO, "Yes, there is no dog.", "A"), (YES_NO, "No, there isn't.", "B"),
    (YES_NO, "yes", "A"), (YES_NO, "Yes and no", ""), (YES_NO, "No.", "B"),
    (YES_NO, "There is no dog", ""), (("是", "否"), "是", "A"), (("是", "否"), "否。", "B"),
    (("是", "否"), "不是", ""), (NUMBERS, "2", "A"), (NUMBERS, "2.5", "D"),
    (NUMBERS, "There are 12.", "C"), (NUMBERS, "There are 2.5 of them", "D"),
    (NUMBERS, "3 people", "B"), (TEN, "I", "I"), (TEN, "I think J", "J"),
    (TEN, "I cannot tell", ""), (TEN, "I. 8 x", "I"), (ORDERS, "2->1->3", "B"),
    (ORDERS, "The order is 3->2->1.", "C"),
    (("Vitamin C", "Vitamin A", "Vitamin B"), "Vitamin A", "B"),
    (("Vitamin C", "Vitamin A", "Vitamin B"), "It is vitamin C.", "A"),
    (("C major", "D minor"), "The answer is D minor.", "B"),
    (("C major", "A minor"), "It's C major.", "A"),
    (("Both A and B", "x y", "z w"), "Both A and B", "A"),
    (("x y", "z w", "Both A and B"), "C. Both A and B", "C"), (("B", "A"), "A", "A"),
    (("red", "dark red"), "It is dark red.", "B"), (("a cat", "a dog"), "The dog.", "B"),
]
# fmt: on


@pytest.mark.parametrize(("answer", "letter"), REPORTED)
def test_row_67_reported_answers_are_read_as_a_person_reads_them(answer: str, letter: str) -> None:
    assert letter_of(answer, OPTIONS) == (letter or None)


@pytest.mark.parametrize(("answer", "letter"), OURS)
def test_row_67_more_ways_to_say_it(answer: str, letter: str) -> None:
    assert letter_of(answer, OPTIONS) == (letter or None)


@pytest.mark.parametrize(("answer", "letter"), IN_CHINESE)
def test_row_67_chinese_answers(answer: str, letter: str) -> None:
    assert letter_of(answer, CHINESE) == (letter or None)


@pytest.mark.parametrize(("options", "answer", "letter"), OTHER_OPTIONS)
def test_row_67_options_that_mislead(options: tuple[str, ...], answer: str, letter: str) -> None:
    assert letter_of(answer, options) == (letter or None)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "part",
    ["answer is ", "A ", "A or ", "\\boxed{", "<answer>", "<think>", "_", " ", "A(B) ", "选"],
)
def test_a_long_answer_is_read_at_once(part: str) -> None:
    assert letter_of(part * 20_000 + "\nAnswer: C", OPTIONS) == "C"
