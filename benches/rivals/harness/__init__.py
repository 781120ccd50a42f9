"""Measures echo servers beside each other."""
