"""What stands behind a strategy's result: where it came from, what it hangs on, and how far it would reach."""
