"""Downloading from the Hugging Face hub at a fixed revision, with every file's sha256 checked.

`hub_pins.json` fixes the revision and the sha256 of the files we know. For everything else the
first use is trusted and written to a lock file in the user's cache; from then on the same revision
is asked for and a file whose sha256 has changed is refused.
"""

import fnmatch
import json
import logging
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from lvis.errors import UserError
from lvis.files import sha256_of, write_text
from lvis.weights.safe import read_json

log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def lock_path() -> Path:
    """The lock file: `hub.lock.json` in $LVIS_CACHE, or in `lvis` under the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LVIS_CACHE") or Path(base) / "lvis") / "hub.lock.json"


def fetch(repo: str, revision: str | None, patterns: list[str]) -> Path:
    """The folder of a snapshot of `repo` with the files that match `patterns`, downloaded if need
    be, verified.

    Raises:
        UserError: the hub cannot be reached and the files are not cached, the repository or
            revision does not exist, or a file is not the one that was pinned or first seen.
    """
    lock = _read_lock()
    asked = (
        revision or pins().get(repo, {}).get("revision") or lock["revisions"].get(repo) or "main"
    )
    folder = _download(repo, asked, patterns)
    commit = folder.name
    if not _COMMIT.fullmatch(asked) and _COMMIT.fullmatch(commit):
        name = repo if revision is None else f"{repo}@{revision}"
        seen = lock["revisions"].setdefault(name, commit)
        if seen != commit:
            raise UserError(
                f"hub:{name} moved from commit {seen} to {commit} since it was first used; "
                f"ask for the one you want as hub:{repo}@COMMIT, or delete its line in "
                f"{lock_path()}"
            )
    for path in _files(folder):
        relative = path.relative_to(folder).as_posix()
        if _matches(relative, patterns):
            _verify(repo, commit, relative, path, lock)
    _write_lock(lock)
    return folder


@cache
def pins() -> dict[str, Any]:
    """What `hub_pins.json` fixes: repository -> {"revision", "files": {path: sha256}}."""
    return read_json(Path(__file__).with_name("hub_pins.json"))


def _download(repo: str, revision: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    offline = not _reachable()
    try:
        folder = Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=patterns, local_files_only=offline
            )
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise UserError(
            f"the hub has no {repo} at revision {revision} that you may read; check the name"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise _not_cached(repo) from error
    # a cached snapshot may have been made for another part of the same repository
    if offline and not _complete(folder, repo, patterns):
        raise _not_cached(repo)
    return folder


@cache
def _reachable() -> bool:
    """Asked once, because the hub's client tries for 20 seconds on every call."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    # httpx's or requests' errors, by the client's version, or its word that it is in offline mode
    except Exception as error:
        log.info("the hub cannot be reached (%s); using the local cache", error)
        return False
    return True


def _complete(folder: Path, repo: str, patterns: list[str]) -> bool:
    known = [name for name in pins().get(repo, {}).get("files", {}) if _matches(name, patterns)]
    if known:
        return all((folder / name).is_file() for name in known)
    return any(_matches(path.relative_to(folder).as_posix(), patterns) for path in _files(folder))


def _not_cached(repo: str) -> UserError:
    return UserError(
        f"the weights hub:{repo} are not in the local cache and the hub cannot be reached; "
        f"run once online, or download {repo} elsewhere and give its folder as the source"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _verify(repo: str, commit: str, relative: str, path: Path, lock: dict[str, Any]) -> None:
    stored = path.resolve()
    stat = stored.stat()
    files = lock["files"].setdefault(f"{repo}@{commit}", {})
    known = files.get(relative)
    unchanged = known and (known["size"], known["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
    digest = known["sha256"] if unchanged else sha256_of(stored)
    pinned = pins().get(repo, {})
    pin = pinned.get("files", {}).get(relative) if pinned.get("revision") == commit else None
    # the hub's cache names a large file's blob by the sha256 that the server announced
    announced = stored.name if _SHA256.fullmatch(stored.name) else None
    for expected, origin in (
        (pin, "lvis pins"),
        (announced, "the hub announced"),
        (known and known["sha256"], "first"),
    ):
        if expected and expected != digest:
            seen = "was first used with" if origin == "first" else f"should have (so {origin})"
            raise UserError(
                f"{relative} of hub:{repo} has sha256 {digest} and not {expected}, which it "
                f"{seen}; "
                f"delete {stored} and download it again"
            )
    if known is None and pin is None:
        log.warning(
            "pinning %s of hub:%s on first use: sha256 %s, written to %s",
            relative,
            repo,
            digest,
            lock_path(),
        )
    files[relative] = {"sha256": digest, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _read_lock() -> dict[str, Any]:
    path = lock_path()
    lock = read_json(path) if path.is_file() else {}
    return {"revisions": lock.get("revisions", {}), "files": lock.get("files", {})}


def _write_lock(lock: dict[str, Any]) -> None:
    text = json.dumps(lock, indent=1, sort_keys=True) + "\n"
    path = lock_path()
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
