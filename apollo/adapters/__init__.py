"""LoRA adapters on a loaded model."""
