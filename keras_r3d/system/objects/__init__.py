"""Object stores: s3://, gs:// and others that fsspec knows."""
