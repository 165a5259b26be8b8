"""Text that cannot steer what shows it.

What a model wrote, what a file is called and what a configuration holds is hostile text: printed as
it is, an escape character in it may rename the window, hide lines or type into the shell.
"""

__all__ = ["printable"]

# To str.translate: every control character but newline and tab becomes its picture (U+2400 on); DEL
# has one of its own, and those from U+0080 on, among them a second way to begin an escape, none.
CONTROL_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


def printable(text: str) -> str:
    """`text` as a terminal or a page can show it."""
    return text.translate(CONTROL_PICTURES)
