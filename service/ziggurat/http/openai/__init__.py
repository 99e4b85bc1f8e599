"""The OpenAI-compatible face of language models."""
