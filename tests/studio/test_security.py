"""What keeps other sites, strangers and too large requests out."""

from pathlib import Path

import pytest
from studio.conftest import ADDRESS, HEADERS, Page, opened

JOB = {"kind": "make", "settings": {"model": "volume", "frames": 8}}


def test_every_answer_forbids_what_is_not_its_own(page: Page):
    for path in ("/", "/api/jobs", "/nothing", "/health"):
        headers = page.client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Longtake": "0"}, 403),
        ({**HEADERS, "origin": "http://evil.example"}, 403),
        ({**HEADERS, "origin": "null"}, 403),
        ({**HEADERS, "host": "evil.example"}, 400),
        ({**HEADERS, "origin": ADDRESS}, 202),
    ],
)
def test_a_form_of_another_site_starts_no_job(page: Page, headers: dict[str, str], status: int):
    answer = page.client.post("/api/jobs", json=JOB, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 202:
        page.ended(answer.json()["id"])


def test_a_name_from_outside_reaches_no_file(page: Page):
    job = page.ended(page.submit("make", model="planes", frames=8))["id"]
    for name in ("..%2F..%2Fstudio.sqlite3", "%2Fetc%2Fpasswd", ".generate", "seed_0001.mp4"):
        assert page.client.get(f"/api/jobs/{job}/files/{name}").status_code == 404
    for path in ("/api/jobs/..%2F..", "/page/..%2Fapp.py", "/page/app.py"):
        assert page.client.get(path).status_code == 404
    assert page.client.get("/api/uploads/..%2F..%2Fx/preview").status_code == 404


def test_a_body_that_is_too_large_or_not_json_is_refused_in_words(page: Page):
    large = page.client.post("/api/jobs", content=b"x" * (2 << 20), headers=HEADERS)
    assert (large.status_code, "limit of 1 MiB" in large.json()["error"]) == (413, True)
    chunks = iter([b"x" * (1 << 19)] * 4)
    streamed = page.client.post("/api/jobs", content=chunks, headers=HEADERS)
    assert streamed.status_code == 413
    for content, expected in ((b"{", "not valid JSON"), (b"[1]", "must be a JSON object")):
        answer = page.client.post("/api/jobs", content=content, headers=HEADERS)
        assert (answer.status_code, expected in answer.json()["error"]) == (422, True)


def test_numbers_in_an_address_that_are_none_are_refused_in_words(page: Page):
    for path in ("/api/jobs?limit=many", "/v1/videos?limit=many"):
        answer = page.client.get(path)
        assert answer.status_code == 422, answer.text


def test_a_server_with_a_token_answers_nobody_without_it(tmp_path: Path, places: dict[str, str]):
    with opened(tmp_path, {}, token="secret") as client:
        for path in ("/v1/videos", "/api/jobs", "/metrics", "/"):
            assert client.get(path).status_code == 401
            wrong = {"Authorization": "Bearer secre"}
            assert client.get(path, headers=wrong).status_code == 401
        right = {"Authorization": "Bearer secret"}
        assert client.get("/v1/videos", headers=right).status_code == 200
        assert client.get("/health").status_code in (200, 503)
        refused = client.post("/v1/videos", json={}).json()
        assert refused["error"]["code"] == "invalid_api_key"
