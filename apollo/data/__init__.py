"""Small things that training, evaluation and the cartoon share."""
