"""What videos and cameras show: results, tables, files, annotated copies."""
