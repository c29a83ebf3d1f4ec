"""The account: what target weights would have earned, net of costs, and what that is worth as evidence."""
