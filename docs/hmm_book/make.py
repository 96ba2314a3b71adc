"""Builds the book: `python -m hmm_book.make [FOLDER]`, which `make book` runs.

The pages' sources are put together in a folder beside the site, never in the source tree: chapters from the notebooks
(none is executed), the table of claims from the stored verdicts, a page for every module, and the files of docs/.
Sphinx makes the site of them, with warnings as errors, and in the end every address in it is looked up.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import hmm_utils
from hmm_book import api, chapters, claims_table, links, unitex
from hmm_book.errors import BookError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# where the project lives on GitHub, for Binder and links to the source: the only place in the book that knows
REPOSITORY = "hidden-manifold-companion/hidden-manifold-companion"


def assemble(folder: Path) -> None:
    """Writes the sources of all pages into an empty folder. Raises BookError for what cannot become a page."""
    made = chapters.chapters(ROOT / "notebooks", REPOSITORY)
    claims = claims_table.read(ROOT / "results" / "verdicts.json")
    known = api.modules(hmm_utils)
    for path in DOCS.iterdir():
        if path.suffix in (".md", ".bib", ".png"):
            shutil.copy2(path, folder / path.name)
    cluster = folder / "cluster.md"
    # a page of the repository that is none of the book
    text = cluster.read_text("utf-8").replace("](../", f"](https://github.com/{REPOSITORY}/blob/main/")
    cluster.write_text(text, "utf-8")
    chapters.pages(made, folder / "chapters")
    names = api.pages(known, folder / "api")
    generated = folder / "generated"
    generated.mkdir()
    for name, written in {
        "claims": claims_table.table(claims, made),
        "summary": claims_table.summary(claims),
        "contents": _contents(made),
    }.items():
        (generated / f"{name}.txt").write_text(written, "utf-8")
    index = folder / "api.md"
    index.write_text(f"{index.read_text('utf-8')}\n{_modules(names, known)}", "utf-8")


def _contents(made: list[chapters.Chapter]) -> str:
    """The chapters in their parts."""
    blocks = []
    for part in chapters.GROUPS:
        inside = [chapter for chapter in made if chapters.group(chapter) == part]
        if inside:
            lines = [f"{_entry(chapter)} <chapters/{chapter.name}>" for chapter in inside]
            blocks += ["```{toctree}", f":caption: {part}", ":hidden:", "", *lines, "```", ""]
    return "\n".join(blocks)


def _entry(chapter: chapters.Chapter) -> str:
    return f"{chapter.number} · {chapter.title}" if "_" in chapter.name else chapter.title


def _modules(names: list[str], known: list) -> str:
    """A table of the modules with the first sentence of each, and their pages in the contents."""
    rows = [":::{table}", ":class: modules", "", "| module | |", "|---|---|"]
    for name, module in zip(names, known, strict=True):
        first = " ".join((module.__doc__ or "").strip().partition("\n\n")[0].split())
        told = unitex.markdown(first).replace("|", "\\|")
        rows.append(f"| [{name}](api/{name}.md) | {told} |")
    entries = [f"{name.partition('.')[2] or name} <api/{name}>" for name in names]
    return "\n".join([*rows, ":::", "", "```{toctree}", ":hidden:", "", *entries, "```", ""])


def build(site: Path) -> float:
    """Makes the site in a folder, which is replaced; the seconds that it took.

    Raises BookError for what keeps it from being made, with everything that Sphinx or the check of links had to say.
    """
    from sphinx.cmd.build import build_main

    start = time.monotonic()
    sources = site.with_name(f"{site.name}-sources")
    for folder in (site, sources):
        shutil.rmtree(folder, ignore_errors=True)
    sources.mkdir(parents=True)
    assemble(sources)
    places = ["-c", str(DOCS), "-d", str(sources / ".doctrees"), str(sources), str(site)]
    if build_main(["-b", "html", "-W", "--keep-going", "-q", *places]):
        raise BookError("Sphinx did not make the book: see its warnings above.")
    if found := links.problems(site):
        raise BookError("\n".join([*found, f"{len(found)} addresses in the book lead nowhere or leave it."]))
    return time.monotonic() - start


def main(arguments: list[str]) -> int:
    site = Path(arguments[0]) if arguments else ROOT / "build" / "book"
    try:
        seconds = build(site.resolve())
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    files = [path for path in site.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    n_pages = sum(path.suffix == ".html" for path in files)
    print(f"{site / 'index.html'}: {n_pages} pages, {size:.0f} MB, in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
