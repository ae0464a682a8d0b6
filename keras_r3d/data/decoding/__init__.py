"""Frames out of video files, folders of optical flow and cameras."""
