"""Feature networks: clips to vectors."""
