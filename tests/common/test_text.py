"""Text from outside on its way to a terminal."""

from __future__ import annotations

from search.common.errors import UserError, reason_of, root_of
from search.common.text import clean, counted, one_line


def test_what_a_terminal_obeys_is_shown_and_not_done() -> None:
    assert clean("c8 P | ü 99.4 %") == "c8 P | ü 99.4 %"
    assert clean("a\x1b[2J\nb\r\x07\x9b1m") == r"a\x1b[2J\nb\r\x07\x9b1m"
    assert clean("a\u202eb\u200bc\udc80") == r"a\u202eb\u200bc\udc80"
    assert clean("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


def test_a_message_is_one_line_and_keeps_its_spaces() -> None:
    assert one_line("a  b\n  [SQL: \x1b]\u2028c") == r"a  b [SQL: \x1b] c"
    assert str(UserError("no\n\x1b[2Jfile", "Mend  it")) == r"no \x1b[2Jfile. Mend  it."


def test_numbers_have_their_nouns() -> None:
    assert [counted(n, "trial") for n in (0, 1, 1_200)] == ["0 trials", "1 trial", "1,200 trials"]


def test_an_error_s_root_is_one_line() -> None:
    try:
        try:
            raise ValueError("what is wrong\nand a page on it")
        except ValueError as error:
            raise RuntimeError("Next steps: ...") from error
    except RuntimeError as error:
        assert root_of(error) == "what is wrong"
    assert root_of(KeyError()) == "KeyError"
    assert reason_of(AssertionError()) == "failed: AssertionError"
