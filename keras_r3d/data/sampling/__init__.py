"""Where clips are cut, in time and in the picture, and how they are changed: arithmetic only."""
