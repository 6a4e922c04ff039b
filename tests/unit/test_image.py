"""What the container image installs is what the project's lock and its sources say."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path

import backup_lib
from backup_lib.settings import Settings

ROOT = Path(__file__).parents[2]


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return {found[1]: line for line in lines if (found := re.match(r"([a-z0-9.-]+)==", line))}


def test_the_image_gets_the_locked_versions_of_all_that_is_not_for_tests() -> None:
    image, everything = locked("image.lock"), locked("requirements.lock")
    assert image.items() <= everything.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.sub(r"[._]", "-", re.match(r"[\w.-]+", one)[0].lower()) for one in wanted}  # type: ignore[index]
    assert names <= image.keys()
    assert not image.keys() & {"moto", "mypy", "ruff", "aiosmtpd", "hypothesis"}


def test_compose_and_dockerfile_name_the_same_base_and_version() -> None:
    compose, dockerfile = (ROOT / "compose.yaml").read_text(), (ROOT / "Dockerfile").read_text()
    base = re.search(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert base
    assert f"PGDRILL_BASE:-{base[1]}}}" in compose
    assert f"PGDRILL_IMAGE:-pgdrill:{version}}}" in compose
    assert ":latest" not in compose + dockerfile


def test_the_packages_the_image_copies_are_there() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == ["backup_lib", "verification"]
    assert all((ROOT / name).is_dir() and f"!{name}" in kept for name in copied)
    assert Path(backup_lib.__file__).parent == ROOT / "backup_lib"


def test_no_setting_in_the_env_file_of_compose_is_lost_on_the_way() -> None:
    sections = (field.default_factory for field in fields(Settings) if is_dataclass(field.default_factory))
    variables = {field.metadata["env"] for section in sections for field in fields(section)} - {""}
    assert {"BACKUP_RECIPIENTS", "BACKUP_KEEP_DAILY", "NOTIFY_APPRISE"} < variables
    compose = (ROOT / "compose.yaml").read_text()
    passed = {name for name in variables if f"  {name}: ${{{name}:-" in compose}
    assert variables - passed == {"BACKUP_DIR"}, "where archives lie is a volume; all else is passed on"
