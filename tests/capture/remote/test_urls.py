"""What of a URL is shown, and what only the server gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.capture import CaptureError
from layertui.capture.remote.urls import has_secret, name_in, opened, scheme_of, scrubbed, sealed
from layertui.capture.storage import LOCAL, is_url, storage_of


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a/b.npy", "s3://bucket/a/b.npy"),
        ("https://user:word@host/dump/", "https://***@host/dump/"),
        ("https://token@host:8080/dump", "https://***@host:8080/dump"),
        ("https://host/x.npy?X-Amz-Signature=abc&b=1", "https://host/x.npy?***"),
        ("https://u:p@bare?k=v", "https://***@bare?***"),
        ("ftp://me:word@host/x", "ftp://***@host/x"),
        ("abfs://container@account.dfs.core.windows.net/x", None),  # no password
        ("sftp://me@host/x", None),
        ("/a/b?c=d", None),
        ("./s3://x:y@z/", None),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str | None) -> None:
    assert sealed(url) == (shown or url)
    assert opened(sealed(url)) == url if is_url(url) else True
    assert sealed(sealed(url)) == sealed(url)
    assert has_secret(sealed(url)) == (shown is not None and shown != url)


def test_what_lies_below_a_sealed_url_is_opened_with_its_password() -> None:
    root = sealed("https://user:word@there/dump")
    assert opened(f"{root}/0/x.npy") == "https://user:word@there/dump/0/x.npy"


def test_two_signatures_of_one_file_are_told_apart() -> None:
    first, second = (f"https://twice/x.npy?sig={n}" for n in "ab")
    assert sealed(first) != sealed(second)
    assert [opened(sealed(url)) for url in (first, second)] == [first, second]


def test_a_url_that_was_printed_cannot_be_opened() -> None:
    for url in ("https://***@never/x", "https://never/x?***"):
        with pytest.raises(CaptureError, match="left out"):
            opened(url)


def test_texts_of_libraries_lose_what_is_secret() -> None:
    sealed("https://me:s3cr3tword@host/x.npy?sig=f00dcafe")
    said = scrubbed("400 for https://me:s3cr3tword@host/x.npy?sig=f00dcafe (s3cr3tword, f00dcafe)")
    assert "s3cr3tword" not in said and "f00dcafe" not in said
    assert "https://***@host/x.npy?***" in said
    assert scrubbed("of http://h/p?q=1 and http://a:b@c/d") == (
        "of http://h/p?*** and http://***@c/d"
    )


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_sealed_and_opened_again(first: str, rest: str) -> None:
    for path in (first, f"s3://{rest}", f"https://{first}@{rest}"):
        shown = sealed(path)
        if is_url(path) and "***" not in path:
            assert opened(shown) == path
        assert is_url(shown) == is_url(path)


def test_schemes_and_names() -> None:
    paths = ("s3://b", "S3a://b", "a/b", "://b", "a b://c", "1x://c", "x:/y")
    assert [is_url(path) for path in paths] == [
        True, True, False, False, False, False, False,
    ]  # fmt: skip
    assert scheme_of("S3://b/x") == "s3" and scheme_of("/a") == ""
    assert name_in("https://h/a/b%20c.npy?x") == "b c.npy"
    assert name_in("s3://b/a%20b.npy") == "a%20b.npy"
    assert storage_of("a dir://x") is LOCAL
