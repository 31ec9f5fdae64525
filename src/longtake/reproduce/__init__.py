"""Reproduces papers' tables: their numbers beside ours, under their protocols."""
