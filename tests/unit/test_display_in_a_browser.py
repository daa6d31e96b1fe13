"""The HTML of records in a real headless Chromium."""

import pytest

from chatmemory import Page
from tests.fixtures.chromium import browse
from tests.unit.test_display import HOSTILE, OURS, shown

ATTACKS = [
    HOSTILE,
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x dur=1s>",
    '"><iframe srcdoc="<script>parent.alert(1)</script>"></iframe>',
    "' style='display:none' onmouseover='alert(1)",
    "</style><style>* { display: none !important }</style>",
    "</td></tr></table></pre></textarea></title><plaintext>",
    "<!-- <![CDATA[ &lt;script&gt;alert(1)&lt;/script&gt; &#60;b&#62; {{7*7}} ${7*7} $$x$$",
    "<a href=javascript:alert(1)>click</a><form><math><mtext><base href=//x>",
    "\u202e<b>right to left</b>\u202c שלום עולם مرحبا <i>left</i>",
    "def f():\n    return  1\n\n# lines and spaces stay",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_what_was_said_is_text_in_a_browser(text: str) -> None:
    """No script runs, no element or attribute comes about, and the text is there to read, letter by letter."""
    records = shown(text)
    for record, page in zip(records, browse(record._repr_html_() for record in records), strict=True):
        assert "HeadlessChrome" in page.browser
        assert page.ran == []
        assert set(page.tags) <= OURS
        assert set(page.attributes) <= {"style"}
        empty = isinstance(record, Page) and not len(record)
        assert empty or any(text in cell for cell in page.cells)


def test_the_browser_would_show_an_attack() -> None:
    """The test can fail: without escaping, scripts and event handlers run and are detected."""
    [page] = browse(["<script>alert('script')</script><img src=x onerror=alert('image')><p hidden>unseen</p>"])
    assert sorted(page.ran) == ["image", "script"]
    assert set(page.tags) == {"script", "img", "p"}
    assert "unseen" not in page.text


@pytest.mark.parametrize("text", ["word " * 200_000, "x" * 1_000_000, "<b>" * 300_000, "\u202e&" * 400_000])
def test_a_very_long_text_is_cut(text: str) -> None:
    """Of a message of a megabyte the beginning is shown, and that there is more."""
    written = [record._repr_html_() for record in shown(text)]
    assert max(map(len, written)) < 50_000
    for page in browse(written[:-1]):  # the last is an empty page
        long = [cell for cell in page.cells if len(cell) > 400]
        assert long
        assert all(cell.endswith("…") and text.startswith(cell[:-1]) for cell in long)
