"""Real videos against generated ones: numbers that say how they came about."""
