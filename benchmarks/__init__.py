"""Benchmarks against peers: equal results first, then time."""
