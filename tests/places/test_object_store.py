"""A bucket as a place of archives, against two implementations of S3: whole or not at all, never overwritten."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
from object_stores import Bucket, client_of

from backup_lib import object_store
from backup_lib.catalog import resolve
from backup_lib.errors import LockedError, StoreError, UsageError
from backup_lib.object_store import ObjectStore, open_object_store
from backup_lib.places import open_place
from backup_lib.store import LocalStore

LARGE = 20_000_000  # uploaded in parts


def write(store: ObjectStore, name: str, *chunks: bytes) -> None:
    with store.create(name) as sink:
        for chunk in chunks:
            sink.write(chunk)


def keys(store: ObjectStore, endpoint: str) -> list[str]:
    """All there is, hidden or not, as another program sees it; and no half upload."""
    client = client_of(endpoint)
    bucket, _, prefix = store.location.removeprefix("s3://").partition("/")
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    return [item["Key"].removeprefix(f"{prefix}/") for item in listed]


@pytest.fixture
def store(bucket: str) -> ObjectStore:
    return open_object_store(f"{bucket}/deep/backups/")


@pytest.mark.parametrize("size", [0, 5, 300_000, LARGE])
def test_what_is_created_is_read_back_and_listed(store: ObjectStore, s3_endpoint: str, size: int) -> None:
    chunk = bytes(range(256)) * 4096
    data = (chunk * (size // len(chunk) + 1))[:size]
    write(store, "a.sql", *(data[at : at + 700_000] for at in range(0, size, 700_000)))
    assert b"".join(store.open_read("a.sql")) == data
    assert [(item.name, item.size_bytes) for item in store.items()] == [("a.sql", size)]
    assert (store.exists("a.sql"), store.exists("b.sql")) == (True, False)
    assert keys(store, s3_endpoint) == ["a.sql"]


@pytest.mark.parametrize("size", [5, LARGE])
def test_a_name_is_never_overwritten(store: ObjectStore, s3_endpoint: str, size: int) -> None:
    write(store, "a.sql", b"old")
    with pytest.raises(StoreError, match="exists already"):
        write(store, "a.sql", bytes(size))
    assert b"".join(store.open_read("a.sql")) == b"old"
    assert keys(store, s3_endpoint) == ["a.sql"]


@pytest.mark.parametrize("size", [5, LARGE])
def test_a_failure_leaves_nothing_not_even_parts(store: ObjectStore, s3_endpoint: str, size: int) -> None:
    def fail() -> None:
        with store.create("a.sql") as sink:
            sink.write(bytes(size))
            assert not store.exists("a.sql")
            assert store.items() == []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert keys(store, s3_endpoint) == []


def test_of_two_writers_in_parts_one_fails(store: ObjectStore) -> None:
    with store.create("a.sql") as first:
        first.write(b"1" * LARGE)
        with pytest.raises(LockedError, match=r"another run writes .*/a\.sql since"):
            write(store, "a.sql", b"2" * LARGE)
    assert next(iter(store.open_read("a.sql")))[:1] == b"1"


_KILLED = """
import os, sys
from backup_lib.object_store import open_object_store
with open_object_store(sys.argv[1]).create("a.sql") as sink:
    sink.write(bytes(20_000_000)); os.kill(os.getpid(), 9)
"""


def test_a_writer_that_was_killed_here_keeps_nobody_from_its_name(store: ObjectStore, s3_endpoint: str) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, store.location], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert store.items() == []
    assert store.exists(".a.sql.claim")
    write(store, "a.sql", b"2" * LARGE)
    assert b"".join(store.open_read("a.sql")) == b"2" * LARGE
    assert not store.exists(".a.sql.claim")
    abort_uploads(s3_endpoint, store)


def test_the_claim_of_a_writer_out_of_sight_is_named_and_counts_for_a_day(
    store: ObjectStore, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs on another machine, or ran there."""
    store.replace(".a.sql.claim", b"another-boot.4026531836.1.1")
    with pytest.raises(LockedError, match=r"or was killed and left \.a\.sql\.claim") as caught:
        write(store, "a.sql", bytes(LARGE))
    assert "delete .a.sql.claim there" in caught.value.hint
    write(store, "b.sql", bytes(LARGE))  # other names are free
    store.replace("a.sql.manifest.json", b"{}")  # it comes before its archive, which never came
    monkeypatch.setattr(object_store, "_CLAIM_LIFE", timedelta(0))
    write(store, "c.sql", bytes(LARGE))
    bucket, _, prefix = store.location.removeprefix("s3://").partition("/")
    listed = client_of(s3_endpoint).list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")
    assert [item["Key"] for item in listed["Contents"]] == [f"{prefix}/b.sql", f"{prefix}/c.sql"]


def abort_uploads(endpoint: str, store: ObjectStore) -> None:
    """What a lifecycle rule does."""
    client = client_of(endpoint)
    bucket, _, _ = store.location.removeprefix("s3://").partition("/")
    for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def test_only_our_own_small_files_are_replaced_and_all_are_deleted_and_moved(store: ObjectStore) -> None:
    store.replace("a.json", b"1")
    store.replace("a.json", b"2")
    assert b"".join(store.open_read("a.json")) == b"2"
    store.move("a.json", "quarantine")
    assert store.items() == []
    aside = store.under("quarantine")
    assert [item.name for item in aside.items()] == ["a.json"]
    store.replace("a.json", b"3")
    with pytest.raises(StoreError, match="exists already"):
        store.move("a.json", "quarantine")
    aside.delete("a.json")
    assert (aside.items(), store.exists("a.json")) == ([], True)


def test_reading_what_is_not_there_is_a_store_error(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="is not there"):
        list(store.open_read("a.sql"))


def test_a_bucket_that_is_not_there_is_said(use_s3: Callable[[str], Bucket], moto_endpoint: str) -> None:
    use_s3(moto_endpoint)
    store = open_object_store("s3://no-such-bucket/x")
    with pytest.raises(StoreError, match="NoSuchBucket") as caught:
        store.items()
    assert "make the bucket" in caught.value.hint
    with pytest.raises(StoreError, match="s3://no-such-bucket/x"):
        write(store, "a.sql", b"")


def test_a_store_that_is_down_is_said_soon(use_s3: Callable[[str], Bucket]) -> None:
    use_s3("http://127.0.0.1:9")
    with pytest.raises(StoreError, match="s3://bucket/x") as caught:
        open_object_store("s3://bucket/x").items()
    assert "AWS_ENDPOINT_URL" in caught.value.hint


def test_keys_that_are_not_set_are_said(use_s3: Callable[[str], Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3("http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="s3://bucket/x: no keys are set") as caught:
        open_object_store("s3://bucket/x").items()
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_a_place_that_cannot_be_read_is_not_one_without_archives(
    use_s3: Callable[[str], Bucket], moto_endpoint: str
) -> None:
    use_s3(moto_endpoint)
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/x: NoSuchBucket") as caught:
        resolve(["latest"], "s3://no-such-bucket/x")
    assert caught.value.exit_status == 3


@pytest.mark.parametrize(
    ("place", "hint"),
    [
        ("s3://", "s3://bucket/prefix"),
        ("s3://KEY:SECRET@bucket/x", "in the environment"),
        ("ftp://host/x", "s3://bucket/prefix"),
        ("https://host/x", "s3://bucket/prefix"),
        ("file://host/x", "file:///folder"),
    ],
)
def test_what_names_no_place_is_a_usage_error(place: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_place(place)
    assert hint in caught.value.hint
    assert "SECRET" not in str(caught.value)


def test_folders_are_places_too() -> None:
    for place in ("backups", "file:///srv/my%20backups"):
        assert isinstance(open_place(place), LocalStore)
    assert open_place("file:///srv/my%20backups").location == "/srv/my backups"
    assert [open_place(f"{scheme}://c/p").location for scheme in ("gs", "s3")] == ["gs://c/p", "s3://c/p"]


def test_without_obstore_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['obstore'] = sys.modules['obstore.exceptions'] = None\n"
        "from backup_lib.places import open_place\n"
        "try: open_place('s3://bucket/x')\n"
        "except Exception as exc: print(type(exc).__name__, exc.hint)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "UsageError pip install 'pgdrill[s3]'\n"
