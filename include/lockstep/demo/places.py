"""Where the checkout keeps what a demo runs."""

from dataclasses import dataclass
from pathlib import Path

import lockstep
from lockstep.demo.errors import NotACheckoutError


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Name the parts of a checkout."""

    dags: Path
    plugins: Path
    migrations: Path
    #: A program that hashes the stores without any of Lockstep's code.
    witness: Path
    #: A revision that fails when it is half done.
    failing: Path


def checkout() -> Checkout:
    """Return the checkout that this package is installed from."""
    folder = Path(lockstep.__file__).parents[2]
    failing = sorted((folder / "examples" / "failure").glob("*.py"))
    found = Checkout(
        dags=folder / "dags",
        plugins=folder / "plugins",
        migrations=folder / "migrations",
        witness=folder / "tests" / "acceptance" / "independent.py",
        failing=failing[0] if failing else folder / "examples" / "failure",
    )
    for name, path in vars(found).items():
        if not path.exists() or (name == "failing" and not failing):
            raise NotACheckoutError(folder, str(path.relative_to(folder)))
    return found
