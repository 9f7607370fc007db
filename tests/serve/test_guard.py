"""Who may ask, and what the page may load."""

import re
from pathlib import Path

import pytest
from starlette.websockets import WebSocketDisconnect

from lvis.serve.app import STATIC

from .conftest import serving, session

TOKEN = "a-token-of-22-letters-"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "attacker.example"},
        {"host": "attacker.example", "origin": "http://attacker.example"},
        {"origin": "http://attacker.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_other_sites_get_nothing(client, headers):
    assert client.get("/options", headers=headers).status_code == 403
    given = {"host": "localhost", **headers}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/session", headers=given):
        pass


def test_a_token_is_needed_and_a_cookie_keeps_it(menu):
    with serving(menu, host="0.0.0.0", token=TOKEN) as client:
        assert client.get("/options").status_code == 401
        with pytest.raises(WebSocketDisconnect), session(client):
            pass
        assert client.get("/?token=another-token-of-some-length").status_code == 401
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/options", headers=bearer).status_code == 200
        welcome = client.get(f"/?token={TOKEN}", follow_redirects=False)
        assert welcome.headers["location"] == "/" and "HttpOnly" in welcome.headers["set-cookie"]
        assert client.get("/options").status_code == 200


def test_every_answer_forbids_foreign_and_inline_scripts(client):
    for path in ("/", "/options", "/static/main.js", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy
        assert "unsafe" not in policy and headers["x-content-type-options"] == "nosniff"


def test_the_page_has_no_inline_script_and_style_and_loads_nothing_from_elsewhere(client):
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    for file in STATIC.iterdir():
        urls = re.findall(r"\w+://[^\s\"'`$]+", file.read_text())
        assert set(urls) <= {"http://www.w3.org/2000/svg"}, file.name
    local = re.findall(r"(?:src|href)=\"(/[^\"]+)\"", page)
    assert len(local) >= 3
    for path in local:
        assert client.get(path).status_code == 200


def test_no_file_of_the_server_can_be_reached(client):
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/clips/..%2fapp.py", "/docs"):
        assert client.get(path).status_code in (400, 404)
    assert Path(STATIC / "../app.py").is_file()
