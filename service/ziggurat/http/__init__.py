"""The service's HTTP face, and the only importer of fastapi."""
