"""Formulas as the docstrings write them, in Unicode, into TeX: `tex` for a formula, `pieces` to find formulas in prose.

    ε_g = ½ Σ_k v_k g(w̃_k·x/√N)²   →   \\epsilon_{g}=\\tfrac{1}{2}\\sum_{k}v_{k}g(\\tilde{w}_{k}\\cdot x/\\sqrt{N})^{2}

A word of prose in a formula becomes upright text. What cannot be a formula is left as it stands: `tex` raises
ValueError and `pieces` calls it text. To take a formula for prose costs some beauty, to take prose for a formula would
garble it, so that whatever is doubtful is prose.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["display", "is_formula", "markdown", "pieces", "tex"]

_GREEK = {
    "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Υ": "Upsilon",
    "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon",
    "ζ": "zeta", "η": "eta", "θ": "theta", "ϑ": "vartheta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu",
    "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi",
    "ψ": "psi", "ω": "omega",
}  # fmt: skip
_SYMBOLS = {
    "√": r"\sqrt", "Σ": r"\Sigma", "∫": r"\int", "∂": r"\partial", "∞": r"\infty", "≤": r"\le", "≥": r"\ge",
    "≈": r"\approx", "≠": r"\ne", "∝": r"\propto", "≪": r"\ll", "≫": r"\gg", "∈": r"\in", "→": r"\to",
    "←": r"\leftarrow", "×": r"\times", "·": r"\cdot", "±": r"\pm", "−": "-", "…": r"\ldots", "½": r"\tfrac{1}{2}",
    "¼": r"\tfrac{1}{4}", "ℓ": r"\ell", "⊥": r"\perp", "~": r"\sim", "%": r"\%", "&": r"\&", "‖": r"\|", "∑": r"\sum",
    "=": "=", "+": "+", "-": "-", "/": "/", "<": "<", ">": ">", "|": "|", ",": ",", ";": ";", ":": r"\colon", ".": ".",
    "!": "!", "*": r"\ast",
}  # fmt: skip
_PAIRS = {"(": ("(", ")", ")"), "[": ("[", "]", "]"), "⟨": (r"\langle", "⟩", r"\rangle"), "{": (r"\{", "}", r"\}")}
_ACCENTS = {"\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar", "\u0305": r"\bar", "\u0307": r"\dot"}
_SUPER = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀ", [*"0123456789+-", r"\mathsf{T}"], strict=True))
_SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-", strict=True))
_FUNCTIONS = {name: rf"\{name}" for name in ("ln", "log", "exp", "sin", "cos", "tan", "det", "dim", "min", "max")}
_FUNCTIONS |= {name: rf"\{name}" for name in ("arcsin", "arccos", "arctan")}
_FUNCTIONS |= {"asin": r"\arcsin", "acos": r"\arccos"}
_FUNCTIONS |= {name: rf"\operatorname{{{name}}}" for name in ("erf", "sgn", "tr", "diag", "Var")}
# two letters that are a word and not a product such as CF or Wx
_WORDS = {"an", "as", "at", "be", "by", "do", "he", "if", "in", "is", "it", "my"}
_WORDS |= {"no", "of", "on", "or", "so", "to", "up", "we"}


def _normal(text: str) -> str:
    """Letters apart from the marks on them; ≠ stays one sign."""
    return unicodedata.normalize("NFD", text).replace("=\u0338", "≠")


def _is_product(word: str) -> bool:
    """CF, Wx, bF: the names of two quantities side by side."""
    return len(word) == 2 and word.lower() not in _WORDS and any(c.isupper() for c in word)


class _Reader:
    """Reads one formula from left to right. Raises ValueError at what it does not know."""

    def __init__(self, text: str):
        self.text, self.at, self.in_script = _normal(text), 0, 0

    def peek(self, n: int = 1) -> str:
        return self.text[self.at : self.at + n]

    def take(self, pattern: str) -> str:
        match = re.compile(pattern).match(self.text, self.at)
        if not match:
            return ""
        self.at = match.end()
        return match[0]

    def sequence(self, closing: str = "") -> str:
        """Everything up to a closing bracket, or to the end."""
        out: list[str] = []
        while self.at < len(self.text):
            if closing and self.peek() == closing:
                return _joined(out)
            if gap := self.take(r"\s+"):
                if len(gap) > 1 and out:
                    out.append(r"\qquad")
                elif out and (self._is_shape() or self._after_shape()):
                    out.append(r"\;")
                continue
            out.append(self.scripted())
        if closing:
            raise ValueError(f"{self.text!r} lacks a {closing}")
        return _joined(out)

    def _is_shape(self) -> bool:
        """(P, N) behind a name and a blank is no argument of it."""
        return bool(re.match(r"\([^()]*,[^()]*\)", self.text[self.at :])) and bool(
            re.search(r"[\w*)\u0302-\u0307]\s+$", self.text[: self.at])
        )

    def _after_shape(self) -> bool:
        return bool(re.search(r"(?<!\w)\([^()]*,[^()]*\)\s+$", self.text[: self.at])) and bool(
            re.match(r"[\w√]", self.peek() or " ")
        )

    def scripted(self) -> str:
        """An atom with its marks, primes, stars, subscripts and superscripts."""
        base = self.atom()
        primes, sub, sup = "", [], []
        while self.at < len(self.text):
            if taken := self.take("'+"):
                primes += taken
            elif taken := self.take("[₀₁₂₃₄₅₆₇₈₉₊₋]+(,[₀₁₂₃₄₅₆₇₈₉]+)*"):
                sub.append("".join(_SUB.get(c, c) for c in taken))
            elif taken := self.take(f"[{''.join(_SUPER)}]+"):
                sup.extend(_SUPER[c] for c in taken)
            elif self.peek() == "_" and self.peek(2) not in ("_", "__", "_ "):
                self.at += 1
                sub.append(self.script())
            elif self.peek() == "^" and self.peek(2) != "^":
                self.at += 1
                sup.append(self.script())
            elif self.take(r"\*(?![\w(*])|\*(?=_)"):
                sup.append("*")
            elif re.match(r"[\w}]", base[-1]) and self.take(r"±(?=\s|$|[,;.)])"):
                sub.append(r"\pm")
            else:
                break
        subscript = f"_{{{_joined(sub)}}}" if sub else ""
        return base + primes + subscript + (f"^{{{_joined(sup)}}}" if sup else "")

    def script(self) -> str:
        if self.take(r"\{"):
            self.in_script += 1
            inside = self.sequence("}")
            self.in_script -= 1
            self.at += 1
            return inside
        sign = "-" if self.take("[−-]") else ""
        if word := self.take("[A-Za-z0-9]+"):
            if self.peek() in _ACCENTS and self.peek():
                raise ValueError("a mark within a subscript")
            plain = word.isalpha() and (len(word) > 2 or word in _FUNCTIONS)
            return sign + (rf"\mathrm{{{word}}}" if plain else word)
        return sign + self.atom()

    def atom(self) -> str:
        c = self.peek()
        if self.take("dln(?=[A-Za-zα-ω]|$)"):
            return r"d\ln"
        if expectation := self.take(r"E(?=[\[(])|E (?=[A-Za-zα-ω∂|])"):
            return r"\mathbb{E}" + (r"\," if expectation[1:] else "")
        if word := self.take("[A-Za-z]+"):
            return self.word(word)
        if c == "Σ" and self._is_sum():
            self.at += 1
            return r"\sum"
        if c in _GREEK:
            self.at += 1
            return self.marked("\\" + _GREEK[c])
        if number := self.take(r"\d+(?:\.\d+)?(?: \d{3}(?!\d))*"):
            return number.replace(" ", r"\,")
        if c == "√":
            self.at += 1
            self.take(" *")
            return rf"\sqrt{{{self.radicand()}}}"
        if c in _PAIRS:
            self.at += 1
            left, closing, right = _PAIRS[c]
            inside = self.sequence(closing)
            self.at += 1
            return _joined([left, inside, right])
        if operator := self.take(r"\+=|!=|<=|>="):
            return {"+=": r"\mathrel{+}=", "!=": r"\ne", "<=": r"\le", ">=": r"\ge"}[operator]
        if c in _SYMBOLS:
            self.at += 1
            return _SYMBOLS[c]
        raise ValueError(f"{c!r} is nothing that a formula has")

    def _is_sum(self) -> bool:
        """Σ_k x_k and Σ q are sums, in Σ = SSᵀ/D it is the name of a matrix."""
        return bool(re.match(r"Σ(_|[₀-₉]| ?[A-Za-zα-ω√(\[⟨∫])", self.text[self.at :]))

    def radicand(self) -> str:
        if self.peek() == "(":
            self.at += 1
            inside = self.sequence(")")
            self.at += 1
            return inside
        first = self.scripted()
        if first in _FUNCTIONS.values():
            self.take(" *")
            return _joined([first, self.scripted()])
        return first

    def marked(self, letter: str) -> str:
        """A letter and the accents on it."""
        while self.peek() and self.peek() in _ACCENTS:
            letter = f"{_ACCENTS[self.peek()]}{{{letter}}}"
            self.at += 1
        return letter

    def word(self, word: str) -> str:
        """One letter, a function, a product of two, a differential, or a word of prose."""
        after = self.peek()
        if after and unicodedata.combining(after) and after not in _ACCENTS:
            raise ValueError(f"{word!r} is followed by a mark that formulas do not have")
        if after and after in _ACCENTS and len(word) > 1:
            # the mark is on the last letter
            self.at -= 1
            return self._plain(word[:-1])
        if len(word) == 1:
            return self.marked(word)
        return self._plain(word)

    def _plain(self, word: str) -> str:
        before = self.text[: self.at].removesuffix(word)[-1:]
        if len(word) == 1:
            return word
        if word in _FUNCTIONS:
            return _FUNCTIONS[word]
        if self.in_script and len(word) <= 2:
            return word
        near_slash = before == "/" or re.match(r"[\w']*/d|\(", self.text[self.at :])
        differential = word[0] == "d" and near_slash
        if _is_product(word) or (len(word) == 2 and (self.peek() == "ᵀ" or differential)):
            return " ".join(word)
        self.at -= len(word)
        said = self.take(r"[A-Za-z]{2,}(?:-?[A-Za-z]+)*(?: [A-Za-z]{2,}(?:-[A-Za-z]+)*)*")
        ahead = " " if self.peek() == " " else ""
        behind = " " if self.text[: self.at].removesuffix(said)[-1:] == " " else ""
        return rf"\text{{{behind}{said}{ahead}}}"


def _joined(parts: list[str]) -> str:
    """TeX side by side; a blank only where a command would swallow a letter."""
    out = ""
    for part in parts:
        out += " " if re.search(r"\\[A-Za-z]+$", out) and part[:1].isalpha() else ""
        out += part
    return out


_MATRIX = re.compile(r"\[\[([^][,]+), ([^][,]+)\], \[([^][,]+), ([^][,]+)\]\]")


def tex(formula: str) -> str:
    """The formula in TeX. Raises ValueError for what is none."""
    if matrix := _MATRIX.search(formula):
        before, after = formula[: matrix.start()], formula[matrix.end() :]
        a, b, c, d = map(tex, matrix.groups())
        inside = rf"\begin{{pmatrix}}{a}&{b}\\{c}&{d}\end{{pmatrix}}"
        return "".join([tex(before) if before.strip() else "", inside, tex(after) if after.strip() else ""])
    return _Reader(formula.strip()).sequence()


# --- formulas in prose -------------------------------------------------------------------------------------------

_MATHS = re.compile("[Α-Ωα-ωϑ√∑∫∂∞≤≥≈≠∝≪≫∈±×·⟨⟩½¼ℓ⊥⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀ₀₁₂₃₄₅₆₇₈₉₊₋\u0302\u0303\u0304]")
_OPERATORS = frozenset("=+−/<>≤≥≈≠~∈·×±→←∝≪≫…|")
# what stands before a number or a letter that is no formula: Eq. (3), Phys. Rev. E
_NOT_AFTER = {"Eq.", "Eqs.", "Fig.", "Figs.", "Sec.", "Section", "Appendix", "claim", "claims"} | {"Rev.", "Math."}
_NAME = r"(?<![\w.…])(?:…_|[A-Za-z])[A-Za-z0-9]*(?:_[A-Za-z0-9]+)*(?:\.[A-Za-z]\w*)*(?!\w)"
_CODE = re.compile(rf"(`[^`]+`|(?<!\w)(?!https?:)\w+://[\w.:/-]+\w|{_NAME}=\"[^\"]*\"|{_NAME}(?:\([^()]*\))?)")
_STRONG, _WEAK, _NUMBER, _OPERATOR, _TEXT = range(5)


def _is_identifier(word: str) -> bool:
    """n_inputs, eps_g_mse and x_train are names in the program; w_k, I_N and K_max are formulas."""
    if word.startswith("…"):
        return True
    base, _, rest = word.partition("_")
    short = re.fullmatch(r"[A-Za-z0-9]{1,2}", rest) or rest in _FUNCTIONS
    return not ((re.fullmatch(r"[A-Za-z]\d?", base) or base in ("min", "max")) and short)


def _is_code(part: str) -> bool:
    """An address, layers="both", n_inputs, or a call such as functools.partial(f, a=1); no f(x) and no w_k."""
    name = re.split(r"[.(=]", part)[0]
    called = "(" in part and "." in part.partition("(")[0]
    return "://" in part or '="' in part or called or ("_" in name and _is_identifier(name))


def _kind(token: str) -> int:
    """What a word of prose is, seen by itself."""
    token = _normal(token)
    bare = token.strip("()[],.;:!?'\"|")
    if token.rstrip(",") in _OPERATORS:
        return _OPERATOR
    if not bare or bare == "I/O" or '"' in token or "\\" in token or bare.startswith("-"):
        return _TEXT
    strong = bool(_MATHS.search(bare))
    for word in re.finditer("[A-Za-z]+", bare):
        name, before = word[0], bare[word.start() - 1 : word.start()]
        if len(name) == 1 or name in _FUNCTIONS or re.fullmatch("dln[A-Za-z]?", name) or before == "^":
            continue
        in_script = before == "_" or re.search(r"[_^]\{[^}]*$", bare[: word.start()])
        if in_script and (len(name) <= 2 or strong):
            continue
        differential = name[0] == "d" and len(name) == 2 and re.search(r"/|\([α-ω]", bare)
        transposed = len(name) == 2 and bare[word.end() : word.end() + 1] == "ᵀ"
        if not (differential or transposed or (_is_product(name) and re.search(r"[/()=^_²ᵀ√·]|[^\x00-\x7f]", token))):
            return _TEXT
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]?", bare) or re.search(r"[@#$&]|\w\.[A-Za-z]|[A-Za-z]\.\w", bare):
        return _TEXT
    if re.fullmatch(r"[+−]?\d[\d.]*(?:/\d+)?(?:e-?\d+)?%?", bare):
        return _NUMBER
    if strong or re.search(r"[_^]|[A-Za-z]'*\(|[A-Za-z0-9]\*|[\w)\]]/[\w(]|\w=|[A-Za-z]\[|\w[+−]\w", bare):
        return _STRONG
    if re.fullmatch(r"[A-Za-z]'*|\d+[A-Za-z]", bare):
        return _WEAK
    if bare in _FUNCTIONS and bare not in ("min", "max", "diag", "sgn"):
        return _WEAK
    return _TEXT


def pieces(prose: str) -> list[tuple[str, str]]:
    """Prose in pieces ("text" | "code" | "math", content), which put together again are the whole.

    Code is what stands in backquotes (without them) and what is a name of the program, a formula a run of words that a
    formula has, as long as it can be.
    """
    found: list[tuple[str, str]] = []
    for part in _CODE.split(prose):
        if part.startswith("`") and part.endswith("`") and len(part) > 2:
            found.append(("code", part[1:-1]))
        elif part and _CODE.fullmatch(part) and _is_code(part):
            found.append(("code", part))
        elif part and found and found[-1][0] == "text":
            found[-1] = ("text", found[-1][1] + part)
        elif part:
            found.append(("text", part))
    return [piece for kind, part in found for piece in (_formulas(part) if kind == "text" else [(kind, part)])]


def _formulas(text: str) -> list[tuple[str, str]]:
    """Text in pieces of text and of formulas."""
    words = re.split(r"(\s+)", text)
    tokens, spaces = words[::2], [*words[1::2], ""]
    kinds = _kinds(tokens)
    out: list[tuple[str, str]] = []

    def say(kind: str, content: str) -> None:
        if content and out and out[-1][0] == kind == "text":
            out[-1] = (kind, out[-1][1] + content)
        elif content:
            out.append((kind, content))

    i = 0
    while i < len(tokens):
        end = _run(tokens, kinds, i)
        for last in range(end, i, -1):
            run = "".join(t + s for t, s in zip(tokens[i:last], [*spaces[i : last - 1], ""], strict=True))
            if split := _core(run, kinds[i:last]):
                before, formula, after = split
                say("text", before)
                for j, part in enumerate(_apart(formula)):
                    say("text", ", " if j else "")
                    say("math" if _has_quantity(part) else "text", part)
                say("text", after + spaces[last - 1])
                i = last
                break
        else:
            say("text", tokens[i] + spaces[i])
            i += 1
    return out


def _kinds(tokens: list[str]) -> list[int]:
    kinds, depth = [], 0
    for i, token in enumerate(tokens):
        kind = _kind(token)
        before = tokens[i - 1] if i else ""
        if before.lstrip("(") in _NOT_AFTER or (before.endswith(",") and i > 1 and tokens[i - 2] in ("Eqs.", "Figs.")):
            kind = _TEXT
        # the inside of a call, or of an index: levels[t, k + 1]
        if depth > 0 or (kind == _TEXT and re.match(r"\w{2,}[\[(]", token)):
            depth += sum(token.count(c) for c in "[(") - sum(token.count(c) for c in "])")
            depth, kind = max(depth, 0), _TEXT
        kinds.append(kind)
    for i, token in enumerate(tokens):
        # articles, a pronoun and a numeral, unless they stand in an equation
        near = {tokens[j] for j in (i - 1, i + 1) if 0 <= j < len(tokens)}
        if (token in ("a", "A") or token.rstrip(",") == "I") and not near & _OPERATORS:
            kinds[i] = _TEXT
        if token.rstrip(",.;") in ("sgn", "erf") and i and tokens[i - 1] == "=":
            kinds[i] = _WEAK
        # J. Comput. Appl. Math.
        if re.fullmatch(r"[A-Z]\.", token) and i + 1 < len(tokens) and re.fullmatch(r"[A-Z]\w+\.", tokens[i + 1]):
            kinds[i] = _TEXT
    return kinds


def _run(tokens: list[str], kinds: list[int], start: int) -> int:
    """Where the run of words of formulas ends that begins here."""
    end = start
    while end < len(tokens) and kinds[end] != _TEXT:
        end += 1
        ends = re.search(r"[.;:!?]$", tokens[end - 1]) and tokens[end - 1] not in _OPERATORS
        if ends and _excess(" ".join(tokens[start:end])) >= 0:
            break
    return end


def _core(run: str, kinds: list[int]) -> tuple[str, str, str] | None:
    """What stands before, in and behind the formula of a run; None if there is no formula that begins and ends here."""
    if kinds[0] == _OPERATOR and run[0] not in "−±√…|":
        return None
    if kinds[0] == _NUMBER and len(kinds) > 1 and kinds[1] != _OPERATOR and not re.match(r"[\d.]*\d \S", run):
        return None
    if kinds[-1] == _OPERATOR and not run.rstrip(",").endswith(("…", "|")):
        return None
    if kinds[-1] == _NUMBER and len(kinds) > 1 and kinds[-2] != _OPERATOR and not run.rstrip(".,;:").endswith(")"):
        return None
    if not (_STRONG in kinds or _WEAK in kinds):
        return None
    formula = run.rstrip(".,;:!?")
    after = run[len(formula) :]
    before = ""
    # a bracket that opens or closes around more than the formula
    while formula and not _balanced(formula):
        if formula[-1] in ")]" and _excess(formula) > 0:
            after, formula = formula[-1] + after, formula[:-1]
        elif formula[0] in "([" and _excess(formula) < 0:
            before, formula = before + formula[0], formula[1:]
        else:
            return None
        bare = formula.rstrip(".,;:!?")
        after, formula = formula[len(bare) :] + after, bare
    # bars come in pairs, but for that of a condition: E[g(ν) | c]
    if re.sub(r"\[[^][|]*\|[^][|]*\]", "", formula).count("|") % 2 or not _has_quantity(formula):
        return None
    try:
        made = tex(formula)
    except (ValueError, IndexError):
        return None
    return None if r"\text" in made else (before, formula, after)


def _has_quantity(formula: str) -> bool:
    """Whether there is more in it than numbers and signs."""
    return bool(re.search(r"[^\W\d_]|[√½∞∂]", _normal(formula)))


def _apart(formula: str) -> list[str]:
    """The parts between commas outside brackets, which a line may be broken at; each must be a formula by itself."""
    parts, depth = [""], 0
    for i, c in enumerate(formula):
        depth += (c in "([⟨{") - (c in ")]⟩}")
        if c == "," and depth == 0 and formula[i + 1 : i + 2] == " ":
            parts.append("")
        else:
            parts[-1] += c
    parts = [part.strip() for part in parts]
    try:
        return parts if all(tex(part) for part in parts) else [formula]
    except (ValueError, IndexError):
        return [formula]


def _excess(text: str) -> int:
    return sum(text.count(c) for c in ")]⟩}") - sum(text.count(c) for c in "([⟨{")


def _balanced(text: str) -> bool:
    depth = 0
    for c in text:
        depth += (c in "([⟨{") - (c in ")]⟩}")
        if depth < 0:
            return False
    return depth == 0


def markdown(prose: str) -> str:
    """Prose in MyST's Markdown, with its formulas between dollars and its code in backquotes."""
    wrapped = {
        "text": lambda t: re.sub(r"([*_$\\<\[\]])", r"\\\1", t),
        "code": lambda t: f"`{t}`",
        "math": lambda t: f"${tex(t)}$",
    }
    return "".join(wrapped[kind](content) for kind, content in pieces(prose))


# --- displayed formulas ------------------------------------------------------------------------------------------


def is_formula(line: str) -> bool:
    """Whether a whole line is a formula, perhaps with some words in it: most of it is no prose, and it can be read."""
    letters = sum(len(word) for word in re.findall(r"[A-Za-z]{3,}", line) if word not in _FUNCTIONS)
    related = any(r in line for r in ("=", "∝", "~", "→", "←", "≈"))
    try:
        tex(line)
    except (ValueError, IndexError):
        return False
    return related and letters <= 0.55 * len(line.replace(" ", ""))


def display(lines: list[str]) -> str:
    """Lines of formulas as one displayed block, aligned at their relations or, if they are a program, at the left.

    Indentation is kept, and a gap of two blanks or more becomes a wide space. Raises ValueError for what is no formula.
    """
    least = min(len(line) - len(line.lstrip()) for line in lines)
    indents = [len(line) - len(line.lstrip()) - least for line in lines]
    if len(lines) == 1:
        return tex(lines[0])
    aligned = not any(indents) and all(_relation(line) is not None for line in lines)
    rows = []
    for line, indent in zip(lines, indents, strict=True):
        text = line.strip()
        if aligned:
            at = _relation(text)
            left, right = text[:at], text[at:]
            rows.append(f"{tex(left)}&{tex(right)}")
        else:
            rows.append("&" + r"\quad " * round(indent / 4) + tex(text))
    return r"\begin{aligned}" + r"\\".join(rows) + r"\end{aligned}"


def _relation(line: str) -> int | None:
    """Where the first relation outside brackets stands."""
    depth = 0
    for i, c in enumerate(line):
        depth += (c in "([{⟨") - (c in ")]}⟩")
        if c in "=←∝≈" and depth == 0:
            return i - 1 if line[i - 1] == "+" else i
    return None
