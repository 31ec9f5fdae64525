"""Evaluation of generated against real videos; results name all that they depend on."""
