"""A backup by the programs that everybody has, and a restore: pg_dump piped to zstd, pg_restore of a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

#: zstd's own default level, on every core.
ZSTD = ("zstd", "--quiet", "-3", "-T0")
#: The same library, where the program is not installed.
LIBRARY = (
    "import sys, zstandard; zstandard.ZstdCompressor(level=3, threads=-1)"
    ".copy_stream(sys.stdin.buffer, sys.stdout.buffer)"
)


def compressor() -> tuple[str, ...]:
    return ZSTD if shutil.which(ZSTD[0]) else (sys.executable, "-c", LIBRARY)


def pg_dump_zstd(uri: str, password: str, pg_bin: str, target: str) -> dict[str, Any]:
    """Dump the table to a file; return its bytes."""
    dump = subprocess.Popen(
        [str(Path(pg_bin) / "pg_dump"), "--format=plain", "--table=people", f"--dbname={uri}"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PGPASSWORD": password},
    )
    with Path(target).open("wb") as out:
        packed = subprocess.run(compressor(), stdin=dump.stdout, stdout=out, check=False)
    assert dump.stdout is not None
    dump.stdout.close()
    if dump.wait() or packed.returncode:
        raise RuntimeError(f"pg_dump ended with {dump.returncode}, the compressor with {packed.returncode}")
    size = Path(target).stat().st_size
    Path(target).unlink()
    return {"bytes": size, "compressor": " ".join(compressor()[:1])}


def archive(uri: str, password: str, pg_bin: str, target: str) -> None:
    """Dump the database to an archive on disk, compressed as Lockstep's are here."""
    _run(
        pg_bin,
        "pg_dump",
        password,
        "--format=custom",
        "--compress=1",
        f"--file={target}",
        f"--dbname={uri}",
    )


def pg_restore_file(uri: str, password: str, pg_bin: str, source: str) -> dict[str, Any]:
    """Restore an archive into an empty database; return the seconds that it took."""
    began = time.monotonic()
    _run(pg_bin, "pg_restore", password, "--no-owner", "--exit-on-error", f"--dbname={uri}", source)
    return {"seconds": time.monotonic() - began}


def _run(pg_bin: str, program: str, password: str, *options: str) -> None:
    subprocess.run(
        [str(Path(pg_bin) / program), *options], env={**os.environ, "PGPASSWORD": password}, check=True
    )
