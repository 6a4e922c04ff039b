"""What can be configured: one frozen dataclass a section of pgdrill.toml.

A field is the whole of a setting: its key, its type, its default, the variable that sets it too, and the sentence
that `pgdrill init`, `config show` and the reference print. A new section is a new dataclass and a field of `Settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from msgspec import Meta

from backup_lib.setting_types import (
    Secret,
    parse_compression,
    parse_cron_or_never,
    parse_cron_text,
    parse_duration_s,
    parse_expected,
    parse_name,
    parse_number,
    parse_recipients,
    parse_truth,
    parse_zone_text,
)

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Percent = Annotated[int, Meta(ge=1, le=100)]
Kind = Literal["full", "schema", "data"]
Level = Literal["integrity", "restore", "full"]
Expected = str | bool | Decimal


def setting(
    help: str,
    default: Any = MISSING,
    *,
    key: str = "",
    env: str = "",
    lends: str = "",
    parse: Callable[[object], Any] | None = None,
    path: bool = False,
    example: str = "",
) -> Any:
    """A field of a section.

    :param help: one sentence, for people.
    :param default: none: the key must be given.
    :param key: how it is called in the file, where that is not the field's name.
    :param env: the environment variable that goes before the file; `<env>_FILE` may name a file instead.
    :param lends: a variable that it stands for and that is not read here: what it names is read by who needs it.
    :param parse: from what the file or variable says to the value; raises ValueError with what is wanted.
    :param example: as it stands in the file, for what has no default that is one.
    :param path: a relative path is meant from the folder of the file it stands in.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "key": key,
            "env": env,
            "lends": lends or env,
            "parse": parse,
            "path": path,
            "example": example,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """Where archives go, and how they are packed."""

    dir: str = setting("Where archives lie: a folder or a URL.", "backups", env="BACKUP_DIR", path=True)
    compress: Literal["gzip", "zstd", "none"] | None = setting(
        "gzip, zstd or none; true means gzip, false none. Default gzip, and none for tar.",
        None,
        env="BACKUP_COMPRESS",
        parse=parse_compression,
        example='"zstd"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionSettings:
    """Who can open archives; a passphrase or a secret key stands in a file of its own, never here."""

    encrypt: bool | None = setting(
        "Whether to encrypt; default only if there are recipients.",
        None,
        env="BACKUP_ENCRYPT",
        parse=parse_truth,
        example="true",
    )
    recipients: tuple[str, ...] = setting(
        "Public keys, age1… or ssh-…, to encrypt for.",
        (),
        env="BACKUP_RECIPIENTS",
        parse=parse_recipients,
        example='["age1…"]',
    )
    recipients_file: str | None = setting(
        "A file with one a line. Variable: BACKUP_RECIPIENTS_FILE.",
        None,
        lends="BACKUP_RECIPIENTS_FILE",
        path=True,
        example='"recipients.txt"',
    )
    password_file: str | None = setting(
        "A file with the passphrase that encrypts where there are no recipients, and opens archives. "
        "Variable: BACKUP_ENCRYPT_PASSWORD_FILE.",
        None,
        lends="BACKUP_ENCRYPT_PASSWORD_FILE",
        path=True,
        example='"/run/secrets/backup_password"',
    )
    identity_file: str | None = setting(
        "A file with the secret key that opens archives for recipients.",
        None,
        env="BACKUP_IDENTITY_FILE",
        path=True,
        example='"/mnt/usb/key.txt"',
    )

    def __post_init__(self) -> None:
        if self.encrypt is False and (self.recipients or self.recipients_file):
            raise ValueError("encrypt is false, and there are recipients: keep one")
        if any("SECRET" in key.upper() for key in self.recipients):  # said without it
            raise ValueError("recipients holds a secret key: write its public key, age1…; age-keygen -y prints it")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """What `pgdrill prune` keeps of each database and kind, and when `pgdrill rotate` packs."""

    keep_days: Positive = setting("Keep those of the days before the newest.", 30, env="BACKUP_RETENTION_DAYS")
    keep_max: Positive | None = setting("Of these at most so many.", None, env="BACKUP_MAX_FILES", example="60")
    keep_daily: Count = setting("And the newest of each of so many days.", 0, env="BACKUP_KEEP_DAILY")
    keep_weekly: Count = setting("And the newest of each of so many weeks.", 0, env="BACKUP_KEEP_WEEKLY")
    keep_monthly: Count = setting("And the newest of each of so many months.", 0, env="BACKUP_KEEP_MONTHLY")
    keep_yearly: Count = setting("And the newest of each of so many years.", 0, env="BACKUP_KEEP_YEARLY")
    quarantine_days: Positive = setting(
        "How long archives that failed are kept aside.", 30, env="BACKUP_QUARANTINE_DAYS"
    )
    rotate_days: Positive = setting(
        "How old the youngest archive of a month must be for its bundle.", 30, env="BACKUP_ROTATE_DAYS"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSettings:
    """Configuration files, which `pgdrill backup --kind config` packs."""

    paths: tuple[str, ...] = setting(
        "Files, folders and globs; ** goes down.", (), path=True, example='["docker-compose.yml", "conf/**"]'
    )
    exclude: tuple[str, ...] = setting("Globs of paths that are left out.", (), example='["*.log"]')
    name: str = setting("What their archives are called.", "files")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """How archives are drilled, unless the command line or a database says otherwise."""

    sandbox: Literal["auto", "container", "embedded"] = setting("The throwaway server.", "auto")
    image: str | None = setting(
        "Container image; default postgres:<major of the archive>.", None, example='"postgres:17"'
    )
    level: Level = setting("How far to go: integrity, restore or full.", "full")
    jobs: Positive | None = setting("Connections that restore; default one a processor.", None, example="4")
    rto_s: float | None = setting(
        "Recovery time objective, such as 15m; missed, the drill fails.",
        None,
        key="rto",
        parse=parse_duration_s,
        example='"15m"',
    )
    rpo_s: float | None = setting(
        "Recovery point objective, such as 26h; missed, the drill fails.",
        None,
        key="rpo",
        parse=parse_duration_s,
        example='"26h"',
    )
    check_timeout_s: float = setting(
        "How long one SQL check may take.", 60.0, key="check_timeout", parse=parse_duration_s, example='"60s"'
    )
    reports: str = setting("Where the records of drills go.", "reports", path=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """What `pgdrill schedule` runs, and when."""

    backup: str = setting(
        "When to back up, a cron expression.", "0 2 * * *", env="BACKUP_SCHEDULE", parse=parse_cron_text
    )
    drill: str | None = setting(
        'When to drill the newest archive, a cron expression, or "never".',
        "0 5 * * 1",
        env="DRILL_SCHEDULE",
        parse=parse_cron_or_never,
    )
    status: str | None = setting(
        'When to look at it all and tell people of [notify] what is wrong, a cron expression, or "never".',
        None,
        env="STATUS_SCHEDULE",
        parse=parse_cron_or_never,
        example='"0 9 * * *"',
    )
    config: str | None = setting(
        'When to back up the files of [files], a cron expression, or "never".',
        None,
        env="CONFIG_SCHEDULE",
        parse=parse_cron_or_never,
        example='"30 2 * * 0"',
    )
    rotate: str | None = setting(
        'When to run `pgdrill rotate` in each place, a cron expression, or "never".',
        None,
        env="ROTATE_SCHEDULE",
        parse=parse_cron_or_never,
        example='"0 4 1 * *"',
    )
    prune: bool = setting("Whether each good backup is followed by `pgdrill prune`.", default=False, env="BACKUP_PRUNE")
    tz: str = setting("The time zone of all of them, such as America/Bogota.", "UTC", env="TZ", parse=parse_zone_text)
    state: str = setting("The file that says how the last runs ended.", "reports/schedule.json", path=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """What `pgdrill status` takes for a problem."""

    max_age_s: float | None = setting(
        "How old the newest archive may be; default the longest time between two scheduled backups, and grace.",
        None,
        key="max_age",
        parse=parse_duration_s,
        example='"26h"',
    )
    max_verified_age_s: float | None = setting(
        "How old the newest verified one may be; default max_age and the longest time between two drills.",
        None,
        key="max_verified_age",
        parse=parse_duration_s,
        example='"8d"',
    )
    grace_s: float = setting(
        "How long after its time a scheduled run must have ended.",
        6 * 3600.0,
        key="grace",
        parse=parse_duration_s,
        example='"6h"',
    )
    history: Positive = setting("With fewer earlier archives than this, size and rows are not judged.", 5)
    size_drop: Percent = setting("By how many percent of its median the size may fall.", 50)
    rows_drop: Percent = setting("By how many percent of its median the number of rows may fall.", 30)
    may_empty: tuple[str, ...] = setting(
        "Tables that may become empty: names or globs.", (), example='["public.sessions", "queue.*"]'
    )
    room: Positive = setting("For how many more backups of all kinds there must be room.", 2)
    metrics: str | None = setting(
        "A file of metrics for Prometheus, written anew after each backup and drill.",
        None,
        path=True,
        example='"/var/lib/prometheus/node-exporter/pgdrill.prom"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Who is told how runs ended; `pgdrill notify test` tries it."""

    on: tuple[Literal["failure", "success", "recovery", "always"], ...] = setting(
        "When webhook, mail and apprise are told: failure, success, recovery (the first good run after a bad one), "
        "always.",
        ("failure",),
        env="NOTIFY_ON",
    )
    webhook: Secret | None = setting(
        "Gets a POST of JSON; or webhook_env, webhook_file.",
        None,
        env="NOTIFY_WEBHOOK",
        example='"https://hooks.example.org/pgdrill"',
    )
    ping_backup: Secret | None = setting(
        "A check as of healthchecks.io, pinged at the start and end of each backup: it tells when none runs. "
        "Or ping_backup_env, ping_backup_file.",
        None,
        env="NOTIFY_PING_BACKUP",
        example='"https://hc-ping.com/UUID"',
    )
    ping_drill: Secret | None = setting(
        "The same for drills.", None, env="NOTIFY_PING_DRILL", example='"https://hc-ping.com/UUID"'
    )
    ping_config: Secret | None = setting(
        "The same for backups of configuration files.",
        None,
        env="NOTIFY_PING_CONFIG",
        example='"https://hc-ping.com/UUID"',
    )
    ping_prune: Secret | None = setting(
        "The same for prune.", None, env="NOTIFY_PING_PRUNE", example='"https://hc-ping.com/UUID"'
    )
    ping_rotate: Secret | None = setting(
        "The same for rotate.", None, env="NOTIFY_PING_ROTATE", example='"https://hc-ping.com/UUID"'
    )
    ping_sync: Secret | None = setting(
        "The same for sync.", None, env="NOTIFY_PING_SYNC", example='"https://hc-ping.com/UUID"'
    )
    mail_to: tuple[str, ...] = setting(
        "Who gets mail.", (), env="NOTIFY_MAIL_TO", example='["ana@example.org", "ops@example.org"]'
    )
    mail_from: str | None = setting(
        "Its sender; default pgdrill@<this host>.", None, env="NOTIFY_MAIL_FROM", example='"backups@example.org"'
    )
    smtp_host: str | None = setting(
        "The server that takes mail.", None, env="NOTIFY_SMTP_HOST", example='"smtp.example.org"'
    )
    smtp_port: Positive | None = setting(
        "Its port; default 587 with starttls, 465 with tls, 25 with none.", None, env="NOTIFY_SMTP_PORT", example="587"
    )
    smtp_security: Literal["starttls", "tls", "none"] = setting(
        "How the way to it is encrypted: starttls, tls or none.", "starttls", env="NOTIFY_SMTP_SECURITY"
    )
    smtp_user: str | None = setting(
        "Who logs in. The password is in NOTIFY_SMTP_PASSWORD, or the file that NOTIFY_SMTP_PASSWORD_FILE names.",
        None,
        env="NOTIFY_SMTP_USER",
        example='"backups"',
    )
    apprise: Secret | None = setting(
        "URLs for the library apprise, blanks between them; or apprise_env, apprise_file.",
        None,
        env="NOTIFY_APPRISE",
        example='"tgram://TOKEN/CHAT"',
    )
    timeout_s: float = setting(
        "How long a message is tried to be sent.",
        30.0,
        key="timeout",
        env="NOTIFY_TIMEOUT",
        parse=parse_duration_s,
        example='"30s"',
    )
    state: str = setting("The folder that says how the last runs ended.", "reports/runs", path=True)

    def __post_init__(self) -> None:
        if self.mail_to and not self.smtp_host:
            raise ValueError("mail_to is given without smtp_host: say which server takes the mail")
        if wrong := [one for one in (*self.mail_to, self.mail_from or "a@b") if not _is_address(one)]:
            raise ValueError(f"{wrong[0]!r} is no mail address")
        if self.smtp_user and self.smtp_security == "none" and self.smtp_host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("smtp_user with smtp_security none: the password could be read on its way")


def _is_address(text: str) -> bool:
    name, _, site = text.rpartition("@")
    return bool(name and site) and text.isprintable() and not set(text) & set(" ,;<>")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """One database, by a name of your own."""

    url: Secret | None = setting(
        "postgresql://USER@HOST/DATABASE; or url_env, a variable's name, or url_file, a file that holds it.",
        None,
        example='"postgresql://backup@db/shop"',
    )
    dbname: str | None = setting(
        "Its name on the server, where that is neither in the URL nor the name here.",
        None,
        example='"pos_db_production"',
    )
    kinds: tuple[Kind, ...] = setting("What `pgdrill backup` makes of it: full, schema, data.", ("full",))
    to: tuple[str, ...] = setting(
        "Where its archives go; default the folder of [backup].",
        (),
        path=True,
        example='["backups", "/mnt/usb/backups"]',
    )
    image: str | None = setting("Container image of its drills.", None, example='"postgres:17"')
    rto_s: float | None = setting(
        "Its recovery time objective, such as 15m.", None, key="rto", parse=parse_duration_s, example='"15m"'
    )
    rpo_s: float | None = setting(
        "Its recovery point objective, such as 26h.", None, key="rpo", parse=parse_duration_s, example='"26h"'
    )

    def __post_init__(self) -> None:
        if not self.kinds:
            raise ValueError("kinds is empty: name at least one of full, schema, data")
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds names one twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlCheck:
    """A query whose answer in the restored database must be as expected."""

    name: str = setting("Names the check in tests and reports.", parse=parse_name)
    sql: str = setting("One query, without parameters.")
    database: str | None = setting("Only for archives of this database; default for all.", None)
    equals: Expected | None = setting("Its only value is this number, text or truth.", None, parse=parse_expected)
    at_least: Decimal | None = setting("Its only value is a number not below this.", None, parse=parse_number)
    at_most: Decimal | None = setting("Its only value is a number not above this.", None, parse=parse_number)
    rows: Count | None = setting("It gives this many rows; 0 for a query that finds what must not be.", None)

    def __post_init__(self) -> None:
        bounded = self.at_least is not None or self.at_most is not None
        if [self.equals is not None, self.rows is not None, bounded].count(True) != 1:
            raise ValueError("expects nothing or too much: give equals, or rows, or at_least and at_most")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("at_least is above at_most")
        if not self.sql.strip().rstrip(";"):
            raise ValueError("sql is empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A fault that somebody takes upon himself until a day."""

    check: str = setting("The check's name, such as schema or row-count, or sql:NAME.")
    object: str = setting('Which of its objects: a name, or a glob such as "INDEX old.*".')
    reason: str = setting("Why it is no fault for now.")
    owner: str = setting("Who answers for it.")
    expires: date = setting("The last day on which it holds, such as 2027-01-31.")
    database: str | None = setting("Only for archives of this database; default for all.", None)

    def __post_init__(self) -> None:
        if empty := [name for name in ("object", "reason", "owner") if not getattr(self, name).strip()]:
            raise ValueError(f"{' and '.join(empty)} must not be empty")

    def matches(self, check: str, subject: str) -> bool:
        return check == self.check and (subject == self.object or fnmatchcase(subject, self.object))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it; what is not set is at its default."""

    backup: BackupSettings = field(default_factory=BackupSettings)
    encryption: EncryptionSettings = field(default_factory=EncryptionSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    files: FilesSettings = field(default_factory=FilesSettings)
    verify: VerifySettings = field(default_factory=VerifySettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    status: StatusSettings = field(default_factory=StatusSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    databases: Mapping[str, DatabaseSettings] = field(default_factory=dict)
    checks: tuple[SqlCheck, ...] = ()
    suppressions: tuple[Suppression, ...] = ()

    def __post_init__(self) -> None:
        names = [check.name for check in self.checks]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two checks are called {min(twice)}: their findings could not be told apart")
        if self.schedule.config and not self.files.paths:
            raise ValueError("schedule.config says when, and files.paths names no file to back up")
