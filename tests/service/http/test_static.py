"""The page's files are served as they lie in the package: by kind, once for all, and squeezed."""

from __future__ import annotations

import gzip
from importlib import resources

import pytest

from stream_lstm.service.http.static import KINDS, SQUEEZED_BYTES_MIN, files
from tests.service.http.scene import visited


def test_every_file_of_a_known_kind_is_there_and_no_other() -> None:
    web = resources.files("stream_lstm.web")
    inside = [path for folder in (web, web.joinpath("live")) for path in folder.iterdir() if path.is_file()]
    known = {path.name: path.read_bytes() for path in inside if path.name.rpartition(".")[2] in KINDS}
    assert {name: file.content for name, file in files().items()} == known
    assert "index.html" in known
    assert not any(name.endswith(".py") for name in known)
    assert files() is files()


def test_a_tag_changes_with_the_content_and_what_is_long_is_squeezed() -> None:
    assert len({file.tag for file in files().values()}) == len({f.content for f in files().values()})
    for file in files().values():
        assert (file.squeezed is not None) == (len(file.content) >= SQUEEZED_BYTES_MIN)
        assert file.squeezed is None or gzip.decompress(file.squeezed) == file.content


@pytest.mark.parametrize("name", sorted(files()))
async def test_a_file_comes_whole_squeezed_or_not_at_all_if_it_is_known(name: str) -> None:
    file = files()[name]
    path = "/" if name == "index.html" else f"/static/{name}"
    async with visited(None) as visitor:
        for accepted in ("identity", "gzip", "br, gzip;q=0.5"):
            status, body, headers = await visitor.ask(path, headers={"Accept-Encoding": accepted})
            assert (status, body) == (200, file.content)
            squeezed = file.squeezed is not None and "gzip" in accepted
            assert headers.get("content-encoding") == ("gzip" if squeezed else None)
            assert (headers["etag"], headers["content-type"]) == (file.tag, file.kind)
            assert (headers["cache-control"], headers["vary"]) == ("no-cache", "Accept-Encoding")
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
        status, body, headers = await visitor.ask(path, headers={"If-None-Match": file.tag})
        assert (status, body, headers["etag"]) == (304, b"", file.tag)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert (await visitor.ask(path, headers={"If-None-Match": '"other"'}))[0] == 200
        status, body, headers = await visitor.ask(path, "HEAD", headers={"Accept-Encoding": "identity"})
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
async def test_what_is_no_file_is_not_found(name: str) -> None:
    async with (
        visited(None) as visitor,
        visitor.session.get(f"{visitor.url}/static/{name}", allow_redirects=False) as answer,
    ):
        assert answer.status == 404
        assert answer.content_type == "application/json"
        assert "error" in await answer.json()
