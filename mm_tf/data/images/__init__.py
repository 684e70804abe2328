"""Images in files: decoding, digests, and arrays that are decoded when read."""
