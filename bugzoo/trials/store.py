"""The results of a run in one SQLite file, `trials.sqlite`. Reading it needs no torch.

Every answer is committed as it comes in, by the parent alone. A row stands under its content key,
so a run that was cut off goes on where it stopped, and an answer to older code is never taken for
one to today's: `current` lists the keys of the last run, and only those are read.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from bugzoo.errors import UserError
from bugzoo.trials.frame import COLUMNS, Results

NAME = "trials.sqlite"
APPLICATION = 0x62756772  # 'bugr' in the header says that the file is ours
VERSION = 1
TRIAL = (
    *("key", "detector", "specimen", "view", "case", "seed", "outcome", "score"),
    *("because", "where", "seconds", "forwards", "backwards"),
)
TRUTH = (
    *("key", "specimen", "case", "channel", "awake", "loud", "probe", "words", "error"),
    *("reference", "probes"),
)
SCHEMA = f"""
create table trials ({", ".join(f'"{c}"' for c in TRIAL)}, primary key ("key")) without rowid;
create table truth ({", ".join(f'"{c}"' for c in TRUTH)}, primary key ("key", "channel")) without rowid;
create table current (key primary key) without rowid;
create table specimens (id primary key, json) without rowid;
create table detectors (id primary key, json) without rowid;
create table meta (id primary key, json) without rowid;
pragma application_id = {APPLICATION};
pragma user_version = {VERSION};
"""
TYPES = {
    **dict.fromkeys(("seed", "forwards", "backwards", "probes"), "int64"),
    **dict.fromkeys(("score", "seconds", "error"), "float64"),
    **dict.fromkeys(("awake", "loud", "claimed"), "bool"),
}
Table = Mapping[str, Mapping[str, Any]]


class Store:
    """The file that a run writes into. Nothing is ever deleted.

    Without `resume` a file that is there already is kept beside the new one, as trials-1.sqlite.
    With it, finished rows stay and count; a missing file is simply begun.
    """

    def __init__(self, folder: Path, *, resume: bool):
        self.path = folder / NAME
        with _told(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
            try:
                if not resume and self.path.exists() and self.path.stat().st_size:
                    _move_aside(self.path)
                self._db = _opened(self.path, fresh=True)
            except BaseException:
                os.close(self._lock)
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(sqlite3.Error):
            # A file without a log beside it can be copied, and read in a folder that is not writable.
            self._db.execute("pragma journal_mode = delete")
        self._db.close()
        os.close(self._lock)

    def begin(self, keys: Iterable[str], specimens: Table, detectors: Table) -> None:
        """Make these the keys, specimens and detectors of the current run."""
        with self._transaction():
            for name in ("current", "specimens", "detectors", "meta"):
                self._db.execute(f"delete from {name}")
            self._db.executemany("insert or ignore into current values (?)", ((k,) for k in keys))
            for name, table in (("specimens", specimens), ("detectors", detectors)):
                self._db.executemany(
                    f"insert into {name} values (?, ?)",
                    ((i, json.dumps(facts)) for i, facts in table.items()),
                )

    def finished(self) -> set[str]:
        """Keys that need not be run again; failures of the machinery are not among them."""
        with _told(self.path):
            rows = self._db.execute(
                "select key from trials where outcome not in ('crash', 'timeout') "
                "union select key from truth where probes > 0"
            )
            return {key for (key,) in rows}

    def add_trials(self, rows: Iterable[Mapping[str, Any]]) -> None:
        with self._transaction():
            self._insert("trials", TRIAL, rows)

    def add_truth(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows of one cell of the oracle, in place of those that it had."""
        with self._transaction():
            self._db.execute("delete from truth where key = ?", (rows[0]["key"],))
            self._insert("truth", TRUTH, rows)

    def truth(self) -> list[dict[str, Any]]:
        """Rows of the oracle that belong to the current run."""
        with _told(self.path):
            return _rows(self._db, "truth", TRUTH)

    def note(self, **facts: Any) -> None:
        """Write facts about the run into `meta`."""
        with self._transaction():
            self._db.executemany(
                "insert or replace into meta values (?, ?)",
                ((name, json.dumps(value)) for name, value in facts.items()),
            )

    def _insert(self, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        self._db.executemany(
            f"insert or replace into {name} values ({', '.join('?' * len(columns))})",
            ([row[c] for c in columns] for row in rows),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _told(self.path), self._db:
            self._db.execute("begin")
            yield


def read(path: str | Path) -> Results:
    """The last run in a results folder or file. UserError when it is missing, broken, or not ours."""
    import pandas as pd

    path = Path(path)
    with _told(path):
        file = path / NAME if path.is_dir() else path
        if not file.exists():
            raise UserError(f"{_shown(path)}: no results there. 'bugzoo run --out DIR' makes some.")
        db = _opened(file, fresh=False)
        try:
            trials, truth = _rows(db, "trials", TRIAL), _rows(db, "truth", TRUTH)
            tables = {
                name: {i: json.loads(text) for i, text in db.execute(f"select * from {name}")}
                for name in ("specimens", "detectors", "meta")
            }
        finally:
            db.close()
    _complete(trials, truth, tables["specimens"], tables["detectors"])
    order = ["detector", "specimen", "case", "seed"]
    frame = _frame(trials, list(COLUMNS)).sort_values(order, ignore_index=True)
    shown = [c for c in TRUTH if c != "key"]
    about = _frame(truth, shown).sort_values(["specimen", "case", "channel"], ignore_index=True)
    assert isinstance(frame, pd.DataFrame)
    return Results(frame, about, tables["specimens"], tables["detectors"], tables["meta"])


def _complete(trials: list[dict], truth: list[dict], specimens: Table, detectors: Table) -> None:
    """Add to every trial what is known of its specimen, and what the oracle says of its case."""
    awake: dict[tuple[str, str], list[str]] = {}
    loud = set()
    for row in truth:
        if row["awake"]:
            awake.setdefault((row["specimen"], row["case"]), []).append(row["channel"])
        if row["loud"]:
            loud.add((row["specimen"], row["case"]))
    for row in trials:
        facts, pair = specimens[row["specimen"]], (row["specimen"], row["case"])
        row |= {"operator": "", **{c: facts[c] for c in COLUMNS if c in facts}}
        seen = sorted(awake.get(pair, ()))
        row["awake"], row["awake_in"], row["loud"] = bool(seen), ", ".join(seen), pair in loud
        row["claimed"] = bool(set(seen) & set(detectors[row["detector"]]["claims"]))
        if row["loud"] and row["outcome"] == "error":
            row["outcome"] = "raised"  # the engine raised for the subject, outside its own lines


def _frame(rows: list[dict], columns: list[str]) -> Any:
    import pandas as pd

    made = pd.DataFrame(rows, columns=columns)
    return made.astype({c: TYPES.get(c, "object" if not rows else made[c].dtype) for c in columns})


def _rows(db: sqlite3.Connection, name: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the current run; SQLite keeps NaN as null."""
    listed = ", ".join(f'"{c}"' for c in columns)
    current = "where key in (select key from current) order by key"
    found = db.execute(f"select {listed} from {name} {current}")
    rows = [dict(zip(columns, row, strict=True)) for row in found]
    for row in rows:
        for number in ("score", "error"):
            if number in row and row[number] is None:
                row[number] = math.nan
    return rows


def _opened(file: Path, *, fresh: bool) -> sqlite3.Connection:
    """A connection to a file of ours, made where there is none if `fresh`."""
    address = f"{file.absolute().as_uri()}?mode={'rwc' if fresh else 'ro'}"
    db = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        ours = db.execute("pragma application_id").fetchone()[0] == APPLICATION
        version = db.execute("pragma user_version").fetchone()[0]
        if not ours and db.execute("select count(*) from sqlite_master").fetchone()[0]:
            _foreign(file)
        if not ours and not fresh:
            raise UserError(f"{_shown(file)}: the run ended before its first result. Run it again.")
        if ours and version != VERSION:
            raise UserError(
                f"{_shown(file)}: written by another version of bugzoo (format {version}, expected "
                f"{VERSION}). Run again into another folder with --out."
            )
        if fresh:
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = normal")
            if not ours:
                db.executescript(f"begin; {SCHEMA} commit;")
            elif (bad := db.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(f"malformed: {bad}")
        return db
    except BaseException:
        db.close()
        raise


def _move_aside(file: Path) -> None:
    """Rename a finished results file to the first free trials-N.sqlite."""
    db = _opened(file, fresh=True)
    db.execute("pragma journal_mode = delete")  # takes in what still stands in a log beside it
    db.close()
    n = 1
    while (other := file.with_name(f"{file.stem}-{n}{file.suffix}")).exists():
        n += 1
    file.rename(other)


def _locked(folder: Path) -> int:
    """The folder, open and held by no other run; the lock ends with the process, however it ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(
            f"{_shown(folder)}: another bugzoo run is writing there. Wait for it, or choose "
            f"another folder with --out."
        ) from None
    except (ImportError, OSError):  # Windows, or a file system without locks
        pass
    return handle


def _foreign(file: Path) -> NoReturn:
    raise UserError(f"{_shown(file)}: not a bugzoo results file.")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite and the system say about `path`, in words for the user."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        said, where = str(error), _shown(path)
        if "not a database" in said:
            _foreign(path)
        if "malformed" in said:
            raise UserError(
                f"{where}: truncated or damaged ({said}). Keep it aside if you want to mend it, "
                f"and run again."
            ) from None
        if "full" in said or "I/O" in said or "No space" in said:
            raise UserError(
                f"{where}: cannot be written, the disk is full or failing ({said}).\n"
                f"All that was finished is kept: make room, then run again with --resume."
            ) from None
        if "locked" in said:
            raise UserError(f"{where}: locked by another program ({said}).") from None
        raise UserError(f"{where}: cannot be opened or written ({said}).") from None


def _shown(path: Path) -> str:
    """The path as text that any terminal can print."""
    return os.fsencode(path).decode("utf-8", "replace")
