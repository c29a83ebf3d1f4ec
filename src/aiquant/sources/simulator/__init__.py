"""A seeded market that answers with the vendors' own wire formats: for tests, demos and rehearsals."""
