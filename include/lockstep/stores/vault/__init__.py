"""The vault in S3: backups, journals and archives."""

from lockstep.stores.vault.metadata import decode_metadata, encode_metadata
from lockstep.stores.vault.vault import S3Vault

__all__ = ["S3Vault", "decode_metadata", "encode_metadata"]
