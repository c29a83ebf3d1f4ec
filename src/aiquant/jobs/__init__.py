"""The steps that users and schedulers run: each joins rooms, is idempotent, and is a function of settings and dates."""
