"""Models by name, turns by permit, work on threads: what every protocol stands on. No HTTP words in here."""
