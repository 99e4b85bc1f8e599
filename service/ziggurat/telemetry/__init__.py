"""Metrics and logs. Objects that are made once and passed down; nothing is registered or configured globally."""
