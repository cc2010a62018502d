"""Become a server that cannot outlive the session which started it.

Run as a plain file, with the standard library only: `launch.py PARENT SIGNAL USER COMMAND...`. It is a file
of its own, because a fork hook inside the session (`preexec_fn`) is not safe once the session has threads.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, user: str, command: list[str]) -> None:
    """Drop to the user, tie this process to its parent's life, and become the command."""
    if user:
        account = pwd.getpwnam(user)
        os.initgroups(user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if sys.platform == "linux":
        # After setuid, which would clear it; kept over exec, as none of the servers is set-uid.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the session ended while this server was starting")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
