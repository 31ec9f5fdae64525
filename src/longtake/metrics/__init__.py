"""Numbers from vectors: distances and scores as pure functions of features."""
