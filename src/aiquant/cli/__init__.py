"""The verbs: parse, call a job, show progress, print. No engine is imported before a verb runs."""
