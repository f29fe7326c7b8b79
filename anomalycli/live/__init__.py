"""Streams scored while they run: sources, scores that become final, events, and where events are sent."""
