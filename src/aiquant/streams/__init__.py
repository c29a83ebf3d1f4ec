"""The log between the vendors and the lake: Kafka topics, the envelope of a message, producers and consumers."""
