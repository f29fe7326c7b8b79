"""What `score` writes: tables, subtitles, edit lists, plots, pages and event clips."""
