"""Build the book: ``python -m hmm_book.make [FOLDER]``, which ``make book`` runs.

The pages' sources are put together in a folder beside the site, never in the source tree: chapters from the notebooks
(none is executed), the table of claims from the stored verdicts, a list of the package's modules, and the files of
docs/. Sphinx makes the site, with warnings as errors, references that lead nowhere among them.
"""

from __future__ import annotations

import pkgutil
import re
import shutil
import sys
import time
import tomllib
from pathlib import Path

import hmm_utils
from hmm_book import chapters, claims_table
from hmm_book.errors import BookError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# where the project lives on GitHub, for Binder and links to the source: the only place in the book that knows
REPOSITORY = "hidden-manifold-companion/hidden-manifold-companion"
CORE = ("model", "sgd")


def assemble(folder: Path) -> None:
    """Write the sources of all pages into an empty folder. Raises BookError for what cannot become a page."""
    made = chapters.chapters(ROOT / "notebooks", REPOSITORY)
    claims = claims_table.read(ROOT / "results" / "verdicts.json")
    for path in DOCS.iterdir():
        if path.suffix in (".md", ".bib", ".png"):
            shutil.copy2(path, folder / path.name)
    cluster = folder / "cluster.md"
    # its links to files of the repository that are not in the book
    text = cluster.read_text("utf-8").replace("](../", f"](https://github.com/{REPOSITORY}/blob/main/")
    cluster.write_text(text, "utf-8")
    chapters.pages(made, folder / "chapters")
    generated = folder / "generated"
    generated.mkdir()
    for name, written in {
        "claims": claims_table.table(claims, made),
        "summary": claims_table.summary(claims),
        "contents": _contents(made),
    }.items():
        (generated / f"{name}.txt").write_text(written, "utf-8")
    with (folder / "api.md").open("a", encoding="utf-8") as page:
        page.write(_modules())


def _contents(made: list[chapters.Chapter]) -> str:
    """Return the chapters in their parts."""
    blocks = []
    for part in chapters.GROUPS:
        entries = [f"{_entry(chapter)} <chapters/{chapter.name}>" for chapter in made if chapter.group == part]
        if entries:
            blocks += ["```{toctree}", f":caption: {part}", ":hidden:", "", *entries, "```", ""]
    return "\n".join(blocks)


def _entry(chapter: chapters.Chapter) -> str:
    return f"{chapter.number} · {chapter.title}" if "_" in chapter.name else chapter.title


def _modules() -> str:
    """Return a table of modules for each folder, the core first, then from the lowest layer up.

    Sphinx's autosummary makes the tables, and a page for every module.
    """
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    folders = dict.fromkeys((*CORE, *reversed(re.findall(r"\w+", " ".join(layers)))))
    found = pkgutil.walk_packages(hmm_utils.__path__, "hmm_utils.")
    known = [module.name.removeprefix("hmm_utils.") for module in found]
    page = ""
    for folder in folders:
        mark = ": read these first" if folder in CORE else ""
        names = "\n   ".join(name for name in known if name.split(".")[0] == folder and "._" not in name)
        page += f"""
## {folder}{mark}

```{{eval-rst}}
.. currentmodule:: hmm_utils
.. autosummary::
   :toctree: api
   :recursive:

   {names}
```
"""
    return page


def build(site: Path) -> float:
    """Make the site in a folder, which is replaced, and return the seconds that it took.

    Raises
    ------
    BookError
        If it cannot be built, with all that Sphinx reported, or if a page loads anything from elsewhere.
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
    if found := loaded_from_elsewhere(site):
        raise BookError("\n".join([*found, "The book must be readable without a network: bring these files along."]))
    return time.monotonic() - start


_LOADS = re.compile(
    # what a browser fetches by itself: not the addresses of <a>
    r"""<(?!a\b)\w+\b[^>]*?\s(?:src|srcset|href|data|poster)=["']?(?:[^"'>]*[\s,])?((?:https?:)?//[^"'\s>]+)"""
    # style sheets and style attributes
    r"""|(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"'\s)]+)"""
)


def loaded_from_elsewhere(site: Path) -> list[str]:
    """Return a sentence for every address from which a page or a style sheet would load something.

    Sphinx looks up references, labels and images of the sources, and no check of its own sees this: themes, extensions
    and the outputs of notebooks write HTML that names scripts, fonts and pictures.
    """
    return [
        f"{path.relative_to(site).as_posix()} loads {one or other}."
        for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")])
        for one, other in dict.fromkeys(_LOADS.findall(path.read_text("utf-8")))
    ]


def main(arguments: list[str]) -> int:
    """Build the book into the folder of the first argument, or build/book; return the exit status."""
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
