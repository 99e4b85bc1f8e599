"""Model files of any format become graphs here."""
