"""Every constraint on texts judged by hand: each meets it, and each near miss does not."""

from typing import Any

import pytest

from openk2.core.errors import UserError
from openk2.environments.verifiers.instructions import CATALOGUE, Reading, from_record
from openk2.environments.verifiers.instructions.draft import UNBOUNDED

FRENCH = (
    "La petite maison est dans la vieille ville et le baker regarde par la fenêtre avec une amie "
    "qui est souvent ici."
)
ENGLISH = (
    "The small house is in the old town and the baker looks out of the window with a friend who is "
    "often here."
)
TABLE = "Look:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\nDone."
TWO = (
    "A baker went out early and found nothing at all.\n******\n"
    "Late that night some other man lost his way home again."
)
REQUEST = "Write a note about a poet and a lock by the sea."
BODY = " ".join(f"word{number}" for number in range(25))
# id -> (parameters, texts that meet it, texts that do not)
CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "length.words": (
        {"low": 4, "high": 4},
        ["One two three four.", "A well-known man's hat.", "It’s, indeed — very (odd)."],
        ["One two three.", "One two three four five.", "Well known man's old hat."],
    ),
    "length.characters": ({"low": 0, "high": 6}, ["Hello!", " Hello! "], ["Hello!!"]),
    "length.sentences": (
        {"low": 3, "high": UNBOUNDED},
        [
            "Go. Run! Why?",
            'He said "No." Then he left. Fine.',
            "Go.\n\nRun.\n\nStop.",
            "so. they. ran...",
        ],
        [
            "Go. Run!",
            "Mr. Smith met Dr. Jones. He ran.",
            "Go... far. Away!",
            '"Why?" he asked. She left.',
        ],
    ),
    "length.paragraphs": (
        {"low": 2, "high": 2},
        ["One.\n\nTwo.", "One.\n \n\n\nTwo."],
        ["One.\nTwo.", "One.\n\nTwo.\n\nThree."],
    ),
    "length.lines": (
        {"low": 2, "high": 3},
        ["He ran.\nShe sat.", "He ran.\n\nShe sat.\nThey left."],
        ["He ran.", "He ran. She sat.\nThey left.", "A.\nB.\nC.\nD."],
    ),
    "length.sentence_words": (
        {"low": 2, "high": 3},
        ["He ran. She sat down."],
        ["He ran. She sat down there.", "He ran. Stop."],
    ),
    "length.paragraph_sentences": (
        {"count": 2},
        ["He ran. She sat.\n\nIt rained. We left."],
        ["He ran. She sat.", "He ran. She sat.\n\nIt rained.", "He ran.\n\nIt rained. We left."],
    ),
    "length.word_letters": ({"most": 4}, ["Four more cats."], ["Three more cats.", ""]),
    "keywords.include": (
        {"words": ("anchor", "drum")},
        ["A drum, an ANCHOR.", "anchor drum"],
        ["A drum, anchors.", "An anchor-drum.", ""],
    ),
    "keywords.exclude": (
        {"words": ("the", "now")},
        ["A theme, known."],
        ["The cat.", "Go NOW.", ""],
    ),
    "keywords.frequency": (
        {"low": 2, "high": 2, "word": "drum"},
        ["Drum and drum."],
        ["Drum.", "Drum drum drum.", "Drum drums."],
    ),
    "keywords.first_word": ({"word": "drum"}, ["Drum on.", '"Drum on."'], ["A drum.", ""]),
    "keywords.last_word": ({"word": "drum"}, ["A drum.", 'A "drum"!'], ["Drum on.", ""]),
    "keywords.paragraph_start": (
        {"number": 2, "word": "drum"},
        ["One.\n\nDrum two."],
        ["Drum.\n\nTwo.", "One.\nDrum.", "One."],
    ),
    "keywords.sentence_start": (
        {"number": 2, "word": "drum"},
        ["One. Drum two."],
        ["Drum. Two.", "One, drum. Two.", "One."],
    ),
    "keywords.sentence_contains": (
        {"number": 2, "word": "drum"},
        ["One. A drum two."],
        ["A drum. Two.", "A drum. A drum."],
    ),
    "keywords.position": (
        {"number": 3, "word": "drum"},
        ["One two drum four.", "One two drum."],
        ["One drum three.", "One two."],
    ),
    "keywords.ordered": (
        {"words": ("anchor", "drum")},
        ["An anchor, a drum, an anchor."],
        ["A drum, an anchor, a drum.", "An anchor."],
    ),
    "keywords.each_paragraph": (
        {"word": "drum"},
        ["A drum.\n\nThe drum."],
        ["A drum.", "A drum.\n\nNone.", "A drum.\n\nDrums."],
    ),
    "letters.without": ({"letter": "e"}, ["A cat ran."], ["A hen ran.", "A cafÉ.", "Æ", ""]),
    "letters.frequency": (
        {"low": 3, "high": UNBOUNDED, "letter": "b"},
        ["Bob bit.", "bbb"],
        ["Bob sat."],
    ),
    "letters.alliteration": (
        {"count": 3, "letter": "b"},
        ["Then big brown bears came."],
        ["Then big brown cats.", "Big big big cats.", "Big cats bring bread."],
    ),
    "letters.palindromes": (
        {"low": 2, "high": UNBOUNDED},
        ["Madam saw radar.", "A level kayak."],
        ["Madam madam.", "A radar is 121.", "I saw Otto."],
    ),
    "letters.sentence_initial": (
        {"letter": "s"},
        ["Sit. She ran."],
        ["Sit. He ran.", "Sit."],
    ),
    "letters.no_final": ({"letter": "s"}, ["A sister sat."], ["Two cats.", "IS it?", ""]),
    "letters.acrostic": (
        {"word": "bread"},
        ["Big. Red. Eel. And. Dog."],
        ["Big. Red. Eel. And.", "Big. Red. Eel. And. Dog. Oh."],
    ),
    "case.upper": ({}, ["ALL 3 CAPS!"], ["ALL 3 CAPs!", "123"]),
    "case.lower": ({}, ["all 3 low!"], ["All 3 low!", "123"]),
    "case.title": (
        {},
        ["Every Single Word's A Title.", "Well-Known 3", "Well-known"],
        ["Every single Word.", "EVERY Word", "WELL-Known", ""],
    ),
    "case.alternating": ({}, ["HE ran AWAY now"], ["he RAN away", "HE ran away", "HE"]),
    "case.capital_words": (
        {"low": 2, "high": 2},
        ["He SAW a DOG.", "I SAW A DOG."],
        ["He SAW a dog.", "HE SAW A DOG."],
    ),
    "case.capital_letters": ({"low": 0, "high": 2}, ["He saw Bob.", "he"], ["He saw Bob I."]),
    "punctuation.no_commas": ({}, ["No pause here."], ["Well, no.", "Well， no.", ""]),
    "punctuation.end_phrase": (
        {"phrase": "We shall see."},
        ["Hm. We shall see.", "Hm. We shall see.\n"],
        ["Hm. we shall see.", "We shall see. Hm.", "We shall see"],
    ),
    "punctuation.exclamations": ({"low": 2, "high": 3}, ["Go! Run!"], ["Go!", "Go!! Run!!"]),
    "punctuation.questions": ({"low": 1, "high": 1}, ["Why? So."], ["So.", "Why? Who?"]),
    "punctuation.semicolons": ({"low": 1, "high": 1}, ["So; yes."], ["So, yes.", "So; yes; no."]),
    "punctuation.only_full_stops": (
        {},
        ["He ran. She sat."],
        ["He ran, she sat.", "It's so.", "Hm"],
    ),
    "punctuation.parentheses": (
        {"low": 2, "high": UNBOUNDED},
        ["So (yes) and (no)."],
        ["So (yes).", "So (yes (no)).", "So () and ().", "So (yes) and (no."],
    ),
    "format.bullets": (
        {"low": 2, "high": 2},
        ["List:\n- one\n- two", "* one\n* two"],
        ["- one", "- one\n- two\n- three", "a - one\nb - two", "-one\n-two"],
    ),
    "format.numbered": (
        {"low": 2, "high": 2},
        ["1. one\n2. two"],
        ["1. one", "1. one\n3. two", "2. one\n3. two", "- one\n- two"],
    ),
    "format.headings": (
        {"low": 2, "high": 2},
        ["# A\nsome text here\n## B\nand more text"],
        ["# A\nsome text here", "# A\n# B\nsome more text", "#A\nsome text\n#B\nmore text here"],
    ),
    "format.sections": (
        {"low": 2, "high": UNBOUNDED},
        ["Section 1\nsome text here\nSECTION 2:\nand more text"],
        [
            "Section 1\nsome text here",
            "Section 2\nsome text here\nSection 1\nand more text",
            "Section 1\nSection 2\nsome text here",
        ],
    ),
    "format.title": (
        {},
        ["<<My Day>>\nIt was."],
        ["It was.\n<<My Day>>", "<<>>\nIt.", "<<My Day>>"],
    ),
    "format.highlights": (
        {"low": 1, "high": 1},
        ["A *red hat* here.", "2*3 and *one*"],
        ["A red hat.", "A **red** hat.", "* red\n* hat", "*a* and *b*", "A *!* hat"],
    ),
    "format.table": (
        {"columns": 2, "rows": 2},
        [TABLE],
        [
            TABLE.replace("| 3 | 4 |\n", ""),
            TABLE.replace("| 1 | 2 |", "| 1 |"),
            TABLE.replace("| 1 | 2 |", "| 1 |  |"),
            TABLE.replace("|---|---|", "|---|"),
            f"{TABLE}\n\n{TABLE}",
        ],
    ),
    "format.code_block": (
        {"language": "python"},
        ["So:\n```python\na = 1\n```\nYes."],
        [
            "```\na = 1\n```",
            "```python\n\n```",
            "```python\na = 1",
            "```python\na\n```\n```python\nb\n```",
        ],
    ),
    "format.placeholders": (
        {"low": 2, "high": 2},
        ["Dear [name] of [old town]."],
        ["Dear [name].", "[a](b) and [name]", "[1] and [name]", "[] and [name]"],
    ),
    "format.postscript": (
        {"marker": "P.S."},
        ["Dear you.\nP.S. Do not forget."],
        [
            "P.S. Do not forget.",
            "Dear you.\nP.S.",
            "Dear.\nPS: Do not forget.",
            "D.\nP.S. a b c\nx",
        ],
    ),
    "format.json_keys": (
        {"keys": ("body", "moral")},
        ['{"moral": "Go.", "body": "He ran."}'],
        [
            '{"body": "He ran."}',
            '{"body": "a", "moral": "b", "more": "c"}',
            '{"body": "a", "moral": ""}',
            '{"body": "a", "moral": 1}',
            '```json\n{"moral": "Go.", "body": "He ran."}\n```',
            '{"moral": "Go.", "moral": "a", "body": "He ran."}',
        ],
    ),
    "format.json_schema": (
        {"count": 2, "name": "part"},
        [
            '[{"part": "a", "number": 1, "last": false}, {"last": true, "part": "b", "number": 2}]',
        ],
        [
            '[{"part": "a", "number": 1, "last": true}]',
            '[{"part": "a", "number": 1, "last": false}, {"part": "b", "number": 2, "last": 0}]',
            '[{"part": "a", "number": true, "last": false}, {"part": "b", "number": 2, "last": 1}]',
            '[{"part": "a", "number": 1, "last": 0}, {"part": "b", "number": 2, "last": 1}]',
        ],
    ),
    "format.xml": (
        {"name": "text"},
        ["<text>He ran.</text>", "<text>\n3 < 4\n</text>"],
        ["He ran.", "<text></text>", "<text>He</text> ran.", "<text><b>He</b> ran.</text>"],
    ),
    "format.quotation": (
        {},
        ['"He ran."', "“He ran.”"],
        ["He ran.", '"He" ran."', '"', '""', '"He ran.”'],
    ),
    "structure.two_responses": (
        {},
        [TWO],
        [
            TWO.replace("******", "***"),
            f"{TWO}\n******\nMore of it.",
            TWO.partition("\n")[0] + "\n******\n" + TWO.partition("\n")[0],
            "Yes.\n******\nNo.",
        ],
    ),
    "structure.parts": (
        {"count": 2},
        ["He ran off.\n***\nShe sat down."],
        [
            "He ran off.",
            "He ran off.\n***\n",
            "He ran off.\n***\nShe sat down.\n***\nWe went home.",
        ],
    ),
    "structure.repeat_request": (
        {},
        [f"{REQUEST}\n\n{BODY}"],
        [
            BODY,
            f"{BODY}\n{REQUEST}",
            f"{REQUEST}\nYes.",
            f"{REQUEST.lower()}\n{BODY}",
            f"{REQUEST}\n{BODY} {REQUEST}",
        ],
    ),
    "structure.growing_sentences": (
        {},
        ["Go. He ran. She sat down."],
        ["Go. He ran. She sat.", "Go. He ran.", "He ran. Go. She sat down."],
    ),
    "structure.chain": (
        {},
        ["He saw it. It ran off. Off we go."],
        ["He saw it. It ran off. We go.", "He saw it. It ran."],
    ),
    "structure.different_openings": (
        {},
        ["He ran. She sat. We left."],
        ["He ran. She sat. He left.", "He ran. She sat.", "The end. THE end. We left."],
    ),
    "structure.sorted_items": (
        {"count": 3},
        ["So:\n- ant\n- Bee\n- cat"],
        ["- ant\n- bee", "- bee\n- ant\n- cat", "- ant\n- ant\n- bee"],
    ),
    "counting.unique_words": ({"percent": 75}, ["One two three one."], ["One two one one.", ""]),
    "counting.word_repeats": ({"most": 1}, ["One two three."], ["One two ONE.", ""]),
    "counting.distinct_words": (
        {"low": 3, "high": 3},
        ["One two three one."],
        ["One two one.", "a b c d"],
    ),
    "numbers.count": ({"low": 2, "high": 2}, ["12 and 1,500.5"], ["12", "12 13 14", "twelve two"]),
    "numbers.sum": (
        {"total": 30, "least": 2},
        ["10 and 20.", "29.5 and 0.5"],
        ["30", "10 and 21", "10 and 20 and 1", "10 and twenty"],
    ),
    "numbers.increasing": (
        {"least": 2},
        ["1 then 2"],
        ["2 then 1", "1 then 1", "1", "1 then 3 then 2"],
    ),
    "numbers.none": ({}, ["One two."], ["1 two.", "x²", ""]),
    "language.ascii": ({}, ["It's plain."], ["It’s plain.", "Café", ""]),
    "language.language": (
        {"language": "French"},
        [FRENCH],
        [ENGLISH, f"{FRENCH} {ENGLISH} {ENGLISH}", "La maison.", ""],
    ),
}


def test_every_constraint_is_judged_by_hand() -> None:
    assert set(CASES) == set(CATALOGUE)
    assert len(CATALOGUE) >= 55
    assert all(good and bad for _, good, bad in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_hand_judged_texts(name: str) -> None:
    parameters, good, bad = CASES[name]
    constraint = from_record({"id": name, **parameters})
    assert [text for text in good if not constraint.check(Reading.of(text, REQUEST))] == []
    assert [text for text in bad if constraint.check(Reading.of(text, REQUEST))] == []


@pytest.mark.parametrize("name", CASES)
def test_a_constraint_travels_as_json_and_says_itself_in_several_ways(name: str) -> None:
    constraint = from_record({"id": name, **CASES[name][0]})
    assert from_record(constraint.record()) == constraint
    wordings = constraint.describe()
    assert len(set(wordings)) >= 3
    assert not any("{" in wording or "UNBOUNDED" in wording for wording in wordings)


@pytest.mark.parametrize(
    "record",
    [
        {"id": "length.wrods", "low": 1, "high": 2},
        {"low": 1, "high": 2},
        {"id": "length.words", "low": 1},
        {"id": "length.words", "low": 1, "high": 2, "word": "a"},
    ],
)
def test_what_is_unknown_is_an_error_and_never_a_pass(record: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="constraint"):
        from_record(record)
