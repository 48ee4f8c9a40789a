"""Training: the cartoon world apollo-nano learns from, and (beside it) the stages that teach it."""
