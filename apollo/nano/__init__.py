"""apollo-nano: its shape, its weights, and how it was trained."""
