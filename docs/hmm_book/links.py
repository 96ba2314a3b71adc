"""Checks a built site: every address in it leads to a place of the site, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["problems"]

# attributes whose address the browser loads by itself; those of <a> wait for a click
_LOADED = {"src", "poster", "data", "xlink:href"}
_LOADING_LINKS = {"stylesheet", "icon", "shortcut", "apple-touch-icon", "manifest", "preload", "modulepreload"}
_LOADING_LINKS |= {"prefetch", "prerender", "preconnect", "dns-prefetch"}
_SCHEMES = {"http", "https", "mailto", "javascript", "data"}
_IN_STYLES = re.compile(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")


class _Page(HTMLParser):
    """Places (ids) of a page, what it links to and what it loads."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self._style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._style = tag == "style"
        self.ids |= {values[name] for name in ("id", "name") if values.get(name) and (name == "id" or tag == "a")}
        self.loads += _in_style(values.get("style", ""))
        for name, value in values.items():
            if name == "srcset":
                self.loads += [part.split()[0] for part in value.split(",") if part.strip()]
            elif name in _LOADED or (name == "href" and tag in ("image", "use")):
                self.loads.append(value)
        if "href" in values and tag in ("a", "area"):
            self.links.append(values["href"])
        if "href" in values and tag == "link":
            loading = set(values.get("rel", "").lower().split()) & _LOADING_LINKS
            (self.loads if loading else self.links).append(values["href"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._style = False

    def handle_data(self, data: str) -> None:
        if self._style:
            self.loads += _in_style(data)

    def handle_endtag(self, tag: str) -> None:
        self._style = False


def _in_style(text: str) -> list[str]:
    return [one or other for one, other in _IN_STYLES.findall(re.sub(r"/\*.*?\*/", "", text, flags=re.S))]


def problems(site: Path) -> list[str]:
    """One sentence for every address of the site that leads nowhere, and for everything that is loaded from elsewhere.

    All `href` and `src` of the pages, with their anchors, and all addresses in style sheets. Raises FileNotFoundError
    if the folder has no page: a site without pages has no broken links either.
    """
    site = site.resolve()
    pages = {path: _Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        raise FileNotFoundError(f"there is no page in {site}: build the site first.")
    found = []
    for path, page in pages.items():
        at = path.relative_to(site).as_posix()
        found += [f"{at}: {told}" for url in dict.fromkeys(page.loads) if (told := _loaded(url, path, site))]
        found += [f"{at}: {told}" for url in dict.fromkeys(page.links) if (told := _linked(url, path, site, pages))]
    for path in sorted(site.rglob("*.css")):
        at = path.relative_to(site).as_posix()
        for url in dict.fromkeys(_in_style(path.read_text("utf-8"))):
            if told := _loaded(url, path, site):
                found.append(f"{at}: {told}")
    return found


def _loaded(url: str, path: Path, site: Path) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme in ("data", "blob") or url.startswith("#") or url.strip() == "":
        return ""
    if parts.scheme or parts.netloc:
        return f"{url} is loaded from elsewhere"
    return "" if _file(parts.path, path, site) else f"{url} is loaded, and is not there"


def _linked(url: str, path: Path, site: Path, pages: dict[Path, _Page]) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme or parts.netloc:
        return "" if parts.scheme in _SCHEMES else f"{url} has an unknown scheme"
    target = _file(parts.path, path, site) if parts.path else path
    if target is None:
        return f"{url} leads to no file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
        return f"{url} leads to no place on its page"
    return ""


def _file(url: str, path: Path, site: Path) -> Path | None:
    """The file of the site that an address on a page means."""
    plain = unquote(url)
    target = (site / plain.lstrip("/") if plain.startswith("/") else path.parent / plain).resolve()
    target = target / "index.html" if target.is_dir() else target
    return target if target.is_file() and target.is_relative_to(site) else None
