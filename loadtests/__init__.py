"""Locust scenarios, and the program that runs them."""
