"""When classes happen in long videos: segments, and how well they are found."""
