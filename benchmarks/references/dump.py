"""A backup by the programs that everybody has: pg_dump piped to zstd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
