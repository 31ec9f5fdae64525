"""Metrics: distances and scores as functions of features."""
