"""The book's sources: chapters, claims, the list of modules. What needs Sphinx or a browser is in tests/browser."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from hmm_book import chapters, claims_table, make  # noqa: E402
from hmm_book.errors import BookError  # noqa: E402

REPOSITORY = "someone/something"
VERDICTS = ROOT / "results" / "verdicts.json"

# --- chapters ------------------------------------------------------------------------------------------------------

TITLE = "# Plateaus\n\n*[v1](https://arxiv.org/abs/1909.11500v1).*\n\n**What you'll need.** `quick`: a minute, 0.9 GB."
PARAMETERS = "lr: float = 0.2  # learning rate\nwidths: list = None  # widths a|b\nseed: int = 1  # s"
DRAWING = 'from hmm_utils import figures\n\nfigure = figures.overlaps({})\nfigures.save(figure, "fig2_overlaps", out)'
PICTURE = {"image/png": "iVBORw0KGgo=", "text/plain": "Figure"}
WIDGETS = "application/vnd.jupyter.widget-state+json"
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "VBox(children=(…))"}


def cell(source, data=None, *, tags=(), count=1):
    outputs = [nbformat.v4.new_output("display_data", data)] if data else []
    return nbformat.v4.new_code_cell(source, execution_count=count, outputs=outputs, metadata={"tags": list(tags)})


def notebook(folder, *cells, name="02_plateaus", title=TITLE, described=True):
    first = [nbformat.v4.new_markdown_cell(title), cell(PARAMETERS, tags=["parameters"])]
    metadata = {"hidden_manifold": {"title": "Plateaus", "section": "3.2"}} if described else {}
    metadata |= {"widgets": {WIDGETS: {"state": {}, "version_major": 2, "version_minor": 0}}}
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=first + list(cells), metadata=metadata), folder / f"{name}.ipynb")
    return folder


def chapter(folder, *cells, **how):
    (made,) = chapters.chapters(notebook(folder, *cells, **how), REPOSITORY)
    return made


def test_figures_have_labels_captions_and_claims(tmp_path):
    drawn = [cell(DRAWING, PICTURE, tags=["C6", "hide"]), cell(DRAWING.replace("overlaps", "left_paper"), PICTURE)]
    made = chapter(tmp_path, *drawn)
    assert made.figures == (
        chapters.Figure("fig2-overlaps", "Figure 2.1", ("C6",)),
        chapters.Figure("fig2-left-paper", "Figure 2.2", ()),
    )
    first, second = (one.metadata.mystnb.figure for one in made.notebook.cells[3:])
    assert first["name"] == "fig2-overlaps"
    assert re.match(r"\*\*Figure 2\.1\.\*\* \w.* R\\_km = ", first["caption"]) and "---" not in first["caption"]
    assert second["caption"] == "**Figure 2.2.** *Fig.\N{NO-BREAK SPACE}2 left of the paper, at the paper's scale.*"


def test_captions_are_text_and_code():
    def drawing():
        """Weights w_k, ``|w_k|²``, of [both].

        Parameters
        ----------
        x : int
        """

    caption = chapters._caption("figure = own.drawing(1)", {"own": SimpleNamespace(drawing=drawing)})
    assert caption == r"Weights w\_k, ``|w_k|²``, of \[both\]."
    assert chapters._caption("figure = gone.drawing(1)", {}) == ""


@pytest.mark.parametrize(
    ("saved", "place"),
    [
        ("fig3", "Fig.\N{NO-BREAK SPACE}3 of the paper, smaller and live"),
        ("fig10_paper", "Fig.\N{NO-BREAK SPACE}10 of the paper, at the paper's scale"),
        ("T1_errors_stored", "At the paper's scale"),
        ("fig2_overlaps", ""),
        ("t2_fields", ""),
    ],
)
def test_which_figure_of_the_paper(saved, place):
    assert chapters._place(saved) == place


def test_the_box(tmp_path):
    first, box = (c.source for c in chapter(tmp_path, cell("1", PICTURE)).notebook.cells[:2])
    assert first.startswith("# 2 · Plateaus") and "need" not in first
    assert "[v1](https://arxiv.org/abs/1909.11500v1) {cite}`goldt2019`.*" in first
    assert "`quick`: a minute, 0.9 GB." in box
    assert f"https://mybinder.org/v2/gh/{REPOSITORY}/main?urlpath=lab/tree/notebooks/02_plateaus.ipynb" in box
    assert "hmm run 02_plateaus --profile paper" in box
    assert "papermill 02_plateaus.ipynb mine.ipynb -p lr 0.2 -p seed 1\n" in box
    assert "| `lr` | float | `0.2` | learning rate |" in box and "| `widths` | list | `None` | widths a\\|b |" in box


def test_widgets_are_replaced_and_code_is_linked(tmp_path):
    link = nbformat.v4.new_markdown_cell("See [the code](../hmm_utils/sgd/block.py).")
    made = chapter(tmp_path, cell("show()", WIDGET), link).notebook
    shown, linked = made.cells[3:]
    assert "widgets" not in made.metadata
    (output,) = shown.outputs
    assert set(output.data) == {"text/markdown"} and "see the box above" in output.data["text/markdown"]
    assert linked.source == "See [the code](../api/hmm_utils.sgd.block.rst)."


def test_the_notebook_itself_is_not_changed(tmp_path):
    folder = notebook(tmp_path / "in", cell(DRAWING, PICTURE))
    before = (folder / "02_plateaus.ipynb").read_bytes()
    chapters.pages(chapters.chapters(folder, REPOSITORY), tmp_path / "out")
    assert (folder / "02_plateaus.ipynb").read_bytes() == before
    assert "fig2-overlaps" in (tmp_path / "out" / "02_plateaus.ipynb").read_text()


FAILED = nbformat.v4.new_code_cell(
    "1", execution_count=1, outputs=[nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]
)


@pytest.mark.parametrize(
    ("cells", "how", "message"),
    [
        ([cell("1")], {}, "has no outputs"),
        ([cell("1", PICTURE), cell("2", count=None)], {}, "were not executed"),
        ([FAILED], {}, "stopped at an error"),
        ([cell("1", PICTURE)], {"title": "Plateaus"}, "does not begin with a title"),
        ([cell("1", PICTURE)], {"title": "# Plateaus"}, "does not say"),
        ([cell(DRAWING, PICTURE), cell(DRAWING, PICTURE)], {}, "both save a figure as fig2-overlaps"),
    ],
)
def test_what_cannot_be_a_chapter(tmp_path, cells, how, message):
    with pytest.raises(BookError, match=message):
        chapter(tmp_path, *cells, **how)


def test_a_notebook_without_metadata_is_not_forgotten(tmp_path):
    with pytest.raises(BookError, match="There are no notebooks"):
        chapters.chapters(tmp_path, REPOSITORY)
    notebook(tmp_path, cell("1", PICTURE), name="99_new", described=False)
    with pytest.raises(BookError, match=r"99_new in .* does not describe itself"):
        chapters.chapters(notebook(tmp_path, cell("1", PICTURE)), REPOSITORY)


@pytest.fixture(scope="module")
def book():
    return chapters.chapters(ROOT / "notebooks", REPOSITORY)


def test_the_chapters_of_the_book(book):
    """All notebooks of the folder, part by part with the overview first, and every picture is a figure."""
    assert sorted(c.name for c in book) == sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))
    heads = [chapter.name.partition("_")[0] for chapter in book]
    assert heads == ["index", "00", "01", "02", "03", *"ABCDE", "T1", "T2", "playground"]
    assert list(dict.fromkeys(chapter.group for chapter in book)) == list(chapters.GROUPS)
    for chapter in book:
        n = sum("image/png" in o.get("data", {}) for c in chapter.notebook.cells for o in c.get("outputs", ()))
        captions = [c.metadata.mystnb.figure["caption"] for c in chapter.notebook.cells if "mystnb" in c.metadata]
        assert len(chapter.figures) == len(captions) == n
        assert all(len(caption) > 40 for caption in captions), (chapter.name, captions)


# --- claims --------------------------------------------------------------------------------------------------------


def test_every_claim_has_its_row(book):
    claims = claims_table.read(VERDICTS)
    table = claims_table.table(claims, book)
    assert len(claims) > 20
    for claim in claims:
        row = re.search(rf"\*\*{re.escape(claim['claim'])}\*\*.*?(?=\n\* - |\n::::)", table, re.S)[0]
        name, sign, short = claims_table.kind(claim["verdict"])
        assert f'class="verdict {name}"' in row and sign in row and short in row
        assert f"](chapters/{claim['notebook']}.ipynb)" in row and re.search(r"\[Figure [\w.]+\]\(#[\w-]+\)", row)
    assert "◐</span> holds only if …</span> training goes on" in table
    counts = [int(n) for n in re.findall(r"</span> (\d+) ", claims_table.summary(claims))]
    assert sum(counts) == len(claims)


def test_claims_of_the_paper_are_shown_at_its_scale(book):
    """The verdict is on the stored runs, and so is the figure."""
    anchors = {number: figure.anchor for chapter in book for figure in chapter.figures for number in figure.claims}
    for claim in claims_table.read(VERDICTS):
        if match := re.match(r"Fig\. (\d+)", claim["figure"]):
            assert re.fullmatch(rf"fig{match[1]}(-left|-right)?-paper", anchors[claim["claim"]])


def test_claims_and_figures_that_do_not_match(book, tmp_path):
    claims = claims_table.read(VERDICTS)
    with pytest.raises(BookError, match=r'C99 has no figure in 02_plateaus: tag the cell that draws it with "C99"'):
        claims_table.table([claims[0] | {"claim": "C99", "notebook": "02_plateaus"}], book)
    with pytest.raises(BookError, match='tagged "C1", and no claim'):
        claims_table.table(claims[1:], book)
    with pytest.raises(BookError, match='verdict "maybe"'):
        claims_table.kind("maybe")
    with pytest.raises(BookError, match="not a list of verdicts"):
        claims_table.read(tmp_path / "gone.json")


def test_kinds_of_verdicts_differ_without_colour():
    _, signs, words = zip(*claims_table.KINDS.values(), strict=True)
    assert len(set(signs)) == len(signs) == len(set(words))
    assert claims_table.kind("holds only if x")[0] == "only-if" and claims_table.kind("holds")[0] == "holds"


# --- sources -------------------------------------------------------------------------------------------------------


def test_the_sources_of_the_book(tmp_path):
    """They are assembled without Sphinx, and nothing is written beside the originals."""
    before = {p: p.stat().st_mtime_ns for p in (ROOT / "docs").rglob("*") if p.suffix in (".md", ".bib", ".css")}
    make.assemble(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert (tmp_path / "chapters" / "02_plateaus.ipynb").exists() and (tmp_path / "fig1.png").exists()
    contents = (tmp_path / "generated" / "contents.txt").read_text()
    assert contents.count("<chapters/") == len(list((ROOT / "notebooks").glob("*.ipynb")))
    assert "../" not in (tmp_path / "cluster.md").read_text()


def test_every_module_is_listed_once_and_the_core_first():
    listed = re.findall(r"^   ([\w.]+)$", make._modules(), re.M)
    files = [path.relative_to(ROOT / "hmm_utils").with_suffix("") for path in (ROOT / "hmm_utils").rglob("*.py")]
    names = {".".join(file.parts).removesuffix(".__init__") for file in files}
    assert sorted(listed) == sorted(name for name in names if not re.search(r"(^|\.)_", name))
    folders = list(dict.fromkeys(name.partition(".")[0] for name in listed))
    assert folders[:2] == ["model", "sgd"] and folders[-1] == "app"


def test_the_five_papers():
    entries = re.findall(r"@\w+\{(\w+),(.*?)\n\}", (ROOT / "docs" / "references.bib").read_text(), re.S)
    assert len(entries) == 5
    for arxiv in ("1909.11500v1", "1909.11500v4", "2006.14709", "2302.07419", "2409.13904"):
        assert sum(arxiv in entry for _, entry in entries) == 1
    cited = " ".join(p.read_text() for p in [*(ROOT / "docs").glob("*.md"), ROOT / "docs/hmm_book/claims_table.py"])
    assert all(key in cited for key, _ in entries)


@pytest.mark.parametrize(
    "tag",
    [
        '<img src="{}">',
        '<script src="{}"></script>',
        '<link rel="stylesheet" href="{}">',
        '<img alt="x" srcset="pic.png 1x, {} 2x">',
        '<p style="background: url({})">',
        "<style>@import '{}';</style>",
        "<iframe src={}></iframe>",
    ],
)
def test_what_is_loaded_from_elsewhere(tmp_path, tag):
    page = '<a class="x" href="https://example.org">x</a><img src="pic.png"><p style="background: url(data:x)">'
    (tmp_path / "index.html").write_text(page)
    assert make.loaded_from_elsewhere(tmp_path) == []
    for address in ("https://example.org/x", "//example.org/x"):
        (tmp_path / "index.html").write_text(page + tag.format(address))
        assert make.loaded_from_elsewhere(tmp_path) == [f"index.html loads {address}."]


def test_style_sheets_are_read(tmp_path):
    (tmp_path / "style.css").write_text("a {background: url('https://example.org/x.png')} b {src: url(x.woff)}")
    assert make.loaded_from_elsewhere(tmp_path) == ["style.css loads https://example.org/x.png."]


def test_one_address_of_the_repository():
    """README's badge has that of the book, and the book's pages have no other."""
    assert f"/gh/{make.REPOSITORY}/main" in (ROOT / "README.md").read_text()
    assert "github.com/" not in (ROOT / "docs" / "index.md").read_text()
