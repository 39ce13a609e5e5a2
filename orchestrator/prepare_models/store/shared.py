"""A store that many machines share: engines under a URL, each once, found by its build key.

    engines/<build key>.json   the entry: an in-toto statement of provenance in a DSSE envelope, signed or not
    objects/<sha256>           what the entry names: the engine, the record of its build, a calibration cache

An object never changes, and the entry comes last: before that, nobody sees an upload that is under way or was given up.
Two machines that upload the same engine at once write the same objects, and either entry is right.

Nothing here is believed: objects are compared with the digests of their entry, the entry with the key that was asked
for, and ``signing.origins`` decides whether an engine may be used.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import NamedTuple

from prepare_models_entrypoint.contract import companions, provenance, schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.contract.identity import build_key
from prepare_models_entrypoint.contract.report import ModelReport, Origin
from prepare_models_entrypoint.contract.report import read as read_report
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value
from prepare_models_entrypoint.contract.workspace import work_dir

from ..errors import SharedStoreError, UsageError
from ..signing import envelopes, statements, trust
from ..signing.envelopes import RefusedError
from ..signing.origins import untrusted
from ..support import paths
from . import CALIBRATION, PLAN
from .local import RECORD, Entry, Store
from .objects import open_objects

ENGINES, OBJECTS = "engines", "objects"
_PLAN = companions.PLAN  # its name in a statement
_SIGN = "have it signed where it was built, by prepare-models store push URL --sign KEY.pem or worker --sign KEY.pem"
_LARGEST = {RECORD: schema.LARGEST_DOCUMENT, CALIBRATION: schema.LARGEST_DOCUMENT}


class Offer(Value):
    """An engine in the shared store, as its entry has it.

    key: build key. model: name at its build. files: sha256 by name. keyids: of the keys that the entry names.
    signed_by: id of the trusted key whose signature fits, None without. refusal: why the signature does not count.
    problem: why the entry can't be used at all.
    """

    key: str
    model: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    keyids: tuple[str, ...] = ()
    signed_by: str | None = None
    refusal: str = ""
    hint: str = ""
    problem: str | None = None

    def __str__(self) -> str:
        return f"engine {self.key[:16]}" + (f" ({self.model})" if self.model else "")


class Kept(NamedTuple):
    """An engine in the shared store. bytes: of its objects. put_at: when its entry was written, in epoch seconds."""

    offer: Offer
    bytes: int
    put_at: float


class Collected(NamedTuple):
    """What is gone: engines by their keys, objects by their names. bytes: of the objects."""

    engines: list[str]
    objects: list[str]
    bytes: int


class SharedStore:
    """Engines under a URL. Safe in several threads, and beside any number of other machines.

    url: of fsspec, such as ``s3://bucket/prefix``; ``https://`` can only be read. bytes_per_s: how fast engines are
    pulled at most, all threads together; None for no limit.
    """

    def __init__(self, url: str, *, bytes_per_s: float | None = None) -> None:
        self.url = Source.of(url).public
        self._objects = open_objects(url)
        self._limit = _Limit(bytes_per_s)

    def refuse_read_only(self) -> None:
        """Raise UsageError where nothing can be put there."""
        if self._objects.read_only:
            raise UsageError(f"{self.url} can only be read", hint="give the store's own URL, such as s3://...")

    def keys(self) -> set[str]:
        """Return the build keys of all entries.

        Raises:
            SharedStoreError: the store can't be reached. UsageError: it can't be listed.
        """
        return _keys(each.name for each in self._objects.listed(ENGINES))

    def offers(self, keys: Iterable[str]) -> dict[str, Offer]:
        """Return what the entries of these build keys say, by key, for those that have one.

        Raises:
            SharedStoreError: the store can't be reached.
        """
        found = self._objects.read(map(_entry, dict.fromkeys(keys)))
        keys_here = trust.load(paths.keys_file()) if found else trust.KeyList()
        return {key: _offer(key, data, keys_here) for name, data in found.items() for key in _keys([name])}

    def pull(
        self,
        key: str,
        store: Store,
        *,
        locked: Mapping[str, str] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Entry | None:
        """Take an engine into the local store, in whose turn for its build key this is called; None if there is none.

        ``locked``: sha256 of engines by build key that need no signature; another one under such a key is refused.
        ``stopped``: asked while bytes arrive; True ends with InterruptedError.

        Raises:
            SharedStoreError: it is not what its entry says, no key that is trusted now signed it, or the store can't be
                reached. Nothing came into the local store then.
        """
        offer = self.offers([key]).get(key)
        if offer is None:
            return None
        if offer.problem is not None:
            raise self._damaged(offer, offer.problem)
        with work_dir(paths.cache_dir()) as folder:
            record = self._record(offer, folder / RECORD, stopped)
            why = untrusted(record, locked=locked)
            if why is not None:
                message = f"{offer}: {why}" + (f": {offer.refusal}" if offer.refusal else "")
                raise SharedStoreError(SharedStoreError.UNTRUSTED, message, hint=offer.hint)
            files = {PLAN: folder / PLAN}
            self._take(offer, _PLAN, files[PLAN], record["engine"]["bytes"] if record["engine"] else 0, stopped)
            if CALIBRATION in offer.files:
                files[CALIBRATION] = folder / CALIBRATION
                self._take(offer, CALIBRATION, files[CALIBRATION], _LARGEST[CALIBRATION], stopped)
            try:
                return store.put(record, files)
            except ValueError as error:
                raise self._damaged(offer, str(error)) from None

    def push(self, entry: Entry, signer: envelopes.Signer | None = None, *, replace: bool = False) -> bool:
        """Put an engine of the local store there, and return whether that was needed.

        One that is there and whole stays, unless ``replace``, or this signer has not signed it. ``signer``: key that
        signs the statement of where it comes from; None leaves it unsigned.

        Raises:
            SharedStoreError: the store can't be reached, or the engine is not what its record says, or is from
                elsewhere and not trusted.
            UsageError: the store can only be read.
        """
        self.refuse_read_only()
        why = untrusted(entry.record)
        if why is not None:
            raise SharedStoreError(SharedStoreError.UNTRUSTED, f"{entry.record['name']}: {why}")
        record = json.dumps({**entry.record, "origin": None}).encode("utf-8")
        digests = {name: sha256_file(file) for name, file in entry.files.items()}
        engine = entry.record["engine"]
        if engine is None or digests[PLAN] != engine["sha256"]:
            raise SharedStoreError(
                SharedStoreError.DAMAGED, f"{entry.record['name']}: the engine has changed since it was built"
            )
        there = None if replace else self.offers([entry.key]).get(entry.key)
        if there is not None and there.problem is None and (signer is None or signer.public_key.keyid in there.keyids):
            return False
        contents: dict[str, bytes | Path] = {digests[name]: file for name, file in entry.files.items()}
        others = {name: digest for name, digest in digests.items() if name != PLAN}
        others[RECORD] = hashlib.sha256(record).hexdigest()
        for digest, content in {**contents, others[RECORD]: record}.items():
            self._objects.write(_object(digest), content)
        payload = provenance.statement(entry.record, _PLAN, others).encode("utf-8")
        wrapped = envelopes.unsigned(payload, envelopes.STATEMENT)
        if signer is not None:
            wrapped = envelopes.seal(payload, envelopes.STATEMENT, signer)
        self._objects.write(_entry(entry.key), wrapped)
        return True

    def listed(self) -> list[Kept]:
        """Return all engines, what was put there last first.

        Raises:
            SharedStoreError: the store can't be reached. UsageError: it can't be listed.
        """
        sizes = {each.name: each.bytes for each in self._objects.listed(OBJECTS)}
        times = {key: each.changed_at for each in self._objects.listed(ENGINES) for key in _keys([each.name])}
        found = [
            Kept(offer, sum(sizes.get(_object(each), 0) for each in offer.files.values()), times[key])
            for key, offer in self.offers(times).items()
        ]
        return sorted(found, key=lambda each: each.put_at, reverse=True)

    def collect(self, *, unused_s: float | None, margin_s: float, dry_run: bool) -> Collected:
        """Remove old engines, and objects that no entry names; return what is gone, or would go (``dry_run``).

        ``unused_s``: engines go that were put there longer ago; None keeps all. What was written within ``margin_s``,
        which is longer than any upload takes, stays: its entry comes last.

        Raises:
            SharedStoreError: the store can't be reached, or an entry doesn't say which objects it needs.
            UsageError: it can't be listed, or only be read.
        """
        self.refuse_read_only()
        now = time.time()
        files = [*self._objects.listed(OBJECTS), *self._objects.listed(ENGINES)]  # first: what comes later is not in it
        engines = self.listed()
        for each in engines:
            if each.offer.problem is not None:
                raise SharedStoreError(
                    SharedStoreError.DAMAGED,
                    f"{each.offer} in {self.url}: {each.offer.problem}, so its objects are unknown",
                    hint=f"remove {_entry(each.offer.key)} there, or use the version that wrote it, then run gc again",
                )
        limit = float("inf") if unused_s is None else max(unused_s, margin_s)
        old = [each for each in engines if now - each.put_at > limit]
        named = {_object(digest) for each in engines if each not in old for digest in each.offer.files.values()}
        named |= {_entry(each.offer.key) for each in engines}
        loose = [each for each in files if each.name not in named and now - each.changed_at > margin_s]
        if not dry_run:
            self._objects.remove([_entry(each.offer.key) for each in old])  # first, so that no entry lacks its objects
            self._objects.remove([each.name for each in loose])
        return Collected([each.offer.key for each in old], [each.name for each in loose], sum(e.bytes for e in loose))

    def _record(self, offer: Offer, target: Path, stopped: Callable[[], bool]) -> ModelReport:
        """Return the record of an engine, as that of one from here."""
        self._take(offer, RECORD, target, _LARGEST[RECORD], stopped)
        try:
            record = read_report(schema.load(target))
        except ContractError as error:
            raise self._damaged(offer, f"its record: {error}") from None
        engine, key = record["engine"], build_key(record["identity"] or {})
        if not (key == record["build_key"] == offer.key and engine and engine["sha256"] == offer.files[_PLAN]):
            raise self._damaged(offer, "its record belongs to another engine")
        record["origin"] = Origin(bundle=None, signed_by=offer.signed_by, store=self.url)
        return record

    def _take(self, offer: Offer, name: str, target: Path, largest: int, stopped: Callable[[], bool]) -> None:
        """Bring an object here, and compare it with its digest."""
        digest, size = hashlib.sha256(), 0
        try:
            with target.open("wb") as stream:
                for chunk in self._objects.chunks(_object(offer.files[name])):
                    size += len(chunk)
                    if stopped():
                        raise InterruptedError(self.url)
                    if size > largest:
                        raise self._damaged(offer, f"{name} has more than {largest} bytes")
                    digest.update(chunk)
                    stream.write(chunk)
                    self._limit.wait(len(chunk))
        except FileNotFoundError:
            raise self._damaged(offer, f"{name} is missing") from None
        if digest.hexdigest() != offer.files[name]:
            found, wanted = digest.hexdigest()[:12], offer.files[name][:12]
            raise self._damaged(offer, f"{name} has sha256 {found}, its entry says {wanted}")

    def _damaged(self, offer: Offer, why: str) -> SharedStoreError:
        return SharedStoreError(SharedStoreError.DAMAGED, f"{offer} in {self.url}: {why}")


def _keys(names: Iterable[str]) -> set[str]:
    """Return the build keys that have these entries; what else is there is none."""
    return {found[1] for name in names if (found := re.fullmatch(rf"{ENGINES}/([0-9a-f]{{64}})\.json", name))}


def _entry(key: str) -> str:
    return f"{ENGINES}/{key}.json"


def _object(digest: str) -> str:
    return f"{OBJECTS}/{digest}"


def _offer(key: str, data: bytes, trusted: trust.KeyList) -> Offer:
    """Return what an entry says, which anybody may have written."""
    try:
        payload, keyids = envelopes.contents(data, envelopes.STATEMENT)
        found = statements.read(payload)
    except ContractError as error:
        return Offer(key, problem=f"its entry is damaged: {error}")
    if found.build_key != key:
        return Offer(key, found.model, problem="its entry belongs to another engine")
    if not {_PLAN, RECORD} <= set(found.files) <= {_PLAN, RECORD, CALIBRATION}:
        return Offer(key, found.model, problem="its entry names other files than those of an engine")
    signed_by, refusal = None, RefusedError("it is not signed", _SIGN)
    if keyids and trusted.keys:
        try:
            signed_by = envelopes.unseal(data, envelopes.STATEMENT, lambda each: trusted.key(each, trust.CONTENTS))[1]
        except RefusedError as error:
            refusal = error
    elif keyids:
        refusal = trust.unknown(keyids[0])
    why_not = ("", "") if signed_by else (str(refusal), refusal.hint)
    return Offer(key, found.model, found.files, keyids, signed_by, *why_not)


class _Limit:
    """Lets bytes through at a rate, those of all threads together."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._rate = bytes_per_s
        self._guard = threading.Lock()
        self._free_at = 0.0

    def wait(self, count: int) -> None:
        """Return when the next bytes may come, after these ones."""
        if self._rate is None:
            return
        with self._guard:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            pause = self._free_at - now
        time.sleep(pause)
