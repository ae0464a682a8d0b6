"""From labelled video files to batches of clips."""
