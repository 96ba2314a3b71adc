"""The book's sources: formulas, docstrings, chapters, claims and links. What needs Sphinx or a browser is in
tests/browser/test_book.py."""

import dataclasses
import inspect
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

import hmm_utils
from hmm_utils.claims import report

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from hmm_book import api, chapters, claims_table, docstrings, links, make, unitex  # noqa: E402
from hmm_book.errors import BookError  # noqa: E402

REPOSITORY = "someone/something"

# --- formulas ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("ε_g", r"\epsilon_{g}"),
        ("ε₁,₂", r"\epsilon_{1,2}"),
        ("ε_g^mse", r"\epsilon_{g}^{\mathrm{mse}}"),
        ("y*", "y^{*}"),
        ("w*_m", "w_{m}^{*}"),
        ("w̃_m·c/√D", r"\tilde{w}_{m}\cdot c/\sqrt{D}"),
        ("ē − ε̂", r"\bar{e}-\hat{\epsilon}"),
        ("½ Σ_k v_k g(λ_k)²", r"\tfrac{1}{2}\sum_{k}v_{k}g(\lambda_{k})^{2}"),
        ("Σ = SSᵀ/D", r"\Sigma=S S^{\mathsf{T}}/D"),
        ("Σ_{b'<b} x", r"\sum_{b'<b}x"),
        ("f(CF/√D)", r"f(C F/\sqrt{D})"),
        ("√(2(1 + Q))", r"\sqrt{2(1+Q)}"),
        ("√⟨κ₃²/12⟩", r"\sqrt{\langle\kappa_{3}^{2}/12\rangle}"),
        ("√det B", r"\sqrt{\det B}"),
        ("2⁻²⁴", "2^{-24}"),
        ("N^−α", r"N^{-\alpha}"),
        ("μ^{−d}", "\\mu^{-d}"),
        ("σ^{kl}_τ", r"\sigma_{\tau}^{kl}"),
        ("w_⊥", r"w_{\perp}"),
        ("ρ± = (1 ± √δ)²", r"\rho_{\pm}=(1\pm\sqrt{\delta})^{2}"),
        ("dε_g/dlnK", r"d\epsilon_{g}/d\ln K"),
        ("dr/dt = −η", "d r/d t=-\\eta"),
        ("E[g(ν) | ν̂]", r"\mathbb{E}[g(\nu)|\hat{\nu}]"),
        ("a ≠ 0", r"a\ne0"),
        ("x ← y", r"x\leftarrow y"),
        ("x (P, N)", r"x\;(P,N)"),
        ("φ(x; θ*)", r"\phi(x;\theta^{*})"),
        ("[[Q, R], [Rᵀ, T]]", r"\begin{pmatrix}Q&R\\R^{\mathsf{T}}&T\end{pmatrix}"),
        ("10 000", r"10\,000"),
        ("v += e if v is trained", r"v\mathrel{+}=e\text{ if }v\text{ is trained}"),
        ("asin(s/2)", r"\arcsin(s/2)"),
        ("∂W_kn", r"\partial W_{kn}"),
    ],
)
def test_formulas(formula, expected):
    assert unitex.tex(formula) == expected


@pytest.mark.parametrize("nothing", ["(x", "a $ b", 'say "x"', "Mézard", "[[1, 2]", "#"])
def test_what_no_formula_can_be(nothing):
    with pytest.raises(ValueError):
        unitex.tex(nothing)


@pytest.mark.parametrize(
    ("prose", "formulas"),
    [
        ("for K ≥ M the error goes to 0, as N and D grow.", ["K ≥ M", "N", "D"]),
        ("y* = φ(x; θ*), Eq. (4), or its sign", ["y* = φ(x; θ*)"]),
        ("inputs C (P, D) and F (D, N) i.i.d. N(0, 1).", ["C (P, D)", "F (D, N)", "N(0, 1)"]),
        ("(students with K ≥ M)", ["K ≥ M"]),
        ("the fields λ_k, ν_m of a student", ["λ_k", "ν_m"]),
        ("with f = sgn and D = 10", ["f = sgn", "D = 10"]),
        ("a + b u is linear", ["a + b u"]),
        ("E[g(ν) | ν̂] is the mean", ["E[g(ν) | ν̂]"]),
        ("max |Q̄ − Q| over times", ["|Q̄ − Q|"]),
    ],
)
def test_formulas_in_prose(prose, formulas):
    found = unitex.pieces(prose)
    assert [content for kind, content in found if kind == "math"] == formulas
    assert "".join(content for _, content in found) == prose


@pytest.mark.parametrize(
    "prose",
    [
        "A run that was killed goes on, and I/O errors pass.",
        "(Appendix C), see Eq. (3), Fig. 4 and Phys. Rev. E 52, 4225 (1995), J. Comput. Appl. Math. 88, 315",
        "28 × 28 pixels, 2 GB, 95 %, version 3.11 or 1e-7, 0.31 to 0.75",
        "claims C9 and C17, T1.1 to T1.4, MLE, SGD, RKC and TwoNN of (8×8) digits",
        "i.e. a student–teacher pair; Mézard, Nørsett and Zdeborová",
        "levels[t, k + 1] and default_rng(seed, K)",
        "Raises ValueError for an unknown name, and OSError if it cannot.",
        "The command writes to OUT/figures/NAME.png and reads [scan] in setups.toml.",
    ],
)
def test_prose_is_left_alone(prose):
    assert [piece for piece in unitex.pieces(prose) if piece[0] == "math"] == []


def test_names_of_the_program_are_code():
    found = unitex.pieces('takes n_inputs, eps_g_mse and x_train, `K_max` and layers="both", not w_k, I_N or K_max')
    assert [c for kind, c in found if kind == "code"] == ["n_inputs", "eps_g_mse", "x_train", "K_max", 'layers="both"']
    assert [c for kind, c in found if kind == "math"] == ["w_k", "I_N", "K_max"]


def _docstrings():
    for module in api.modules(hmm_utils):
        yield module.__name__, inspect.getdoc(module)
        for name in api.public(module):
            value = getattr(module, name)
            if api._is_documented(module, name):
                yield f"{module.__name__}.{name}", inspect.getdoc(getattr(value, "py_func", value))


def test_every_docstring_of_the_package():
    """No word is lost or added, whatever becomes of it, and TeX has as many braces that open as that close."""
    n_formulas = 0
    for name, text in _docstrings():
        rst = "\n".join(docstrings.to_rst(text))
        for formula in re.findall(r":math:`([^`]*)`", rst) + re.findall(r"\.\. math::\n\n +(.*)", rst):
            n_formulas += 1
            assert formula.count("{") - formula.count(r"\{") == formula.count("}") - formula.count(r"\}"), name
            assert formula.isascii(), (name, formula)
        words = re.findall(r"[A-Za-z]{5,}", text)
        kept = re.sub(r"\\[A-Za-z]+", " ", rst)
        lost = [word for word in words if word not in kept and word not in ("arcsin", "alpha")]
        assert not lost, (name, lost)
    assert n_formulas > 500


# --- docstrings ----------------------------------------------------------------------------------------------------


def rst(text, **how):
    return "\n".join(docstrings.to_rst(inspect.cleandoc(text), **how))


def test_a_list_of_arguments():
    made = rst(
        """
        Trains.

        lr        η; the second layer learns with η/N
        layers    "both", or
                  "first"
        n, m      (P,), (P*,)
        n_samples how many
        """
    )
    assert "``lr``\n   :math:`\\eta`\\ ; the second layer" in made
    assert '``layers``\n   "both", or "first"\n' in made
    assert "``n``, ``m``\n" in made
    assert "``n_samples``\n   how many" in made


def test_two_lists_side_by_side():
    made = rst(
        """
        Of a point.

        end      at t                          early    with the smallest
        level    averaged over widths          times    level over that
                 (geometric mean)                       at D = 10
        """
    )
    assert "``early``\n   with the smallest" in made
    assert "``level``\n   averaged over widths (geometric mean)\n" in made
    assert "``times``\n   level over that at :math:`D=10`\n" in made


def test_formulas_are_displayed_and_aligned():
    made = rst(
        """
        The update is

            dr/dt = −η [decay · G r]         (K, M)
            dW/dt = −η G Q

        for all modes.
        """
    )
    assert ".. math::" in made and r"d r/d t&=-\eta[\text{decay }\cdot Gr]\qquad(K,M)\\d W/d t&=" in made
    assert made.rstrip().endswith("for all modes.")


def test_a_program_keeps_its_indentation():
    made = rst(
        """
        Steps:

            S = X Xᵀ / N
            for b = 0 … B−1:   a = A[b]
                               e = y_b − a if it is labelled
        """
    )
    assert r"\text{for }b=0\ldots B-1\colon\qquad a=A[b]" in made
    assert r"\\&\quad \quad \quad \quad \quad e=y_{b}-a\text{ if it is labelled}" in made


def test_tables_and_examples_stay_as_they_are():
    table = "MLE      1/d = mean of ln[T_k/T_j]    Levina\nTwoNN    P[T_2/T_1 > μ] = μ^{−d}      Facco"
    made = "\n".join(docstrings.to_rst("With\n\n" + "\n".join(f"    {line}" for line in table.splitlines())))
    assert "::\n" in made and all(line in made for line in table.splitlines())
    assert ">>> g(x_k) * 2" in rst("Thus\n\n>>> g(x_k) * 2\n4")


def test_marks_of_the_language_are_no_markup():
    made = rst("All *args, `code_` and name_ with one|two and P* of them")
    assert "All \\*args, ``code_`` and name\\_ with one\\|two" in made and ":math:`P^{*}`" in made


def test_items_of_a_list():
    made = rst("Parts.\n\n1. One with\n   two lines\n2. Two:\n\n       y = x₁/2\n\n   and more of x.")
    assert "1. One with two lines" in made and "2. Two:" in made
    assert "\n   .. math::\n" in made and "\n   and more of :math:`x`\\ ." in made


def test_names_that_are_documented_are_links():
    known = api.modules(hmm_utils)
    resolve = api.resolver(known, "hmm_utils.theory.online.motion")
    assert resolve("quadrature") == ("py:obj", "hmm_utils.theory.online.motion.quadrature")
    assert resolve("order_parameters.covariance") == ("py:obj", "hmm_utils.theory.online.order_parameters.covariance")
    assert resolve("training.train") == ("py:obj", "hmm_utils.sgd.training.train")
    assert resolve("averages") == ("py:mod", "hmm_utils.theory.online.averages")
    assert resolve("no_such_thing") is None and resolve("a b") is None
    assert ":py:obj:`training.train <hmm_utils.sgd.training.train>`" in rst("As `training.train`.", resolve=resolve)


def test_every_module_has_a_page(tmp_path):
    names = api.pages(api.modules(hmm_utils), tmp_path)
    files = [p.relative_to(ROOT).with_suffix("") for p in (ROOT / "hmm_utils").rglob("*.py")]
    dotted = {".".join(f.parts).removesuffix(".__init__") for f in files}
    assert set(names) == {name for name in dotted if not any(part.startswith("_") for part in name.split("."))}
    assert {p.stem for p in tmp_path.glob("*.md")} == set(names)


# --- chapters ------------------------------------------------------------------------------------------------------

TITLE = "# Plateaus\n\n**What you'll do.** Look.\n\n**What you'll need.** `quick`: half a minute, 0.9 GB."
PARAMETERS = "lr: float = 0.2  # learning rate\nwidths: list = None  # widths K\nseed: int = 1  # s"
DRAWING = 'from hmm_utils import figures\n\nfigure = figures.overlaps({})\nfigures.save(figure, "fig2_overlaps", out)'


def cell(source, *, outputs=(), tags=(), ran=1):
    made = nbformat.v4.new_code_cell(source, execution_count=ran, outputs=list(outputs))
    made.metadata["tags"] = list(tags)
    return made


def picture():
    return nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "Figure"})


def notebook(folder, name="02_plateaus", *extra, title=TITLE):
    cells = [
        nbformat.v4.new_markdown_cell(title),
        cell(PARAMETERS, tags=["parameters"]),
        *extra,
    ]
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return folder


def text(source):
    return nbformat.v4.new_markdown_cell(source)


def test_equations_and_figures_are_numbered(tmp_path):
    formulas = "$$a=b \\tag{6}$$\n\nand\n\n$$c\n=d$$\n\n$$e\\quad(8)\\qquad f,\\quad(9)$$\n\n```\n$$x$$\n```\n\n$$g.$$"
    prose = text("By Eq. (6), not `Eq. (6)`.")
    folder = notebook(tmp_path, "02_plateaus", text(formulas), cell(DRAWING, outputs=[picture()]), prose)
    (chapter,) = chapters.chapters(folder, REPOSITORY)
    source = chapter.notebook.cells[3].source
    assert "(eq-2-paper-6)=\n$$a=b \\tag{6}$$" in source
    assert "(eq-2-1)=\n$$c\n=d \\tag{2.1}$$" in source
    assert "(eq-2-paper-8)=\n(eq-2-paper-9)=\n$$e" in source and "```\n$$x$$\n```" in source
    assert source.endswith("(eq-2-2)=\n$$g. \\tag{2.2}$$")
    assert chapter.equations == ("6", "8", "9")
    (figure,) = chapter.figures
    assert (figure.anchor, figure.label) == ("fig2-overlaps", "Figure 2.1")
    assert figure.caption.startswith("**Figure 2.1.** Overlap matrices $R_{km}=w_{k}\\cdot w_{m}^{*}/N$ of students")
    assert chapter.notebook.cells[4].metadata.mystnb.figure["name"] == "fig2-overlaps"
    assert chapter.notebook.cells[5].source == "By [Eq. (6)](#eq-2-paper-6), not `Eq. (6)`."


def test_the_box(tmp_path):
    (chapter,) = chapters.chapters(notebook(tmp_path, "02_plateaus", cell("1", outputs=[picture()])), REPOSITORY)
    first, box = (c.source for c in chapter.notebook.cells[:2])
    assert first.startswith("# 2 · Plateaus") and "need" not in first
    assert "`quick`: half a minute, 0.9 GB." in box
    assert f"https://mybinder.org/v2/gh/{REPOSITORY}/main?urlpath=lab/tree/notebooks/02_plateaus.ipynb" in box
    assert "hmm run 02_plateaus --profile paper" in box
    assert "papermill 02_plateaus.ipynb mine.ipynb -p lr 0.2 -p seed 1\n" in box
    assert "| `lr` | float | `0.2` | learning rate |" in box and "| `widths` | list | `None` | widths K |" in box


def test_figures_of_the_paper_are_linked(tmp_path):
    """To the one at the paper's scale, where there is one."""
    drawn = [cell(DRAWING.replace("fig2_overlaps", f"fig2_left{s}"), outputs=[picture()]) for s in ("", "_paper")]
    prose = text("As in Fig. 2 (left) and `Fig. 2`, and not Fig. 9.")
    (chapter,) = chapters.chapters(notebook(tmp_path, "02_plateaus", *drawn, prose), REPOSITORY)
    assert chapter.notebook.cells[-1].source == "As in [Fig. 2 (left)](#fig2-left-paper) and `Fig. 2`, and not Fig. 9."


def test_parts_of_the_book(book):
    named = {name: chapters.group(dataclasses.replace(book[0], name=name)) for name in ("B_x", "T3_x", "playground")}
    assert named == {"B_x": "Its appendices", "T3_x": "Beyond version 1", "playground": "Play"}


def test_widgets_need_a_kernel(tmp_path):
    """Their scripts would come from elsewhere, and nothing would answer them."""
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "VBox(children=(…))"}
    shown = cell("show()", outputs=[nbformat.v4.new_output("display_data", view)])
    (chapter,) = chapters.chapters(notebook(tmp_path, "02_plateaus", shown), REPOSITORY)
    (output,) = chapter.notebook.cells[3].outputs
    assert set(output.data) == {"text/markdown"} and "see the box above" in output.data["text/markdown"]


def test_the_papers_are_cited(tmp_path):
    title = TITLE.replace("# Plateaus\n", "# Plateaus\n\n*Of [v1](https://arxiv.org/abs/1909.11500v1).*\n")
    folder = notebook(tmp_path, "02_plateaus", cell("1", outputs=[picture()]), title=title)
    (chapter,) = chapters.chapters(folder, REPOSITORY)
    assert "[v1](https://arxiv.org/abs/1909.11500v1) {cite}`goldt2019`.*" in chapter.notebook.cells[0].source


def test_the_notebook_itself_is_not_changed(tmp_path):
    folder = notebook(tmp_path / "in", "02_plateaus", text("$$a$$"), cell(DRAWING, outputs=[picture()]))
    before = (folder / "02_plateaus.ipynb").read_bytes()
    chapters.pages(chapters.chapters(folder, REPOSITORY), tmp_path / "out")
    assert (folder / "02_plateaus.ipynb").read_bytes() == before
    assert "eq-2-1" in (tmp_path / "out" / "02_plateaus.ipynb").read_text()


@pytest.mark.parametrize(
    ("name", "extra", "title", "told"),
    [
        ("02_plateaus", [cell("1", ran=None)], TITLE, "has no outputs"),
        ("02_plateaus", [cell("1", outputs=[picture()]), cell("2", ran=None)], TITLE, "were not executed"),
        (
            "02_plateaus",
            [cell("1", outputs=[nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])])],
            TITLE,
            "stopped at an error",
        ),
        ("99_unlisted", [cell("1", outputs=[picture()])], TITLE, "99_unlisted in .* does not say what it is"),
        ("02_plateaus", [cell("1", outputs=[picture()])], "Plateaus", "does not begin with a title"),
        ("02_plateaus", [cell("1", outputs=[picture()])], "# Plateaus", "does not say"),
        (
            "02_plateaus",
            [cell(DRAWING, outputs=[picture()]) for _ in range(2)],
            TITLE,
            "both save a figure as fig2-overlaps",
        ),
    ],
)
def test_what_cannot_be_a_chapter(tmp_path, name, extra, title, told):
    with pytest.raises(BookError, match=told):
        chapters.chapters(notebook(tmp_path, name, *extra, title=title), REPOSITORY)


@pytest.fixture(scope="module")
def book():
    return chapters.chapters(ROOT / "notebooks", REPOSITORY)


def test_the_chapters_of_the_book(book):
    """All notebooks of the folder, the overview first, each picture with a number of its own."""
    assert sorted(c.name for c in book) == sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))
    assert [c.name for c in book][:3] == ["index", "00_setup", "01_independent_students"]
    parts = [chapters.group(c) for c in book]
    assert parts == sorted(parts, key=chapters.GROUPS.index)
    for chapter in book:
        n = sum("image/png" in o.get("data", {}) for c in chapter.notebook.cells for o in c.get("outputs", ()))
        assert len(chapter.figures) == n
        assert all(len(figure.caption) > len(figure.label) + 20 for figure in chapter.figures), chapter.name
    labels = [figure.label for chapter in book for figure in chapter.figures]
    assert len(set(labels)) == len(labels)


def test_the_papers_equations(book):
    assert next(c for c in book if c.name == "03_hidden_manifold_model").equations == ("6", "7")
    first = next(c for c in book if c.name == "00_setup")
    assert {"1", "3", "5", "6"} <= set(first.equations)


# --- claims --------------------------------------------------------------------------------------------------------


def test_every_claim_has_its_row(book):
    claims = claims_table.read(ROOT / "results" / "verdicts.json")
    table = claims_table.table(claims, book)
    assert len(claims) == len(report.read_verdicts(ROOT / "results" / "verdicts.json")) > 20
    for claim in claims:
        row = re.search(rf"\*\*{re.escape(claim['claim'])}\*\*.*?(?=\n\* - |\n::::)", table, re.S)[0]
        name, sign, short = claims_table.kind(claim["verdict"])
        assert f'class="verdict {name}"' in row and sign in row and short in row
        assert f"](chapters/{claim['notebook']}.ipynb)" in row and re.search(r"\[Figure [\w.]+\]\(#[\w-]+\)", row)
    counts = [int(n) for n in re.findall(r"</span> (\d+) ", claims_table.summary(claims))]
    assert sum(counts) == len(claims)


def test_a_claim_on_a_figure_of_the_paper(book):
    """The verdict is on the stored runs, and so is the figure."""
    known = {c.name: c for c in book}
    claim = dict(claim="C9", figure="Fig. 3 left", section="4.1")
    assert claims_table.figure_of(claim, known["03_hidden_manifold_model"]).anchor == "fig3-paper"
    claim = dict(claim="C6", figure="Fig. 2 left", section="3.2")
    assert claims_table.figure_of(claim, known["02_plateaus"]).anchor == "fig2-left-paper"


def test_claims_that_fit_no_chapter(book, tmp_path):
    claim = dict(claim="C99", statement="s", section="9", figure="Fig. 99", notebook="02_plateaus", verdict="holds")
    with pytest.raises(BookError, match=r"claim C99 .* has no figure in 02_plateaus"):
        claims_table.table([claim], book)
    with pytest.raises(BookError, match="C99 is judged in 98_gone"):
        claims_table.table([claim | {"notebook": "98_gone"}], book)
    with pytest.raises(BookError, match='verdict "maybe"'):
        claims_table.kind("maybe")
    with pytest.raises(BookError, match="not a list of verdicts"):
        claims_table.read(tmp_path / "gone.json")


def test_kinds_of_verdicts_differ_without_colour():
    signs = [sign for _, sign, _ in claims_table.KINDS.values()]
    words = [short for _, _, short in claims_table.KINDS.values()]
    assert len(set(signs)) == len(signs) == len(set(words))
    assert claims_table.kind("holds only if x")[0] == "only-if" and claims_table.kind("holds")[0] == "holds"


# --- sources and links ---------------------------------------------------------------------------------------------


def test_the_sources_of_the_book(tmp_path):
    """They are put together without Sphinx, and nothing is written beside the originals."""
    before = {p: p.stat().st_mtime_ns for p in (ROOT / "docs").rglob("*") if p.suffix in (".md", ".bib", ".css")}
    make.assemble(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    for page in ("chapters/02_plateaus.ipynb", "api/hmm_utils.engine.md", "index.md", "fig1.png"):
        assert (tmp_path / page).exists()
    contents = (tmp_path / "generated" / "contents.txt").read_text()
    assert contents.count("<chapters/") == len(list((ROOT / "notebooks").glob("*.ipynb")))
    assert "../" not in (tmp_path / "cluster.md").read_text()


def test_the_five_papers():
    entries = re.findall(r"@\w+\{(\w+),(.*?)\n\}", (ROOT / "docs" / "references.bib").read_text(), re.S)
    assert len(entries) == 5
    for arxiv in ("1909.11500v1", "1909.11500v4", "2006.14709", "2302.07419", "2409.13904"):
        assert sum(arxiv in entry for _, entry in entries) == 1
    cited = " ".join(p.read_text() for p in [*(ROOT / "docs").glob("*.md"), ROOT / "docs/hmm_book/claims_table.py"])
    assert all(key in cited for key, _ in entries)


@pytest.fixture
def site(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "pic.png").write_bytes(b"")
    (tmp_path / "font.woff2").write_bytes(b"")
    (tmp_path / "style.css").write_text("/* url(gone) */ @font-face {src: url(font.woff2)} a {background: url(data:x)}")
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="style.css?v=1"><link rel="canonical" href="https://example.org">'
        '<h1 id="top">x</h1><a href="sub/page.html#here">x</a> <a href="#top">x</a> <a href="https://example.org">x</a>'
        '<a href="mailto:x@example.org">x</a><img src="pic.png">'
    )
    (tmp_path / "sub" / "page.html").write_text('<a id="here" href="../index.html">x</a><a href="..">x</a>')
    return tmp_path


def test_a_site_in_order(site):
    assert links.problems(site) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ('<a href="gone.html">x</a>', "gone.html leads to no file"),
        ('<a href="sub/page.html#gone">x</a>', "leads to no place on its page"),
        ('<a href="#gone">x</a>', "#gone leads to no place on its page"),
        ('<a href="../outside.html">x</a>', "leads to no file"),
        ('<a href="ftp://example.org/x">x</a>', "unknown scheme"),
        ('<img src="gone.png">', "gone.png is loaded, and is not there"),
        ('<img src="https://example.org/x.png">', "x.png is loaded from elsewhere"),
        ('<script src="//example.org/x.js"></script>', "x.js is loaded from elsewhere"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "x.css is loaded from elsewhere"),
        ('<link rel="preconnect" href="https://example.org">', "is loaded from elsewhere"),
        ('<img srcset="pic.png 1x, https://example.org/y.png 2x">', "y.png is loaded from elsewhere"),
        ('<p style="background: url(https://example.org/z.png)">', "z.png is loaded from elsewhere"),
        ("<style>@import 'https://example.org/x.css';</style>", "x.css is loaded from elsewhere"),
        ('<iframe src="https://example.org/frame"></iframe>', "frame is loaded from elsewhere"),
    ],
)
def test_a_site_that_is_broken(site, broken, told):
    page = site / "index.html"
    page.write_text(page.read_text() + broken)
    (found,) = links.problems(site)
    assert found.startswith("index.html: ") and told in found


def test_style_sheets_are_read(site):
    (site / "style.css").write_text("a {background: url('https://example.org/x.png')} b {src: url(gone.woff)}")
    assert len(links.problems(site)) == 2


def test_no_site(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no page"):
        links.problems(tmp_path)


def test_one_address_of_the_repository():
    """README's badge, the book and nothing else of the book's sources say where the project lives."""
    assert f"/gh/{make.REPOSITORY}/main" in (ROOT / "README.md").read_text()
    assert shutil.which("git") is None or "github.com/" not in (ROOT / "docs" / "index.md").read_text()
