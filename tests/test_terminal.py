"""Progress bars are shown, messages stay."""

import sys
from itertools import count

import pytest
from tqdm import tqdm

from hmm_utils.app import terminal

BAR = "\rtraining:  50%|█████     | 1/2 [00:00<00:01,  1.0it/s, widths=[1, 2]]"
WARNING = "/a/b.py:6: UserWarning: large\n  warnings.warn(text)\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", ""),
        ("\n", ""),
        (WARNING, WARNING),
        ("a blank line\n\n follows", "a blank line\n\n follows"),
        ("a Windows line\r\n", "a Windows line\n"),
        (BAR, ""),
        (f"{BAR}{BAR}\n", ""),
        (f"\n{BAR}\x1b[A", ""),
        (f"\r{' ' * 40}\r", ""),
        (f"{BAR}\n{WARNING}", WARNING),
        (f"{BAR}{WARNING}", WARNING),
        (f"{BAR}{BAR}\r   \r{WARNING}", WARNING),
        (f"\r   \x1b[A{WARNING}{BAR}", WARNING),
        (f"{WARNING}{BAR}{WARNING}", WARNING + WARNING),
        ("\r5it [00:00, 49.1it/s]\r10it [1:00:00, 49.1it/s]\n", ""),
        ("\r 40%|████      |\r 50%|█████     | half", ""),
    ],
)
def test_without_progress(text, left):
    assert terminal.without_progress(text) == left


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_and_states(size):
    states, lines = [], []
    relay = terminal._Lines(lines.append, states.append)
    text = f"{WARNING}{BAR}{BAR.replace('1/2', '2/2')}\n\r    \x1b[A{WARNING}no end"
    for start in range(0, len(text), size):
        relay.write(text[start : start + size])
        relay.flush()
    assert lines == WARNING.splitlines() * 2
    relay.close()
    assert lines == [*WARNING.splitlines() * 2, "no end"]
    if size < len(text):
        assert "2/2" in "".join(states)


def test_a_bar_in_a_file_is_a_line_every_few_seconds(capfd, monkeypatch):
    """One second passes from state to state: of 100 states of each of two bars, one in five is written."""
    monkeypatch.setattr(terminal.time, "monotonic", count().__next__)
    stderr = sys.stderr
    with terminal.redirected():
        for name in ("one", "two"):
            for i in tqdm(range(100), desc=name, mininterval=0, miniters=1, disable=False):
                if i == 50:
                    print("a message", file=sys.stderr)
    assert sys.stderr is stderr
    lines = capfd.readouterr().err.splitlines()
    assert lines.count("a message") == 2 and not any("\r" in line for line in lines)
    for name in ("one", "two"):
        states = [line for line in lines if line.startswith(f"{name}:")]
        assert 18 <= len(states) <= 22 and " 50%|" in "".join(states)
