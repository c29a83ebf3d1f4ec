"""The feature sets that come with aiquant: one module each, formulas as text."""
