"""Every figure that is drawn: arrays in, a Figure or pixels out."""
