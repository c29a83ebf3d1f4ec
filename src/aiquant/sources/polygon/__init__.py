"""Massive (formerly Polygon.io): prices, trades, splits, dividends and listings of US stocks."""
