"""Converters of official weights to model folders and weight files of longtake."""
