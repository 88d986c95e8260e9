"""The pictures of the documentation: of the example at a fixed moment, small, and shown with a text in their place."""

from __future__ import annotations

import io
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from browser import chromium, example_store
from browser.served import Served
from cylestio_monitor import config
from cylestio_monitor.store.read import lists, queries
from cylestio_monitor.web import server
from cylestio_monitor.web.access.sessions import Sessions
from cylestio_monitor.web.app import create_app

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 150_000
MOST_BYTES_IN_ALL = 1_000_000
PICTURES = {
    # name: path, theme, window, and the height that is shown, in pixels
    "ui-overview": ("/", "light", "desktop", 1060),
    "ui-overview-dark": ("/", "dark", "desktop", 1060),
    "ui-finding": ("/findings/{group}", "light", "desktop", 1040),
    "ui-conversation": ("/t/{trace}", "light", "desktop", 1260),
    "ui-conversation-phone": ("/t/{trace}", "light", "phone", 1000),
    "ui-timeline": ("/t/{research}/timeline", "light", "desktop", 620),
    "ui-tool": ("/tools/send_email", "light", "desktop", 760),
    "ui-tool-graph": ("/tool-graph", "light", "desktop", 760),
    "ui-approval": ("/approvals/k3m9qz7w2h5t", "light", "desktop", 860),
}


@contextmanager
def served_here(path):
    """The server in this process, whose clock stands still."""
    loaded = config.load({}, overrides={"store": {"path": str(path)}, "policy": str(path.with_name("policy.yaml"))})
    address = server.Address()
    listening = server._listen(address)
    port = listening.getsockname()[1]
    sessions = Sessions()
    app = create_app(path, loaded, sessions=sessions, hosts=address.hosts(port), cookie=f"cylestio_{port}")
    running = uvicorn.Server(server._settings(app, address))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{port}", f"/login/{sessions.new_link()}", path)
    finally:
        running.should_exit = True
        thread.join(20)
        listening.close()


def ids_of(path):
    with queries.connect(path) as connection:
        runs = lists.runs(connection, limit=100).rows
        found = connection.execute(
            "SELECT group_id FROM finding_group WHERE rule_id LIKE 'in%' AND source = 'tool:git_log' LIMIT 1"
        ).fetchone()
    return {
        "trace": next(one.trace_id for one in runs if one.agent_id == "release-notes"),
        "research": next(one.trace_id for one in runs if one.agent_id == "nightly-research"),
        "group": found["group_id"],
    }


def reduced(picture):
    """A picture as PNG with at most 256 colours."""
    from PIL import Image

    small = io.BytesIO()
    colours = Image.open(io.BytesIO(picture)).convert("RGB")
    colours.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


@pytest.mark.e2e
def test_the_pictures_are_made(tmp_path, browser, pytestconfig):
    path = tmp_path / "data" / "cylestio.db"
    sizes = {}
    with example_store.clock() as moment:
        example_store.fill(path, tmp_path / "cache", moment)
        ids = ids_of(path)
        with served_here(path) as site:
            state = site.login(browser)
            for name, (address, theme, size, height) in PICTURES.items():
                options = {"color_scheme": theme, "reduced_motion": "reduce"}
                with chromium.watched(browser, site.origin, state, size=size, **options) as watched:
                    page = watched.open(address.format(**ids))
                    page.set_viewport_size({"width": chromium.WIDTHS[size][0], "height": height})
                    page.wait_for_selector(".live:text('Live')", state="attached")
                    picture = reduced(page.screenshot())
                    assert watched.problems() == []
                sizes[name] = len(picture)
                (tmp_path / f"{name}.png").write_bytes(picture)
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
    assert sum(sizes.values()) < MOST_BYTES_IN_ALL
    if folder := pytestconfig.getoption("--screenshots"):
        Path(folder).mkdir(exist_ok=True)
        for name in PICTURES:
            shutil.copyfile(tmp_path / f"{name}.png", Path(folder) / f"{name}.png")


def test_each_picture_is_shown_with_a_text_in_its_place():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {}
    for page in pages:
        for text, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text("utf-8")):
            shown.setdefault(Path(target).name, []).append((page.name, text))
    for picture in IMAGES.glob("*.png"):
        assert picture.stem in PICTURES
        assert picture.stat().st_size <= MOST_BYTES
        assert shown.get(picture.name), f"no page shows {picture.name}"
        assert [text for _, text in shown[picture.name] if len(text) < 20] == []
    assert {picture.stem for picture in IMAGES.glob("*.png")} == set(PICTURES)
