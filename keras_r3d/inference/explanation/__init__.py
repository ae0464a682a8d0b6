"""Where and when a clip speaks for a class."""
