"""Strategies: from what was known at a close to the book that is wanted."""

from aiquant.portfolio.strategies.base import Book, Strategy
from aiquant.portfolio.strategies.history import History

__all__ = ["Book", "History", "Strategy"]
