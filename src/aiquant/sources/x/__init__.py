"""X (formerly Twitter), API v2: posts, their authors pseudonymised before anything leaves this room."""
