"""Where orders go, and the checks that each has to pass before."""
