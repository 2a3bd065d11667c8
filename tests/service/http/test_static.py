"""Static files of the page: content types, ETags and compression."""

from __future__ import annotations

import gzip
from importlib import resources

import pytest

from stream_lstm.service.http.static import COMPRESSED_BYTES_MIN, CONTENT_TYPES, files
from tests.service.http.harness import serve


def test_every_file_of_a_known_content_type_is_served_and_no_other() -> None:
    web = resources.files("stream_lstm.web")
    inside = [path for folder in (web, web.joinpath("live")) for path in folder.iterdir() if path.is_file()]
    known = {path.name: path.read_bytes() for path in inside if path.name.rpartition(".")[2] in CONTENT_TYPES}
    assert {name: file.content for name, file in files().items()} == known
    assert "index.html" in known
    assert not any(name.endswith(".py") for name in known)
    assert files() is files()


def test_an_etag_changes_with_the_content_and_large_files_are_compressed() -> None:
    assert len({file.etag for file in files().values()}) == len({f.content for f in files().values()})
    for file in files().values():
        assert (file.compressed is not None) == (len(file.content) >= COMPRESSED_BYTES_MIN)
        assert file.compressed is None or gzip.decompress(file.compressed) == file.content


@pytest.mark.parametrize("name", sorted(files()))
async def test_a_file_is_sent_plain_compressed_or_as_not_modified(name: str) -> None:
    file = files()[name]
    path = "/" if name == "index.html" else f"/static/{name}"
    async with serve(None) as client:
        for accepted in ("identity", "gzip", "br, gzip;q=0.5"):
            status, body, headers = await client.request(path, headers={"Accept-Encoding": accepted})
            assert (status, body) == (200, file.content)
            compressed = file.compressed is not None and "gzip" in accepted
            assert headers.get("content-encoding") == ("gzip" if compressed else None)
            assert (headers["etag"], headers["content-type"]) == (file.etag, file.content_type)
            assert (headers["cache-control"], headers["vary"]) == ("no-cache", "Accept-Encoding")
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
        status, body, headers = await client.request(path, headers={"If-None-Match": file.etag})
        assert (status, body, headers["etag"]) == (304, b"", file.etag)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert (await client.request(path, headers={"If-None-Match": '"other"'}))[0] == 200
        status, body, headers = await client.request(path, "HEAD", headers={"Accept-Encoding": "identity"})
        assert (status, body, headers["content-length"]) == (200, b"", str(len(file.content)))


@pytest.mark.parametrize(
    "name",
    [
        "nothing.js",
        "__init__.py",
        "..%2f__init__.py",
        "%2e%2e%2f%2e%2e%2fcli.py",
        "live%2findex.html",
        "<b>",
        "%00",
    ],
)
async def test_an_unknown_file_is_not_found(name: str) -> None:
    async with (
        serve(None) as client,
        client.session.get(f"{client.url}/static/{name}", allow_redirects=False) as answer,
    ):
        assert answer.status == 404
        assert answer.content_type == "application/json"
        assert "error" in await answer.json()
