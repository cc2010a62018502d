"""Write and read back a large part; say by how many bytes the process grew. Run on its own, by a test."""

import hashlib
import json
import random
import sys
import threading
import time
from collections.abc import Iterator

import psutil

from lockstep.domain.exchange import BackupPart
from lockstep.stores.vault import S3Vault

MIB = 1024 * 1024


def main() -> None:
    kwargs, bucket, size = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]) * MIB
    noise = random.Random(1).randbytes(MIB)
    process = psutil.Process()
    vault = S3Vault(kwargs, bucket)
    vault.put("warm", b"up")
    before = highest = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.is_set():
            highest = max(highest, process.memory_info().rss)
            time.sleep(0.02)

    def chunks() -> Iterator[bytes]:
        for number in range(size // MIB):
            yield noise[number % 1000 :] + noise[: number % 1000]

    watcher = threading.Thread(target=watch)
    watcher.start()
    file = vault.write("large", BackupPart(name="large", holds="dump", chunks=chunks))
    digest = hashlib.sha256()
    for chunk in vault.read("large"):
        digest.update(chunk)
    done.set()
    watcher.join()
    vault.remove(["large", "warm"])
    print(
        json.dumps({"size": file.size, "same": digest.hexdigest() == file.sha256, "grew": highest - before})
    )


if __name__ == "__main__":
    main()
