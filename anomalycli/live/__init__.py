"""Streams scored while they run: sources, scores that become final, events, and what is told of them."""
