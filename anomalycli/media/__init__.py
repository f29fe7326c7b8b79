"""Decoding of video and audio in a process of its own; timestamps and time codes."""
