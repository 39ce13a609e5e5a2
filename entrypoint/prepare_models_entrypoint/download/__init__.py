"""From a source to a verified local file: retries, ranges, resumption and the content store."""
