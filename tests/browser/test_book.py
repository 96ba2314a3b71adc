"""The book as a reader sees it: built once, every page opened on a screen and on a phone."""

import os
import re
import subprocess
import sys

import pytest
from conftest import DESKTOP, PHONE, ROOT, served

# once formulas are typeset: those that are not, errors in them, and markup that was left in the text
TYPESET = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"
LOOK = r"""() => {
  const page = document.querySelector("article") ?? document.querySelector("main") ?? document.body;
  const text = page.cloneNode(true);
  text.querySelectorAll("pre, code, mjx-container, script, style").forEach((node) => node.remove());
  const formulas = [...page.querySelectorAll(".math")];
  return {
    formulas: formulas.length,
    raw: formulas.filter((node) => !node.querySelector("mjx-container")).map((node) => node.textContent),
    errors: [...document.querySelectorAll("mjx-merror, [data-mml-node=merror]")].map((node) => node.textContent),
    code: text.textContent.match(/\$\$|\\[([]|\\(frac|epsilon|mathbf)|Math input error|\{math\}|:\w+:`|\| \|/g) ?? [],
    // what begins left of its box cannot be scrolled to
    cut: [...page.querySelectorAll("div.math mjx-container")]
      .filter((node) => node.getBoundingClientRect().left < node.closest("div.math").getBoundingClientRect().left - 1)
      .map((node) => node.textContent),
    broken: [...document.images].filter((image) => !(image.complete && image.naturalWidth)).map((image) => image.src),
    figures: page.querySelectorAll("figure img").length,
  };
}"""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """What `make book` builds."""
    folder = tmp_path_factory.mktemp("book") / "site"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "docs"), os.environ.get("PYTHONPATH", "")])}
    made = subprocess.run(
        [sys.executable, "-m", "hmm_book.make", str(folder)], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert made.returncode == 0, made.stderr[-5000:]
    return folder


@pytest.fixture(scope="session")
def address(site):
    with served(site) as at:
        yield at


@pytest.fixture
def read(address, visit):
    """Opens a page of the book and waits until its formulas are typeset; nothing may complain."""
    visits = []

    def open_page(page="", *size):
        visits.append(visit(*size))
        visits[-1].page.goto(f"{address}/{page}")
        visits[-1].page.wait_for_load_state("networkidle")
        visits[-1].page.evaluate(TYPESET)
        return visits[-1]

    yield open_page
    assert not any(seen.complaints for seen in visits)


def test_references_that_lead_nowhere_stop_the_build(tmp_path):
    """Each of them is one warning, and warnings are errors."""
    references = [
        "{func}`hmm_utils.model.networks.gone`",
        "{func}`train_gone`",
        "{mod}`hmm_utils.gone`",
        "{cite}`gone`",
        "{ref}`gone`",
        "[x](#gone)",
        "[x](gone.md)",
        "![x](gone.png)",
    ]
    (tmp_path / "references.bib").touch()
    (tmp_path / "index.md").write_text("# A page\n\n" + "".join(f"{reference}\n\n" for reference in references))
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", str(ROOT / "docs")]
    made = subprocess.run([*sphinx, str(tmp_path), str(tmp_path / "site")], capture_output=True, text=True, cwd=ROOT)
    lines = {int(line) for line in re.findall(r"index\.md:(\d+): .*gone", made.stderr)}
    assert made.returncode == 1 and lines == {3 + 2 * i for i in range(len(references))}, made.stderr


def test_every_page(site, address, visit):
    """No complaint and no request to elsewhere, formulas typeset, pictures shown, no sideways scroll on a phone."""
    seen, asked = visit(), set()
    seen.page.on("request", lambda request: asked.add(request.url))
    problems, formulas, figures = [], 0, 0
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert len(pages) > 50
    for name in pages:
        seen.page.set_viewport_size(DESKTOP)
        seen.page.goto(f"{address}/{name}")
        seen.page.wait_for_load_state("networkidle")
        seen.page.evaluate(TYPESET)
        found = seen.page.evaluate(LOOK)
        formulas, figures = formulas + found.pop("formulas"), figures + found.pop("figures")
        problems += [f"{name}: {what}: {worst[:3]}" for what, worst in found.items() if worst]
        seen.page.set_viewport_size(PHONE)
        if name == "index.html":
            seen.shot("book-landing-phone")
        problems += [f"{name}: cut off on a phone: {worst}" for worst in seen.page.evaluate(LOOK)["cut"][:3]]
        width = seen.page.evaluate("() => document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            problems.append(f"{name}: {width} pixels wide on a phone")
        if str(ROOT) in (site / name).read_text("utf-8"):
            problems.append(f"{name}: a path of this machine")
        problems += [f"{name}: {complaint}" for complaint in seen.complaints]
        seen.complaints.clear()
    assert not problems, "\n".join(problems)
    assert formulas > 400 and figures > 40
    assert all(url.startswith((address, "data:")) for url in asked)


def test_search_finds_plateaus(read):
    page = read().page
    page.keyboard.press("Control+k")
    page.keyboard.type("plateau")
    page.keyboard.press("Enter")
    page.locator("#search-results li a[href*='02_plateaus.html']").first.wait_for()


def test_light_and_dark(read):
    """As the reader's system has it, and as the reader then chooses; the badges of verdicts can be read in both."""
    seen = read()
    theme = "() => document.documentElement.dataset.theme"
    ground = "() => getComputedStyle(document.body).backgroundColor"
    seen.page.emulate_media(color_scheme="light")
    assert seen.page.evaluate(theme) == "light" and seen.page.evaluate(ground) == "rgb(255, 255, 255)"
    seen.shot("book-landing")
    seen.page.emulate_media(color_scheme="dark")
    seen.page.reload()
    assert seen.page.evaluate(theme) == "dark"
    assert max(map(int, re.findall(r"\d+", seen.page.evaluate(ground))[:3])) < 60
    # the search field fades from light to dark
    seen.page.wait_for_timeout(500)
    seen.shot("book-landing-dark")
    seen.page.locator(".theme-switch-button:visible").first.click()
    seen.page.locator(".theme-change-button[data-mode=light]:visible").first.click()
    seen.page.wait_for_function(f"() => ({theme})() === 'light'")


def test_claims_lead_to_figures(read):
    seen = read()
    rows = seen.page.locator("table.claims tbody tr")
    links = rows.locator("a[href*='#']:has-text('Figure')").evaluate_all(
        "nodes => nodes.map((node) => [node.href, node.textContent])"
    )
    assert rows.count() == len(links) > 20
    assert all(rows.nth(i).locator(".verdict").inner_text().strip() for i in range(rows.count()))
    for url, label in dict(links).items():
        seen.page.goto(url)
        seen.page.evaluate(TYPESET)
        target = seen.page.locator(f"figure[id='{url.partition('#')[2]}']")
        assert target.locator("img").evaluate("image => image.naturalWidth") > 0, url
        assert target.locator("figcaption").inner_text().startswith(f"{label}."), url
        assert target.evaluate("node => node.getBoundingClientRect().top < innerHeight"), url


@pytest.mark.parametrize(
    ("page", "reference", "target"),
    [
        ("03_hidden_manifold_model", "Eq. (6)", "#"),
        ("T2_deep_generators", "Eq. (7)", "03_hidden_manifold_model.html#"),
        ("D_extensive_features", "Fig. 3", "03_hidden_manifold_model.html#fig3-paper"),
        ("02_plateaus", "Fig. 2", "#fig2-left-paper"),
    ],
)
def test_references_to_the_paper_lead_to_what_the_book_shows(read, page, reference, target):
    seen = read(f"chapters/{page}.html")
    links = seen.page.locator("article a", has_text=re.compile(rf"^{re.escape(reference)}$"))
    link = links.locator("visible=true").first
    assert link.get_attribute("href").startswith(target)
    link.click()
    seen.page.wait_for_load_state("networkidle")
    seen.page.evaluate(TYPESET)
    place = seen.page.locator(f"[id='{seen.page.url.partition('#')[2]}']")
    assert place.locator("img" if "fig" in target else "[data-mml-node='mtable']").first.is_visible()


@pytest.mark.parametrize("chapter", ["03_hidden_manifold_model", "T1_equations_of_motion"])
def test_chapters(read, chapter):
    """The box on how to run it, whose parameters are folded."""
    seen = read(f"chapters/{chapter}.html")
    box = seen.page.locator(".admonition.rerun")
    assert f"hmm run {chapter} --profile paper" in box.inner_text()
    assert "mybinder.org" in box.locator("a").first.get_attribute("href")
    parameters = box.locator("details")
    assert not parameters.locator("table").is_visible()
    parameters.locator("summary").click()
    assert parameters.locator("table").is_visible() and "seed" in parameters.inner_text()
    seen.shot(f"book-{chapter}", full_page=True)


def test_no_line_begins_with_the_comma_behind_a_formula(read):
    """A formula and its comma are on one line."""
    formulas = read("chapters/T1_equations_of_motion.html", PHONE).page.locator("article .nowrap")
    assert formulas.count() > 20
    assert formulas.evaluate_all("nodes => nodes.filter((node) => node.getClientRects().length > 1).length") == 0


def test_from_a_folder(site, visit):
    """Without any server: the files as they are."""
    seen = visit()
    seen.page.goto((site / "chapters" / "00_setup.html").as_uri())
    seen.page.wait_for_load_state("networkidle")
    seen.page.evaluate(TYPESET)
    found = seen.page.evaluate(LOOK)
    assert found["formulas"] > 10 and not (found["raw"] or found["errors"] or found["broken"])
    assert not seen.complaints
