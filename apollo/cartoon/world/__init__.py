"""What there is in the generated world, and the scenes that happen in it."""
