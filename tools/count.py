"""Counts lines of code without docstrings, comments and blanks: python tools/count.py [FOLDER or FILE ...]"""

import ast
import sys
import tokenize
from pathlib import Path

BLANK = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(path: Path) -> int:
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            docstrings.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines: set[int] = set()
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type not in BLANK:
                lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        files = [Path(argument)] if argument.endswith(".py") else sorted(Path(argument).rglob("*.py"))
        print(f"{sum(map(code_lines, files)):7} {argument}")
