"""The fixtures themselves: a page that is broken is noticed, one that is not is left in peace."""

from conftest import served


def test_a_page_that_complains(visit, tmp_path):
    """An error on the console, an exception, a file that is missing, and an address that is not of this machine."""
    (tmp_path / "index.html").write_text(
        "<img src='gone.png'><img src='https://example.org/far.png'>"
        "<script>console.error('spoken'); setTimeout(() => { throw new Error('thrown') })</script>"
    )
    with served(tmp_path) as address:
        seen = visit()
        seen.page.goto(address)
        seen.page.wait_for_load_state("networkidle")
    told = "\n".join(seen.complaints)
    assert "spoken" in told and "thrown" in told and "gone.png: 404" in told and "far.png" in told


def test_a_page_in_order(visit, tmp_path):
    (tmp_path / "index.html").write_text("<link rel='icon' href='data:,'><p>quiet</p>")
    with served(tmp_path) as address:
        seen = visit()
        seen.page.goto(address)
        assert seen.page.inner_text("p") == "quiet"
    assert not seen.complaints
