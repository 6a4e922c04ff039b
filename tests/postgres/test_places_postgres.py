"""Archives in buckets, with real servers: backed up to several places, drilled straight from there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from object_stores import Bucket
from test_cli_postgres import Pgdrill, dsn, pgdrill  # noqa: F401 - fixtures

from backup_lib.ledger import read_ledger
from backup_lib.places import open_place

pytestmark = pytest.mark.postgres


def test_a_backup_goes_to_each_place_and_is_drilled_from_a_bucket(
    pgdrill: Pgdrill, dsn: str, use_s3: Callable[[str], Bucket], seaweed_endpoint: str, tmp_path: Path
) -> None:
    bucket = use_s3(seaweed_endpoint)()
    said = pgdrill("backup", "--to", "backups", "--to", bucket, "--to", "usb", "--json", dsn=dsn)
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert [(place["place"], place["status"]) for place in told["places"]] == [
        ("backups", "copied"),
        (bucket, "copied"),
        ("usb", "copied"),
    ]
    (listed,) = json.loads(pgdrill("list", "--backups", bucket, "--json").stdout)
    assert (listed["name"], listed["has_manifest"], listed["last_drill"]) == (told["name"], True, None)

    before = set(Path(tempfile.gettempdir()).glob("pgdrill-run-*"))
    said = pgdrill("verify", "latest", "--backups", bucket, "--sandbox", "embedded")
    assert said.returncode == 0, said.stdout + said.stderr
    record = json.loads((tmp_path / "reports/latest/record.json").read_text())
    assert (record["verdict"], record["archive"]["location"]) == ("verified", bucket)
    assert record["archive"]["sha256"] == told["sha256"]
    assert any(phase["name"] == "fetch" and phase["seconds"] > 0 for phase in record["phases"])
    left = set(Path(tempfile.gettempdir()).glob("pgdrill-run-*")) - before
    assert not [path for path in left if (path / "fetched").exists()]
    (entry,) = read_ledger(open_place(bucket), told["name"]).entries
    assert (entry.drill_id, entry.standing) == (record["drill_id"], "verified")
    assert json.loads(pgdrill("prune", "--backups", bucket, "--json").stdout)["archives"][0]["standing"] == "verified"


def test_a_place_that_is_down_is_said_and_the_others_have_their_archive(
    pgdrill: Pgdrill, dsn: str, use_s3: Callable[[str], Bucket], moto_endpoint: str, tmp_path: Path
) -> None:
    use_s3(moto_endpoint)
    (tmp_path / "not-a-folder").write_text("")
    places = ("--to", "s3://vanished/x", "--to", "backups", "--to", "not-a-folder")
    said = pgdrill("backup", *places, "--format", "custom", "--json", dsn=dsn)
    assert said.returncode == 3
    stored = {place["place"]: place["status"] for place in json.loads(said.stdout)["places"]}
    assert stored == {"s3://vanished/x": "failed", "backups": "copied", "not-a-folder": "failed"}
    assert "not stored in s3://vanished/x: " in said.stderr
    assert "NoSuchBucket" in said.stderr
    assert "not-a-folder is a file" in said.stderr
    assert len(list((tmp_path / "backups").glob("*.dump"))) == 1


def test_a_custom_archive_whose_bytes_changed_in_the_bucket_fails(
    pgdrill: Pgdrill, dsn: str, use_s3: Callable[[str], Bucket], moto_endpoint: str, tmp_path: Path
) -> None:
    bucket = use_s3(moto_endpoint)()
    said = pgdrill("backup", "--to", "backups", "--to", bucket, "--format", "custom", "--json", dsn=dsn)
    name = json.loads(said.stdout)["name"]
    place = open_place(bucket)
    data = bytearray(b"".join(place.open_read(name)))
    data[-100] ^= 1
    place.replace(name, bytes(data))
    said = pgdrill("verify", f"{bucket}/{name}", "--sandbox", "embedded", "--level", "integrity")
    assert said.returncode == 1, said.stdout
    assert pgdrill("sync", "backups", bucket).returncode == 0
    assert b"".join(place.open_read(name)) == (tmp_path / "backups" / name).read_bytes()
