"""NGC: addresses, credentials, the API, and the download of one file."""
