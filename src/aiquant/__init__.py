"""aiquant: an AI quantitative analyst.

The rooms of the house are the sub-packages; ``docs/architecture.md`` is their map.
"""

__version__ = "0.1.0"
