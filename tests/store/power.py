"""Power cuts, simulated on the bytes: what was synced stays, of what was written later any sectors do."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from store.filling import Bench

_SECTOR = 512


def cut_power(folder, cuts, seed=7):
    """Cuts the power after acknowledged spans and looks for them in what is left.

    Args:
        folder: For the files.
        cuts: How many.
        seed: Of the sectors that survive.

    Returns:
        How many acknowledged spans were missing, and how many files were corrupt.
    """
    chance = random.Random(seed)
    lost = corrupt = 0
    bench = Bench(folder / "power.db")
    wal, cut = Path(f"{bench.path}-wal"), folder / "cut.db"
    for number in range(max(1, cuts // 20)):
        ticket = bench.span(f"flagged {number}", attributes={"cylestio.security.severity_number": 4})
        assert ticket.wait(10)
        database, synced = bench.path.read_bytes(), wal.read_bytes()
        bench.fill(chance.randint(1, 200))
        bench.flush()
        later = wal.read_bytes()
        for _ in range(min(20, cuts)):
            cut.write_bytes(database)
            Path(f"{cut}-wal").write_bytes(_torn(synced, later, chance))
            connection = sqlite3.connect(cut)
            corrupt += connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok"
            found = connection.execute("SELECT count(*) FROM span WHERE name LIKE 'flagged%'").fetchone()[0]
            lost += max(0, number + 1 - found)
            connection.close()
            for suffix in ("", "-wal", "-shm"):
                Path(f"{cut}{suffix}").unlink(missing_ok=True)
    bench.close()
    return lost, corrupt


def _torn(synced, later, chance):
    """The log as the disk may hold it: the synced part, then sectors that made it, and zeros for those that did not."""
    log = bytearray(synced)
    for at in range(len(synced), len(later), _SECTOR):
        sector = later[at : at + _SECTOR]
        log += sector if chance.random() < 0.8 else bytes(len(sector))
    return bytes(log[: chance.randint(len(synced), len(log))])
