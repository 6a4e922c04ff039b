"""An archive is the one its name says, or a finding names what its manifest knows otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backup_lib.inventory import Inventory
from backup_lib.manifest import ArchiveFacts, Environment, Globals, Manifest, Source
from verification.checks.environment import check_environment
from verification.checks.integrity import check_integrity
from verification.evidence.builder import data_age_s
from verification.facts import Archived, Definitions, Facts, Restored
from verification.identity import mismatches

AT = datetime(2025, 2, 1, 2, 0, 3, tzinfo=UTC)
NAME = "pos_backup_20250201_020003.sql.gz"
HERE = Environment(encoding="UTF8", collate="C", ctype="C", locale_provider="libc", icu_locale=None,
                   collation_version=None, extensions=(), settings=(), invalid_indexes=())  # fmt: skip
EMPTY = Inventory(entries=(), tables=(), sequences=(), large_objects=(), complete=True)
MANIFEST = Manifest(
    archive=ArchiveFacts(name=NAME, kind="full", format="plain", compression="gzip", size_bytes=10,
                         sha256="ab" * 32, started_at=AT, finished_at=AT),
    source=Source(database="pos", system_identifier="7", server_version="15.18", snapshot_at=AT, lsn="0/1",
                  in_recovery=False, replay_lag_s=None, role="postgres", bootstrap_role="postgres"),
    environment=HERE, globals=Globals(roles=(), statements=()), row_counts={}, catalog=(), inventory=EMPTY, tools={},
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        pytest.param(NAME, [], id="its-own"),
        pytest.param("pos_backup_20250201_020009.sql.gz", [], id="moved-on-by-seconds"),
        pytest.param("copy of pos.sql.gz", [], id="somebody-elses-name"),
        pytest.param("otra_backup_20250201_020003.sql.gz", ["database"], id="another-database"),
        pytest.param("pos_backup_20250301_020003.sql.gz", ["time"], id="a-stale-one"),
        pytest.param("pos_backup_20250201_020003_data.sql.gz", ["kind"], id="another-kind"),
        pytest.param("otra_backup_20260201_020003.sql.gz", ["database", "time"], id="both"),
    ],
)
def test_a_name_is_held_against_the_manifest(name: str, wrong: list[str]) -> None:
    assert [mismatch.object for mismatch in mismatches(name, MANIFEST)] == wrong
    archived = Archived(size_bytes=10, sha256="ab" * 32)
    facts = Facts(level="full", expect=(), manifest=MANIFEST, manifest_damage=None, archived=archived, name=name)
    found = check_integrity(facts)
    assert [finding.object for finding in found if finding.status == "fault"] == [f"{w} in the name" for w in wrong]


@pytest.mark.parametrize(("lag", "said"), [(None, "not known"), (93.4, "93 s behind")])
def test_a_standbys_lag_is_said(lag: float | None, said: str) -> None:
    source = replace(MANIFEST.source, in_recovery=True, replay_lag_s=lag)
    restored = Restored(server_version="15.18", inventory=EMPTY, definitions=Definitions(), row_counts={}, catalog=(),
                        traits={}, environment=HERE)  # fmt: skip
    facts = Facts(level="full", expect=(), manifest=replace(MANIFEST, source=source), manifest_damage=None,
                  archived=Archived(inventory=EMPTY), restored=restored)  # fmt: skip
    (note,) = [finding for finding in check_environment(facts) if finding.status == "note"]
    assert (note.object, note.cause) == ("standby", "source")
    assert said in note.actual


def test_the_work_lost_with_an_archive_of_a_standby_is_what_the_standby_had_not_replayed_either() -> None:
    now = AT + timedelta(minutes=10)
    assert data_age_s(MANIFEST.source, now) == 600
    assert data_age_s(replace(MANIFEST.source, in_recovery=True, replay_lag_s=93.5), now) == 693.5
