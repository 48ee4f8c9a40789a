"""How people and models word a choice, in English and Chinese: regular expressions, no logic.

In:  nothing.  Out: patterns that `choices.py` tries, the surest first.
Odd: "A" and "I" are words as well, and any letter may begin a name ("C major"), so a letter counts
     only where a sign, a line end or a word of `_AFTER` follows. Chinese has no blanks: what stands
     beside a letter there tells whether it is one.
"""

from __future__ import annotations

import re

# a letter that is no part of a word: not of "it's", "T-shirt" or "3D"
_ALONE_THERE = r"(?<![A-Za-z0-9_'’])(?<![A-Za-z]-)({})(?![A-Za-z0-9_]|['’][a-z]|-[A-Za-z])"
_UPPER = _ALONE_THERE.format("[A-Z]")
_LOWER = _ALONE_THERE.format("[a-z]")
_AFTER = (
    r"(?=\s*$|[^\S\n]*\n|\s*[^\w\s]"
    r"|\s+(?:because|since|as|for|so|that|which|but|not|and|or|if|where|while|when|due|given"
    r"|based|according|from|rather|instead|over|the|this|it|there|they|he|she|in|is|was|would"
    r"|seems|looks|matches|fits|shows|with|here)\b"
    r"|\s*(?:选|項|项|因|由于|由於|是|对|對|正确|正確|而|不|这|這|和|或|与|及|吧|了))"
)
_SIGNS = r"[\s:=\-–—>\"'“”‘’«»(\[{$,【】「」]"
_FILL = (  # what may stand between "answer" and its letter
    rf"(?:{_SIGNS}|\b(?:is|was|are|be|being|would|should|must|will|could|may|might|most|likely"
    r"|probably|clearly|definitely|therefore|thus|option|choice|letter|the|correct|best|right"
    r"|either|i|think|believe|to|ist|est|es)\b|应该|應該|应当|应|應|选择|选项|選項|选|選|项|就"
    r"|该|是|为|為){0,12}?"
)
_CUE = (
    r"(?:\b(?:answers?(?: (?:to|for) [^.,;:\n]{1,60}? is)?|antwort|réponse"
    r"|respuesta|risposta|resposta|ответ"
    r"|(?:correct|right|best|closest) (?:option|choice|one|letter)|my (?:option|choice|pick|guess)"
    r"|choos(?:e|ing)|chose|pick(?:ed)?|select(?:ed)?|go(?:ing)? with|went with|opt(?:ed)? for"
    r"|vote for|i(?:['’]d| would| will|['’]ll)? (?:say|guess|think|believe)"
    r"|so|thus|hence|therefore|it['’]?s|it is|that['’]?s|must be|should be|would be"
    r"|looks like|(?:appears|seems) to be|probably|definitely|clearly|certainly)"
    r"|答案|回答|选择|選擇|选(?!项)|選(?!項)|所以|因此|应该是|應該是|认为是|認為是|觉得是|就是|正确的是|正確的是|(?:^|\n)是|选项[是为]|選項[是為]|正确的?选项|答)"
)
_NAME = r"(?:\b(?:option|choice|letter)\b|选项|選項)"

# the last of these is the whole answer
FINAL = (
    re.compile(r"<answer>(.*?)(?:</answer>|$)", re.IGNORECASE | re.DOTALL),
    re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(
        r"(?:\bfinal (?:answer|choice)|最终答案|最終答案|最终选择)\s*(?:is|是|为|為)?\s*:?\s*(.+)",
        re.IGNORECASE,
    ),
)
BLANKS = re.compile(r"[^\S\n]*\n\s*|[^\S\n]+")
THOUGHT = re.compile(r"</think(?:ing)?>", re.IGNORECASE)  # what comes after it is the answer
MARKUP = re.compile(  # end-of-text tokens, tags, LaTeX, Markdown
    r"<\|[^|<>]*\|>|</?[a-zA-Z]+>|\\(?:text|textbf|mathrm|mathbf|rm|bf)\b|\\(?=\W)|[*`~#]"
    r"|(?<!\w)_+|_+(?!\w)"
)

_NOT = (
    r"(?:\bnot|n['’]t|\bnever|\bneither|\bnor|\bno|\bcannot|\bwithout|\bexcept|\brather than"
    r"|\binstead of)"
)
_CHINESE_NOT = r"(?:不是|并非|並非|不选|不選|没有|沒有|而非|排除|除了|不为|不|没)"
# what stands before a letter or an option that is ruled out, or after it
RULED_OUT_BEFORE = re.compile(
    rf"(?:{_NOT}(?:\s+(?:be|is|a|an|the|any|option|choice|letter|answer|really|of|show|see|that|think|believe))*"
    rf"[\s(\"'“]*|{_CHINESE_NOT}(?:选项|選項|有|是|看到|出现)?[\s(\"“]*)$",
    re.IGNORECASE,
)
RULED_OUT_AFTER = re.compile(
    r"[)\]\"'”]*\s*(?:选项|選項|项)?\s*(?:(?:is|was|are|were|seems?|looks?|can|could|does|do)\s*"
    r"(?:(?:clearly|also|both|therefore|simply|obviously)\s+)?)?"
    r"(?:incorrect|wrong|false\b|ruled out|excluded"
    r"|(?:not|n['’]t)\s+(?:the\s+)?(?:be\b|correct|right|shown|visible|seen|present|there\b|in\b"
    r"|true|accurate|answer|supported|mentioned|match|fit|possible|a match|it\b)"
    r"|[都也]?(?:不正确|不正確|不对|不對|不符|不是|错|錯|被排除|可以排除|可排除))",
    re.IGNORECASE,
)
# several at once: "A or B", "A/B", "A、B", "A, B."
SEVERAL = re.compile(
    rf"{_UPPER}(?:\s*[)\]]?\s*(?:/|&|\+|、|\band\b|\bor\b|和|或者|或|与|與|以及|及|还是|還是)\s*"
    r"|\s*[)\]]?,\s*(?=[(\[]?[A-Z][)\]]?\s*(?:$|[.,;)\n]|\band\b|\bor\b|和|或)))"
    rf"(?:(?i:option|choice|maybe|perhaps|possibly|选项)\s*)?[(\[]?{_UPPER}"
)
ONLY_LETTERS = re.compile(
    r"(?:[\W_]|(?<![A-Za-z0-9])[A-Za-z](?![A-Za-z0-9])|\b(?:and|or|both|either|options?|choices?)\b"
    r"|[和或都与]|选项|还是)+"
)
ANY_LETTER = re.compile(_ALONE_THERE.format("[A-Za-z]"))

# ways to give a letter among other words, the surest first
CLAIMS: tuple[tuple[re.Pattern[str], ...], ...] = (
    (
        re.compile(rf"(?i:{_CUE}{_FILL}){_UPPER}{_AFTER}"),
        re.compile(rf"(?i:{_CUE}{_FILL}){_LOWER}(?=[.)\]\"'”\s]*(?:$|\n))"),
        re.compile(rf"(?:^|\n)[^:\n]{{1,30}}:\s*{_UPPER}(?=[.)\]\"'”\s]*(?:$|\n))"),
        re.compile(  # not A but B
            rf"(?:{_NOT}|{_CHINESE_NOT})[\s(]*(?:(?i:option|choice|选项)\s*)?[A-Z]\b\)?\s*[,;]?\s*"
            r"(?:(?i:but|rather|instead)(?:\s+(?i:rather|option|it is|it['’]s))?|而是|应该是|是"
            r"|应选)"
            rf"[\s(]*{_UPPER}"
        ),
    ),
    (
        re.compile(
            rf"(?:(?i:{_NAME})\s*)?[(\[]?{_UPPER}[)\]]?\s*(?:选项|選項|项)?\s*"
            r"(?:(?i:(?:is|was|seems|looks)\s+(?:(?:the|most|clearly|therefore|likely)\s+)*"
            r"(?:correct|right|best|true|accurate|answer)\b)"
            r"|(?:是|才是|应该是)?\s*(?:正确|正確|[对對](?![应應于於])|答案))"
        ),
    ),
)
WEAK_CLAIMS: tuple[tuple[re.Pattern[str], ...], ...] = (
    (re.compile(r"(?<![A-Za-z0-9])[(\[{]\s*([A-Za-z])\s*[)\]}]"),),
    (
        re.compile(rf"(?i:{_NAME}){_SIGNS}{{0,6}}{_UPPER}{_AFTER}"),
        re.compile(rf"(?i:{_NAME})\s+{_LOWER}(?=\W*$)"),
        re.compile(rf"{_UPPER}\s*(?:选项|選項|项)"),
    ),
)
ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
LED = re.compile(  # a line begins with it
    r"[\W_]*(?:([A-Z])(?![A-Za-z0-9_]|['’])"
    r"(?:\s*[)\]]|(?=\s*(?:$|[.,:;!?/。、·|>=(]|[-–—]\s|选|项|項|吧|因|由于))"
    r"|(?=\s+(?:because|since|as|for|so|due|given|not|rather|instead)\b))"
    r"|([a-z])\s*[.):\]](?=\s|$))"
)
# ends a part of a sentence
SEGMENT = re.compile(r"[,.;:!?\n。、]")
CHINESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
