# Generated from chatmemory/_async/storage/pgvector.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The check that Postgres keeps vectors."""

from chatmemory._sync.storage.database import Database
from chatmemory.errors import ConfigurationError
from chatmemory.storage import queries


class Pgvector:
    """The extension that vectors need."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_there = False

    def check(self, need: str, otherwise: str) -> None:
        """Check that vectors can be kept and compared.

        Args:
            need: Why there are vectors.
            otherwise: What to do without the extension.

        Raises:
            ConfigurationError: Postgres has no pgvector.
        """
        if not self._is_there:  # asked again, since the extension may be installed at any time
            [(self._is_there,)] = self._database.call(queries.admin.HAS_VECTORS, ())
        if not self._is_there:
            raise ConfigurationError(
                f"{need}, but this Postgres has no pgvector of 0.7 or newer. Install the extension "
                f"`vector` and run `chatmemory migrate`, or {otherwise}."
            )
