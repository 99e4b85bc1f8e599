"""The page at `/`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.http import models
from tests.http.support import Raw, Running, serving


def state_of(html: str) -> dict[str, object]:
    found = re.search(r'<script id="state" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_the_page_tells_every_model_with_its_state(raw: Raw) -> None:
    reply = raw.request("GET", "/")
    assert reply.status == 200 and reply.headers["content-type"] == "text/html; charset=utf-8"
    state = state_of(reply.body.decode())
    rows = {(row["name"], row["version"]): row for row in state["models"]}  # type: ignore[attr-defined]
    assert rows["pair", "3"]["state"] == "READY" and rows["pair", "3"]["inputs"][0]["shape"] == [-1, 2]
    assert rows["broken", "1"]["state"] == "UNAVAILABLE" and rows["broken", "1"]["reason"]


def test_the_page_loads_nothing_from_elsewhere(raw: Raw) -> None:
    reply = raw.request("GET", "/")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    outside = re.findall(
        r"(?:src|href)=\"(?!/|data:)[^\"]*|@import|https?://(?!www\.w3\.org/2000/svg)", reply.body.decode()
    )
    assert outside == []


def test_a_hostile_name_cannot_leave_the_data_it_stands_in(tmp_path: Path, server: Running) -> None:
    path = models.pair(tmp_path / "m.onnx")
    name = "</script><script>alert(1)</script>"
    with serving(path, server={"name": name}) as running, Raw(running.port) as raw:
        html = raw.request("GET", "/").body.decode()
        assert "<script>alert" not in html and state_of(html)["name"] == name
