"""Decoding of video and audio in a process of its own; timestamps and time codes."""

VIDEO_SUFFIXES = frozenset(
    (".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dav", ".divx", ".dv", ".f4v", ".flv", ".h264", ".h265", ".hevc")
    + (".ivf", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf")
    + (".nut", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv")
)
# Of videos that are cut out or recorded: FFmpeg's format by suffix. The first that can hold the streams is taken.
CONTAINERS = {"mp4": "mp4", "mkv": "matroska"}
READERS = ("auto", "decord", "pyav")  # libraries that decode, see `video.Video`
