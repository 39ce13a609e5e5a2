"""NGC: addresses, credentials, the API, and the download of one file."""

from .address import Address, parse
from .client import Client, Entry
from .source import NgcSource, versioned_files

__all__ = ["Address", "Client", "Entry", "NgcSource", "parse", "versioned_files"]
