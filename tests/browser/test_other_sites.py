"""Pages of another origin: they can neither write nor read, nor show a page of the web UI inside their own."""

from __future__ import annotations

import http.server
import threading

import pytest

from cylestio_monitor.store.read import queries

pytestmark = pytest.mark.e2e

_FORM = """<!doctype html><title>evil</title><form id="f" method="post" action="{target}" enctype="{kind}">
<input name="state" value="resolved"><input name="form_token" value=""></form><button form="f">go</button>"""
_READ = """async (target) => {
  const tell = (promise) => promise.then(async (answer) => (await answer.text()) || answer.type, (error) => `${error}`);
  return [
    await tell(fetch(target)),
    await tell(fetch(target, {mode: 'no-cors', credentials: 'include'})),
    await tell(fetch(target, {credentials: 'include'})),
    await tell(fetch(target, {method: 'POST', mode: 'no-cors', credentials: 'include', body: 'state=resolved'})),
  ];
}"""


@pytest.fixture
def evil():
    """A server of another origin that answers every address with the page that was set."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.server.page.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.page = ""
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def states(path):
    with queries.connect(path) as connection:
        return [tuple(row) for row in connection.execute("SELECT group_id, state FROM finding_group ORDER BY 1")]


# A port is another origin of the same site, which gets the cookie; another host name is another site.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
def test_a_form_of_another_origin_is_refused(example, evil, host, kind):
    path = example.paths["/findings/{group}"]
    before = states(example.path)
    evil.page = _FORM.format(target=f"{example.served.origin}{path}/state", kind=kind)
    with example.window() as watched:
        page = watched.page
        page.goto(f"http://{host}:{evil.server_port}/")
        with page.expect_navigation() as navigation:
            page.get_by_role("button", name="go").click()
        assert navigation.value.status in {401, 403}
    assert states(example.path) == before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_script_of_another_origin_reads_and_writes_nothing(example, evil, host):
    before = states(example.path)
    evil.page = "<!doctype html><title>evil</title>"
    target = f"{example.served.origin}{example.paths['/findings/{group}']}"
    with example.window() as watched:
        watched.page.goto(f"http://{host}:{evil.server_port}/")
        for answer in watched.page.evaluate(_READ, target):
            assert answer == "opaque" or answer.startswith("TypeError")
    assert states(example.path) == before


def test_no_other_page_shows_one_of_these_in_a_frame(example, evil):
    evil.page = f'<!doctype html><title>evil</title><iframe src="{example.served.origin}/"></iframe>'
    with example.window() as watched:
        watched.page.goto(f"http://127.0.0.1:{evil.server_port}/")
        watched.page.wait_for_load_state()
        texts = [frame.content() for frame in watched.page.frames[1:]]
        assert texts
        assert not [text for text in texts if "Overview" in text]


def test_another_name_of_the_server_is_not_served(example):
    with example.window() as watched:
        port = example.served.origin.rpartition(":")[2]
        # `*.localhost` leads to this machine, as a rebound name would.
        answer = watched.page.goto(f"http://evil.localhost:{port}/login/x")
        assert answer.status == 421
