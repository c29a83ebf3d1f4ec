"""NewsAPI: articles of many publishers."""
