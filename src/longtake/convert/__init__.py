"""Weights from official code in, and out to others' formats."""
