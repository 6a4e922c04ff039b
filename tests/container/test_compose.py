"""The guide's services, as a shop runs them: a database, its backup by hand and by the clock, and the drill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from verification.sandbox.engine import EngineStatus

pytestmark = pytest.mark.container

ROOT = Path(__file__).parents[2]
BASES = ("debian:bookworm-20250811-slim", "pgdrill-test-debian")
PASSWORD = "c0mpose-hush"  # noqa: S105
SEED = """
CREATE TABLE products (id int PRIMARY KEY, name text COLLATE "en_US.utf8" NOT NULL);
INSERT INTO products SELECT n, 'café ' || n FROM generate_series(1, 1000) n;
CREATE INDEX ON products (name);
"""
QUICK_HEALTH = """
services:
  backup-cron:
    healthcheck: { test: ["CMD", "pgdrill", "schedule", "health"], interval: 1s, timeout: 30s }
"""


def run(*words: str | Path, given: str = "", check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, words)], input=given, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    assert PASSWORD not in done.stdout + done.stderr
    return done  # type: ignore[no-any-return]


def _lacking(what: str) -> None:
    message = f"{what}: scripts/install-test-compose brings it"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def image(container_engine: EngineStatus) -> Iterator[str]:
    """Built of these sources, on the base that the Dockerfile names or its stand-in."""
    held = {name for name in BASES if run("docker", "image", "inspect", name, check=False).returncode == 0}
    if not held:
        _lacking(f"no image {BASES[0]}")
    base = next(name for name in BASES if name in held)
    name = f"pgdrill:test-{uuid.uuid4().hex[:8]}"
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    run("docker", "build", "--build-arg", f"BASE={base}", "-t", name, ROOT, env=env)
    yield name
    run("docker", "image", "rm", name)


class Shop:
    """A folder with a `.env`, where `docker compose` is called."""

    def __init__(self, folder: Path, image: str) -> None:
        self.folder = folder
        plugin = run("docker", "compose", "version", check=False).returncode == 0
        if not plugin and not shutil.which("docker-compose"):
            _lacking("no docker compose")
        for name in ("backups", "reports"):
            (folder / name).mkdir(mode=0o700)
            shutil.chown(folder / name, 1000, 1000)
        settings = f"POSTGRES_PASSWORD={PASSWORD}\nPOSTGRES_IMAGE=postgres:15\nPGDRILL_IMAGE={image}\n"
        (folder / ".env").write_text(settings + "BACKUP_COMPRESS=false\n")
        (folder / "quick.yaml").write_text(QUICK_HEALTH)
        self._words = [*(["docker", "compose"] if plugin else ["docker-compose"]), "--project-name", folder.name]
        self._words += ["-f", str(ROOT / "compose.yaml"), "-f", "quick.yaml", "--project-directory", str(folder)]

    def compose(self, *words: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(*self._words, *words, given=given, check=check, cwd=self.folder)

    def inspect(self, service: str, template: str) -> str:
        (container,) = self.compose("ps", "-q", service).stdout.split()
        return run("docker", "inspect", "-f", template, container).stdout.strip()

    def sql(self, script: str) -> None:
        words = ("psql", "-v", "ON_ERROR_STOP=1", "-h", "/tmp", "-U", "pos_user", "-d", "pos_db_production")  # noqa: S108
        self.compose("exec", "-T", "db", *words, given=script)


@pytest.fixture(scope="module")
def shop(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp(f"shop{uuid.uuid4().hex[:8]}"), image)
    try:
        shop.compose("up", "-d")
        shop.sql(SEED)
        yield shop
    finally:
        shop.compose("down", "--volumes", "--timeout", "5", check=False)


def test_a_backup_by_hand_is_packed_as_asked_and_its_drill_tells_good_from_bad(shop: Shop) -> None:
    shop.compose("run", "--rm", "backup")
    (archive,) = (
        path for path in (shop.folder / "backups").glob("pos_db_production_backup_*.sql*") if "json" not in path.name
    )
    assert archive.suffix == ".sql"  # BACKUP_COMPRESS=false
    assert (archive.stat().st_mode & 0o777, archive.stat().st_uid) == (0o600, 1000)
    shop.compose("run", "--rm", "drill")
    record = json.loads((shop.folder / "reports" / "latest" / "record.json").read_text())
    assert record["verdict"] == "verified"
    assert "1 table with 1,000 rows" in record["summary"]
    assert "en_US.utf8" in archive.read_text()
    # And the other way round: one row is another, and the exit status comes through.
    archive.write_text(archive.read_text().replace("café 77\n", "café 78\n"))
    assert shop.compose("run", "--rm", "drill", check=False).returncode == 1


def test_an_emergency_restore_can_be_taken_back_in_the_next_container(shop: Shop) -> None:
    shop.compose("run", "--rm", "backup")
    shop.sql("INSERT INTO products VALUES (1001, 'after the backup')")
    shop.compose("run", "--rm", "backup", "restore", "latest", "--emergency", "--yes")
    with pytest.raises(AssertionError, match="division by zero"):
        shop.sql("SELECT 1 / (count(*) - 1000) FROM products")
    shop.compose("run", "--rm", "backup", "restore", "--rollback", "--yes")
    shop.sql("SELECT 1 / (count(*) - 1000) FROM products")


def test_the_guides_own_restore_commands_work_on_these_archives(shop: Shop) -> None:
    def restore(archive: Path, database: str) -> None:
        psql = ("psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", "/tmp", "-U", "pos_user", "-d", database)  # noqa: S108
        shop.compose("exec", "-T", "db", *psql, given=archive.read_text())

    shop.compose("exec", "-T", "db", "createdb", "-h", "/tmp", "-U", "pos_user", "pos_db_production_new")  # noqa: S108
    for options, database in (((), "pos_db_production_new"), (("--create",), "postgres")):
        before = set((shop.folder / "backups").glob("*.sql"))
        shop.compose("run", "--rm", "backup", "backup", *options)
        (archive,) = set((shop.folder / "backups").glob("*.sql")) - before
        if options:
            shop.sql("DELETE FROM products")
        restore(archive, database)
    shop.sql("SELECT 1 / count(*) FROM products")
    shop.sql("\\connect pos_db_production_new\nSELECT 1 / count(*) FROM products")


def test_the_clock_is_healthy_and_nothing_runs_as_root(shop: Shop) -> None:
    ends_at = time.monotonic() + 60
    while (
        health := shop.inspect("backup-cron", "{{.State.Health.Status}}")
    ) == "starting" and time.monotonic() < ends_at:
        time.sleep(0.2)
    assert health == "healthy"
    assert "backup: next at" in shop.compose("logs", "--no-color", "backup-cron").stdout
    told = shop.compose(
        "exec", "-T", "backup-cron", "sh", "-c", "id -u; grep -E '^(CapEff|NoNewPrivs)' /proc/1/status"
    ).stdout
    assert told.split() == ["1000", "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    assert shop.compose("exec", "-T", "backup-cron", "touch", "/opt/pgdrill/x", check=False).returncode != 0


def test_the_drill_has_no_network_and_knows_no_password(shop: Shop) -> None:
    words = ("run", "--rm", "--entrypoint", "sh", "drill", "-c", "ls /sys/class/net; env | grep -c POSTGRES_ || true")
    assert shop.compose(*words).stdout.split() == ["lo", "0"]


def test_a_database_without_a_password_is_refused_by_name(shop: Shop, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "POSTGRES_PASSWORD"}
    words = (
        [*shop._words[:2], "-f", str(ROOT / "compose.yaml")]
        if shop._words[0] == "docker"
        else ["docker-compose", "-f", str(ROOT / "compose.yaml")]
    )
    said = run(*words, "--project-directory", tmp_path, "config", check=False, env=env, cwd=tmp_path)
    assert said.returncode != 0
    assert "set it in .env" in said.stderr


def test_each_line_of_the_guides_table_runs_as_a_service(shop: Shop) -> None:
    for left in (shop.folder / "backups").glob("*.sql*"):  # a damaged one among them
        left.unlink()
    copies = shop.folder / "reports" / "copies"
    copies.mkdir(mode=0o700)
    shutil.chown(copies, 1000, 1000)
    for words in (
        ("backup", "--kind", "schema"),
        ("backup", "--kind", "data"),
        ("backup", "-t", "products"),
        ("backup",),
        ("backup", "--all-databases"),
        ("list",),
        ("show", "latest"),
        ("prune", "--dry-run"),
        ("rotate",),
        ("sync", "/data/backups", "/data/reports/copies"),
        ("restore", "latest", "--create-database", "pos_db_restored"),
        ("restore", "latest", "-t", "products", "--to-database", "pos_db_production", "--clean"),
        ("doctor",),
        ("metrics",),
        ("config", "check"),
        ("config", "show"),
    ):
        shop.compose("run", "--rm", "backup", *words)
    shop.sql("\\connect pos_db_restored\nSELECT 1 / count(*) FROM products")
    shop.compose("run", "--rm", "drill")
    for words, status in ((("status",), 0), (("report",), 0), (("checklist", "daily", "--lang", "es"), 3)):
        assert shop.compose("run", "--rm", "backup", *words, check=False).returncode == status
