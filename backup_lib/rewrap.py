"""Gives archives that exist another key, without the database: an `openssl enc` file, an age file, or one in plain.

What is inside goes from one cipher into the other as a stream, so that nothing lies on a disk in plain. The new file is
made in a hidden place beside the old one, read back there to its end and compared; only then does it get its name, by
a rename. Until that moment the old archive is what it was, and after it the new one is whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from backup_lib import manifest
from backup_lib.archive import HEAD_BYTES, detect, encrypted_name, encryption_of
from backup_lib.catalog import Found
from backup_lib.chunks import Digest, peek
from backup_lib.codec import Wrapping, open_packed
from backup_lib.encryption import Keys, Lock, Opened, Seal, decrypt
from backup_lib.errors import DamagedArchiveError, StoreError, UsageError, WrongKeyError
from backup_lib.expiry import REPLACED
from backup_lib.ledger import Ledger, Origin, digest_stored, read_ledger, write_ledger
from backup_lib.manifest import Encryption, Manifest, parse_manifest, render_manifest
from backup_lib.staging import (
    STAGE,
    abandon,
    clear,
    finish_interrupted,
    place_lock,
    put_in_place,
    stage_lock,
    take_away,
)
from backup_lib.store import Store

_RESERVE_BYTES = 16 << 20
Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrapping:
    """What is to be done with one archive, or why nothing is."""

    found: Found
    name: str  # the new one, which may be that of the old
    was: str  # how it is encrypted now, for people
    authenticated: bool
    reason: str = ""  # why it stays as it is; nothing: it is to get the new key


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrapped:
    """What was done: the new archive lies in the place, proved."""

    plan: Rewrapping
    size_bytes: int
    sha256: str  # as stored
    inner_sha256: str  # of what is encrypted: the same before and after
    standing_carried: bool  # whether a drill of the old file speaks for the new one


def plan_rewrap(found: Found, lock: Lock, keys: Keys, new_keys: Keys) -> Rewrapping:
    """Look at one archive, and try the keys on its head.

    :param keys: that open it as it is; `new_keys` open what `lock` encrypts, and so prove it.
    :raises WrongKeyError: when `keys` do not open it, or `new_keys` could not open the new one.
    :raises DamagedArchiveError: when its head is damaged, or it is no archive.
    :raises UsageError: when it is nothing that can be encrypted as one file.
    """
    if found.is_folder:
        raise UsageError(
            f"{found.name} is a folder: an archive of many files is not encrypted", hint="back up in the format custom"
        )
    if found.bundle is not None:
        raise StoreError(
            f"{found.name} lies in the bundle {found.bundle}, which is never changed: it keeps its key",
            hint=f"take it out, rewrap, rotate, and delete the old bundle: tar -xf {found.store.location}",
        )
    if lock.recipients and not new_keys.identity_files:
        raise WrongKeyError(
            "no identity is given, so it could not be proved that anybody can open the new archive",
            hint="give a recipient's secret key this once, beside the old one: --identity FILE",
        )
    head, chunks = peek(found.store.open_read(found.name), HEAD_BYTES)
    program = encryption_of(head)
    name = encrypted_name(found.name, was_encrypted=program is not None)
    if program == "age" and (reason := _has_key(found, lock)):
        return Rewrapping(found=found, name=name, was="age", authenticated=True, reason=reason)
    opened = _open(head, chunks, keys, found)
    return Rewrapping(found=found, name=name, was=opened.how, authenticated=opened.authenticated)


def rewrap(
    plan: Rewrapping,
    lock: Lock,
    keys: Keys,
    new_keys: Keys,
    *,
    keep: bool = True,
    progress: Progress | None = None,
) -> Rewrapped:
    """Encrypt it anew, prove the result, and put it in its place. On any failure the old archive is what it was.

    :param keep: the old one stays, in the folder `replaced`; else it is deleted.
    :raises WrongKeyError: when `keys` do not open it, or `new_keys` do not open what was written.
    :raises DamagedArchiveError: when its bytes are not what its manifest promises, or it is cut short or altered.
    :raises DamagedManifestError: when its manifest cannot be read.
    :raises StoreError, LockedError: when the place cannot be written, or somebody else writes there.
    """
    found, store = plan.found, plan.found.store
    stage = store.under(STAGE)
    finish_interrupted(store)
    with ExitStack() as cleanup:
        cleanup.enter_context(store.lock(place_lock(found.name)))
        cleanup.callback(take_away, stage, found.name)
        cleanup.enter_context(stage.lock(stage_lock(found.name)))
        clear(stage, plan.name)
        promised = _promised(found)
        if keep:
            _require_free_aside(plan, store)
        made = _made_before(plan, keys, new_keys, lock)
        if made is None:
            _require_room(plan, store)
            cleanup.callback(abandon, stage, plan.name)
            made = _write(plan, stage, lock, keys, new_keys, promised, progress or (lambda _: None))
            _prove(plan, stage, made, new_keys)
        renewed = _renewed(plan, made, promised) if promised else None
        carried = _stage_sidecars(plan, stage, made, renewed)
        put_in_place(store, found.name, plan.name, promise=_of_both(plan, made, promised, renewed), keep=keep)
    return Rewrapped(
        plan=plan,
        size_bytes=made.new.size_bytes,
        sha256=made.new.sha256,
        inner_sha256=made.encryption.plain_sha256,
        standing_carried=carried,
    )


# Looking


def _has_key(found: Found, lock: Lock) -> str:
    """Why an age file needs no new key; nothing when it does, or that cannot be told."""
    if lock.recipients:
        facts = _promised(found)
        encryption = facts.archive.encryption if facts and facts.archive else None
        same = encryption is not None and set(encryption.recipients) == set(lock.recipients)
        return "it is encrypted for these recipients already" if same else ""
    try:
        decrypt(*peek(found.store.open_read(found.name), HEAD_BYTES), Keys(passphrase=lock.passphrase), name=found.name)
    except WrongKeyError:
        return ""
    return "this passphrase opens it already"


def _promised(found: Found) -> Manifest | None:
    if not found.store.exists(found.manifest_name):
        return None
    return parse_manifest(b"".join(found.store.open_read(found.manifest_name)), name=found.manifest_name)


def _open(head: bytes, chunks: Iterator[bytes], keys: Keys, found: Found) -> Opened:
    if encryption_of(head) is None:
        if found.kind != "config":
            detect(head, name=found.name)
        return Opened(how="not encrypted", authenticated=True, chunks=chunks)
    try:
        opened = decrypt(head, chunks, keys, name=found.name)
        _, rest = peek(opened.chunks, 1)  # a wrong identity shows when the first byte is asked for
    except WrongKeyError as exc:
        raise _key_or_damage(exc, found) from exc
    return replace(opened, chunks=rest)


def _key_or_damage(exc: WrongKeyError, found: Found) -> WrongKeyError | DamagedArchiveError:
    """Where no key fits and the bytes are not those written, it is the archive that is at fault."""
    promised = _promised(found)
    if promised is None or promised.archive is None:
        return exc
    sha256 = digest_stored(found.store, found.name)[1]
    if sha256 == promised.archive.of(sha256).sha256:
        return exc
    return _altered(found)


def _altered(found: Found) -> DamagedArchiveError:
    return DamagedArchiveError(
        f"{found.name} is damaged: its bytes are not those that its manifest promises",
        hint="it is left as it was; take another copy of it: pgdrill sync",
    )


# Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    old: Digest
    new: Digest
    encryption: Encryption


def _require_free_aside(plan: Rewrapping, store: Store) -> None:
    """Where the old archive is to be kept lies no other one."""
    aside, name = store.under(REPLACED), plan.found.name
    if aside.exists(name) and digest_stored(aside, name) != digest_stored(store, name):
        raise StoreError(
            f"{aside.location}/{name} is there, from an earlier change of the key",
            hint="the old archive would be kept there: move that one away, or --remove-old",
        )


def _require_room(plan: Rewrapping, store: Store) -> None:
    free = store.free_bytes()
    if free is not None and free < plan.found.size_bytes + _RESERVE_BYTES:
        raise StoreError(
            f"{store.location} has {free:,} bytes left, and {plan.name} needs {plan.found.size_bytes:,}",
            hint="free some space there (pgdrill prune --dry-run)",
        )


def _made_before(plan: Rewrapping, keys: Keys, new_keys: Keys, lock: Lock) -> _Made | None:
    """What an interrupted run has put in place beside the old archive, proved again.

    :raises StoreError: when what has the new name is something else.
    """
    found, store = plan.found, plan.found.store
    if plan.name == found.name or not store.exists(plan.name):
        return None
    old, new = Digest(), Digest()
    inner, wrapping = Digest(), Wrapping()
    head, chunks = peek(old.passing(store.open_read(found.name)), HEAD_BYTES)
    deque(inner.passing(_open(head, chunks, keys, found).chunks), maxlen=0)
    try:
        deque(
            open_packed(store.open_read(plan.name), name=plan.name, keys=new_keys, stored=new, wrapping=wrapping),
            maxlen=0,
        )
    except (WrongKeyError, DamagedArchiveError):
        wrapping = Wrapping()
    if wrapping.plain.sha256 != inner.sha256:
        raise StoreError(
            f"{store.location}/{plan.name} exists already, and is another archive", hint="move one of the two away"
        )
    encryption = Encryption(
        algorithm="age",
        key="recipients" if lock.recipients else "passphrase",
        recipients=lock.recipients,
        key_proved=True,
        plain_size_bytes=inner.size_bytes,
        plain_sha256=inner.sha256,
    )
    return _Made(old=old, new=new, encryption=encryption)


def _write(
    plan: Rewrapping,
    stage: Store,
    lock: Lock,
    keys: Keys,
    new_keys: Keys,
    promised: Manifest | None,
    progress: Progress,
) -> _Made:
    old, new = Digest(), Digest()
    found = plan.found
    head, chunks = peek(old.passing(found.store.open_read(found.name)), HEAD_BYTES)
    opened = _open(head, chunks, keys, found)
    with stage.create(plan.name) as sink:

        def store(data: bytes) -> None:
            new.update(data)
            sink.write(data)

        with Seal(store, lock, new_keys) as seal:
            for chunk in opened.chunks:
                seal.write(chunk)
                progress(old.size_bytes)
            encryption = seal.finish()
        if encryption is None:
            raise UsageError("no key to encrypt with", hint="--recipient, or BACKUP_ENCRYPT_PASSWORD")
        facts = promised.archive if promised else None
        if facts is not None and (facts := facts.of(old.sha256)).sha256 != old.sha256:
            before = facts.encryption
            if before is None or before.plain_sha256 != encryption.plain_sha256:
                raise _altered(found)
    return _Made(old=old, new=new, encryption=encryption)


def _prove(plan: Rewrapping, stage: Store, made: _Made, new_keys: Keys) -> None:
    """Read the new file back from where it lies, open it, and unpack what is inside to its end."""
    stored, wrapping = Digest(), Wrapping()
    try:
        text = open_packed(
            stage.open_read(plan.name), name=plan.found.name, keys=new_keys, stored=stored, wrapping=wrapping
        )
        deque(text, maxlen=0)
    except DamagedArchiveError as exc:
        if digest_stored(stage, plan.name)[1] == made.new.sha256:
            raise DamagedArchiveError(f"inside its encryption, {exc.message}", hint="it is left as it was") from exc
    if stored.sha256 != made.new.sha256 or wrapping.plain.sha256 != made.encryption.plain_sha256:
        raise StoreError(
            f"{stage.location} gives back other bytes than it was given",
            hint="do not trust that place: check its disk or its provider; the archive is left as it was",
        )


def _renewed(plan: Rewrapping, made: _Made, promised: Manifest) -> Manifest:
    """The same promise, of the new file."""
    if promised.archive is None:
        return promised
    facts = replace(
        promised.archive,
        name=plan.name,
        size_bytes=made.new.size_bytes,
        sha256=made.new.sha256,
        encryption=replace(made.encryption, key_proved=True),
        becoming=None,
    )
    return replace(promised, archive=facts)


def _of_both(plan: Rewrapping, made: _Made, promised: Manifest | None, renewed: Manifest | None) -> Manifest | None:
    """What is true of the old file and of the new one, where they have one name."""
    if promised is None or renewed is None or promised.archive is None or plan.name != plan.found.name:
        return renewed
    facts = replace(promised.archive.of(made.old.sha256), becoming=renewed.archive)
    return replace(promised, archive=facts)


def _stage_sidecars(plan: Rewrapping, stage: Store, made: _Made, renewed: Manifest | None) -> bool:
    """What lies beside the new file: the same promise of what it holds, and what drills proved of that."""
    if renewed is not None:
        with stage.create(plan.name + manifest.SUFFIX) as sink:
            sink.write(render_manifest(renewed))
    store = plan.found.store
    known = read_ledger(store, plan.found.name)
    carried = tuple(
        replace(entry, sha256=made.new.sha256, size_bytes=made.new.size_bytes, rewrapped_from=entry.sha256)
        for entry in known.entries
        if entry.sha256 == made.old.sha256  # of other bytes, a drill says nothing of these
    )
    later = read_ledger(store, plan.name).entries if plan.name != plan.found.name else ()
    entries = (*carried, *(entry for entry in later if entry.drill_id not in {e.drill_id for e in carried}))
    origin = Origin(sha256=made.new.sha256, made_from=(*known.origins(made.old.sha256), made.old.sha256))
    write_ledger(stage, plan.name, Ledger(entries=entries, quarantined_at=known.quarantined_at, origin=origin))
    return any(entry.standing == "verified" for entry in carried)
