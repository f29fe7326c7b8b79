"""Metrics, and the protocol that brings scores and ground truth together."""
